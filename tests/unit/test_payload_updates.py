"""Payloads that change while features stay: what is written, what searches see, and what two writers do to one item."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7.errors import DataLoss, InvalidArgument, NotFound
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
N, DIM = 40, 8
VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float16).astype(np.float32)


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


@pytest.fixture
def photos(library):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert(
        [Item(str(i), "0" * 64, {"n": i, "kind": "even" if i % 2 == 0 else "odd"}, VECTORS[i]) for i in range(N)]
    )
    return photos


def payload(photos, id):
    return photos.get([id])[0].payload


def test_keys_are_set_removed_and_replaced(photos):
    done = photos.update(
        [
            ("1", PayloadChange({"stars": 5, "n": None})),
            ("2", PayloadChange({"n": 7}, ("kind", "nothing"))),
            ("3", PayloadChange({"new": True}, is_replaced=True)),
            ("4", PayloadChange({"n": 4})),
            ("5", PayloadChange({"n": True})),
            ("nobody", PayloadChange({"n": 4})),
        ]
    )
    assert [(one.id, one.is_changed) for one in done[:5]] == [
        *(("1", True), ("2", True), ("3", True)),
        ("4", False),
        ("5", True),
    ]
    assert isinstance(done[5].error, NotFound)
    assert payload(photos, "1") == {"n": None, "kind": "odd", "stars": 5}
    assert payload(photos, "2") == {"n": 7}
    assert payload(photos, "3") == {"new": True}


def test_no_vector_is_written_and_no_index_follows(photos, library, tmp_path):
    photos.search(VECTORS[:1], 1)
    before = photos._searcher._snapshot
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        rows = database.execute("SELECT rid, vector FROM vectors ORDER BY rid").fetchall()
        photos.update([(str(i), PayloadChange({"stars": i})) for i in range(N)])
        assert database.execute("SELECT rid, vector FROM vectors ORDER BY rid").fetchall() == rows
    database.close()
    assert photos._searcher._snapshot is before
    library.close()
    again = Collections(tmp_path / "collections")
    assert [item.payload["stars"] for item in again.get("photos").page(0, N, True)[0]] == list(range(N))
    again.close()


def test_filtered_searches_see_the_change(photos):
    def found(text):
        return sorted(hit.id for hit in photos.search(VECTORS[:1], N, where=parse(text))[0])

    assert found("n in (1, 2)") == ["1", "2"]  # the columns are in memory now
    photos.update([("1", PayloadChange({}, ("n",))), ("9", PayloadChange({"n": 2})), ("30", PayloadChange({"n": 1}))])
    assert found("n in (1, 2)") == ["2", "30", "9"]
    assert found("stars exists") == []
    photos.update([("9", PayloadChange({"stars": [1]}))])
    photos.upsert([Item("tail", "0" * 64, {"stars": 1}, VECTORS[0])])
    photos.update([("tail", PayloadChange({"n": 2}))])
    assert found("stars exists") == ["9", "tail"]
    assert found("n = 2") == ["2", "9", "tail"]


def test_a_search_never_answers_an_item_that_no_longer_matches(photos, monkeypatch):
    photos.search(VECTORS[:1], 1, where=parse("n = 3"))
    read = photos._store.by_rid

    def read_late(rids, **options):
        monkeypatch.undo()
        photos.update([("3", PayloadChange({"n": 4}))])
        return read(rids, **options)

    monkeypatch.setattr(photos._store, "by_rid", read_late)
    assert photos.search(VECTORS[:1], 5, where=parse("n = 3")) == [[]]


def test_an_update_by_filter_changes_each_item_once(photos):
    even, last = parse('kind = "even"'), photos.last_place
    photos.upsert([Item("late", "0" * 64, {"kind": "even"}, VECTORS[0])])
    change = PayloadChange({"kind": "even", "seen": True})  # they match afterwards too
    ids, after = [], 0
    while after is not None:
        done, after = photos.update_where(even, change, 7, after, last)
        assert len(done) <= 7
        ids += [one.id for one in done]
    assert ids == [str(i) for i in range(0, N, 2)]
    assert "seen" not in payload(photos, "late")


def test_what_changed_since_it_was_looked_for_is_judged_again(photos, monkeypatch):
    read = photos._store.matching_rows

    def read_then_change(*arguments):
        answer = read(*arguments)
        monkeypatch.undo()
        photos.update([("2", PayloadChange({"kind": "odd"}))])
        return answer

    for act in (
        lambda: [one.id for one in photos.update_where(parse('kind = "even"'), PayloadChange({"a": 1}), N)[0]],
        lambda: photos.delete_where(parse('kind = "even"'), N)[0],
    ):
        photos.update([("2", PayloadChange({"kind": "even"}))])
        monkeypatch.setattr(photos._store, "matching_rows", read_then_change)
        assert act() == [str(i) for i in range(0, N, 2) if i != 2]
    assert payload(photos, "2") == {"n": 2, "kind": "odd"}


def test_a_payload_that_grows_too_large_fails_alone(photos):
    photos.update([("1", PayloadChange({"a": "x" * 60_000}))])
    large, small = photos.update([("1", PayloadChange({"b": "x" * 10_000})), ("2", PayloadChange({"b": 1}))])
    assert isinstance(large.error, InvalidArgument)
    assert large.error.reason == "INVALID_PAYLOAD"
    assert "at most 65536" in str(large.error)
    assert small.is_changed
    assert "b" not in payload(photos, "1")


def test_a_damaged_item_is_said_and_not_changed(photos, tmp_path):
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        database.execute("UPDATE items SET payload = '{}' WHERE id = '1'")
    database.close()
    (done,) = photos.update([("1", PayloadChange({"n": 9}))])
    assert isinstance(done.error, DataLoss)
    assert "1" not in [one.id for one in photos.update_where(parse("not n exists"), PayloadChange({"n": 9}), N)[0]]
    assert isinstance(photos.get(["1"])[0], DataLoss)


def test_two_writers_of_one_item_lose_nothing(photos):
    start = threading.Barrier(2)

    def write(who):
        start.wait()
        for i in range(50):
            photos.update([("1", PayloadChange({f"{who}{i}": i}))])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    assert len(payload(photos, "1")) == 2 + 100
