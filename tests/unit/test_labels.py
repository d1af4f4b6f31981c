"""Label records: who said what, undo, what holds now, and that they live and go with their items."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7.errors import InvalidArgument, NotFound, ResourceExhausted
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.labels import Label, current
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM = 8
NOW = "2026-05-01T12:00:00+00:00"


def item(id, content="0" * 64, **payload):
    return Item(id, content, payload, np.arange(1, DIM + 1, dtype=np.float32))


def said(id, label, verdict="positive", author="ann", version=0):
    return Label(id, label, verdict, author, version, NOW)


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


@pytest.fixture
def photos(library):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([item(name) for name in "abc"])
    return photos


def holds(photos):
    return {
        own: {label: record.label.verdict for label, record in of_item.items()}
        for own, of_item in current(photos.labels.all()).items()
    }


def test_records_are_kept_in_order_and_repeats_are_not(photos):
    labels = [
        said("a", "cat"),
        said("a", "cat"),
        said("b", "cat", "negative"),
        said("a", "cat", author="bob"),
        said("nobody", "cat"),
        said("a", "cat", "unsure"),
        said("a", "cat"),
    ]
    done = photos.labels.add(labels)
    assert isinstance(done.pop(4), NotFound)
    assert done == [True, False, True, True, True, True]
    assert [record.number for record in photos.labels.all()] == [1, 2, 3, 4, 5]


def test_what_holds_is_the_newest_and_a_person_outranks_a_head(photos):
    photos.labels.add([said("a", "cat"), said("a", "dog"), said("a", "cat", "negative"), said("b", "cat", "unsure")])
    photos.labels.add([said("a", "dog", "negative", "places", 3), said("c", "cat", "positive", "places", 3)])
    assert holds(photos) == {
        "a": {"dog": "positive", "cat": "negative"},
        "b": {"cat": "unsure"},
        "c": {"cat": "positive"},
    }
    photos.labels.add([said("c", "cat", "negative", "places", 4)])
    assert holds(photos)["c"] == {"cat": "negative"}
    photos.labels.add([said("c", "dog"), said("c", "cat")])
    assert list(holds(photos)["c"]) == ["dog", "cat"]  # the last positive one is the class


def test_undo_takes_back_the_newest(photos):
    photos.labels.add([said("a", "cat"), said("a", "dog", author="bob"), said("b", "cat")])
    gone, missing = photos.labels.undo([("a", "", ""), ("c", "", "")])
    assert gone.label == said("a", "dog", author="bob")
    assert isinstance(missing, NotFound)
    assert missing.reason == "LABEL_NOT_FOUND"
    assert isinstance(photos.labels.undo([("a", "cat", "bob")])[0], NotFound)
    assert photos.labels.undo([("a", "cat", "ann")])[0].label == said("a", "cat")
    assert holds(photos) == {"b": {"cat": "positive"}}
    photos.labels.add([said("a", "cat")])
    assert [record.number for record in photos.labels.all()] == [3, 4]  # no number is given twice


def test_labels_go_with_the_item_and_stay_when_it_is_replaced(photos):
    photos.labels.add([said(name, "cat") for name in "abc"])
    photos.upsert([item("a", "1" * 64), item("b", n=1)])  # another picture; another payload
    assert {record.label.id: record.is_outdated for record in photos.labels.all()} == {
        "a": True,
        "b": False,
        "c": False,
    }
    assert set(holds(photos)) == {"b", "c"}
    assert photos.labels.add([said("a", "cat")]) == [True]  # of the new picture
    photos.delete(["a"])
    photos.delete_where(parse("n = 1"), 10)
    photos.upsert([item("a"), item("b")])
    assert [record.label.id for record in photos.labels.all()] == ["c"]


def test_pages_survive_writes_and_are_filtered(photos):
    photos.labels.add([said(name, label) for name in "abc" for label in ("x", "y", "z")])
    first, rest = photos.labels.page(0, 2)
    photos.labels.undo([("a", "z", "")])
    photos.labels.add([said("a", "new")])
    more, end = photos.labels.page(rest, 100)
    assert end is None
    assert [(r.label.id, r.label.label) for r in first + more] == [
        *(("a", "x"), ("a", "y")),
        *((name, label) for name in "bc" for label in "xyz"),
        ("a", "new"),
    ]
    assert [r.label.id for r in photos.labels.page(0, 9, ["c", "a"], "x")[0]] == ["a", "c"]
    assert photos.labels.page(0, 9, author="bob") == ([], None)
    assert photos.labels.page(10**30, 9) == ([], None)


def test_a_collection_without_labels_is_as_it_was(library, photos, tmp_path):
    assert photos.labels.page(0, 5) == ([], None)
    assert isinstance(photos.labels.undo([("a", "", "")])[0], NotFound)
    photos.labels.add([said("nobody", "cat")])
    photos.delete(["c"])
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        assert not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'labels'").fetchall()
    database.close()
    photos.labels.add([said("a", "cat")])
    library.close()
    again = Collections(tmp_path / "collections")
    assert [record.label for record in again.get("photos").labels.all()] == [said("a", "cat")]
    again.close()


def test_a_damaged_record_is_left_out(photos, tmp_path):
    photos.labels.add([said("a", "cat"), said("a", "dog")])
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        database.execute("UPDATE labels SET label = 'rat' WHERE label = 'dog'")
    database.close()
    assert holds(photos) == {"a": {"cat": "positive"}}
    assert photos.labels.undo([("a", "", "")])[0].label.label == "cat"


@pytest.mark.parametrize(
    "wrong",
    [{"label": ""}, {"label": "x" * 257}, {"label": "two\nlines"}, {"label": "\ud800"}, {"author": "x" * 257},
     {"head_version": -1}, {"head_version": 2, "author": ""}, {"time": "yesterday"}],
)  # fmt: skip
def test_what_is_no_label(wrong):
    with pytest.raises(InvalidArgument) as caught:
        Label(
            **{"id": "a", "label": "cat", "verdict": "positive", "author": "ann", "head_version": 0, "time": NOW}
            | wrong
        )
    assert caught.value.reason == "INVALID_LABEL"


def test_the_disk_is_full_while_labels_are_written(photos, tmp_path: Path):
    photos.labels.add([said("a", "cat")])
    pages = photos._store._writer.connection.execute("PRAGMA page_count").fetchone()[0]
    photos._store._writer.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ResourceExhausted, match="disk is full") as caught:
        photos.labels.add([said(name, f"{i} " + "x" * 200) for i in range(200) for name in "abc"])
    assert caught.value.reason == "DISK_FULL"
    photos._store._writer.connection.execute("PRAGMA max_page_count=1000000")
    assert len(list(photos.labels.all())) == 1
    assert photos.labels.add([said("b", "cat")]) == [True]


def classes_of(photos, field):
    """Return the class by id as training takes it, after comparing it with the counts and with the rule by hand."""
    held = holds(photos)
    expected = {}
    for found in photos.get(sorted("abcd")):
        positive = [label for label, verdict in held.get(found.id, {}).items() if verdict == "positive"]
        from_field = found.payload.get("kind") if field else None
        label = positive[-1] if positive else None if from_field in held.get(found.id, {}) else from_field
        if label is not None:
            expected[found.id] = label
    _, labels, _, ids, _ = photos.labelled_features(field, 9, with_records=True)
    assert dict(zip(ids, labels, strict=True)) == expected
    (facet,) = photos.count_values([field or "none"], 9, with_records=True)[1]
    assert dict(facet.values) == {label: list(expected.values()).count(label) for label in expected.values()}
    return expected


def test_records_outrank_a_field_and_the_field_counts_for_the_rest(photos):
    photos.upsert([item("a", kind="cat"), item("b", kind="cat"), item("c", kind="cat"), item("d", kind="dog")])
    photos.labels.add(
        [
            said("a", "dog"),
            said("b", "cat", "negative"),
            said("c", "owl"),
            said("c", "owl", "negative"),
            said("d", "ant"),
        ]
    )
    assert classes_of(photos, "kind") == {"a": "dog", "c": "cat", "d": "ant"}
    assert classes_of(photos, None) == {"a": "dog", "d": "ant"}
    photos.labels.add([said("d", "ant", "negative"), said("d", "dog", "unsure")])
    assert classes_of(photos, "kind") == {"a": "dog", "c": "cat"}
    photos.upsert([item("b", kind="cat", kind_head="places 1"), item("a", "1" * 64, kind="cat")])
    _, labels, _, ids, _ = photos.labelled_features("kind", 9, with_records=True)
    assert sorted(zip(ids, labels, strict=True)) == [("a", "cat"), ("c", "cat")]  # a: its record is outdated
    assert photos.count_values(["kind"], 9, with_records=True)[1][0].values == [("cat", 2)]
    assert photos.count_values(["kind"], 9)[1][0].values == [("cat", 3), ("dog", 1)]
