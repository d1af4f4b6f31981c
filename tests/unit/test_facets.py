"""Facets: counts of the values of payload fields, against a count by hand, and their limits."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7.errors import InvalidArgument, ResourceExhausted
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import facets
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
PAYLOADS = [
    {"label": "cat", "n": 1, "tags": ["x", "y", "x"], "camera": {"model": "A"}},
    {"label": "cat", "n": 1.0, "tags": ["x", {"deep": 1}], "camera": {"model": "B"}},
    {"label": "dog", "n": True, "tags": [], "camera": "none"},
    {"label": "ä", "n": False, "tags": "x"},
    {"label": None, "n": "1", "tags": [[1]]},
    {"label": "x" * 257, "n": 2},
    {"label": {"cat": 1}, "n": 10},
    {},
]


@pytest.fixture
def photos(tmp_path):
    library = Collections(tmp_path / "collections")
    photos = library.create("photos", PROVENANCE, 4)
    vector = np.arange(1, 5, dtype=np.float32)
    photos.upsert([Item(str(i), "0" * 64, payload, vector) for i, payload in enumerate(PAYLOADS)])
    yield photos
    library.close()


def one(photos, field, limit=20, where=None):
    return photos.count_values([field], limit, None if where is None else parse(where))[1][0]


def test_values_are_counted_as_filters_tell_them_apart(photos):
    label = one(photos, "label")
    assert label.values == [("cat", 2), ("dog", 1), ("ä", 1)]
    assert (label.n_items, label.n_left_out, label.n_other) == (6, 0, 2)
    n = one(photos, "n").values
    assert n[0] == (1, 2)
    assert {(type(value), value) for value, _ in n[1:]} == {
        (bool, True),
        (bool, False),
        (str, "1"),
        (int, 2),
        (int, 10),
    }
    assert [value for value, _ in n[1:]] == [False, True, 2, 10, "1"]
    for value, count in n:
        text = f'"{value}"' if isinstance(value, str) else str(value).lower()
        assert photos.count_where(parse(f"n = {text}")) == count
    assert one(photos, "camera.model").values == [("A", 1), ("B", 1)]
    assert one(photos, "absent").values == []


def test_the_elements_of_a_list_count_once_per_item(photos):
    tags = one(photos, "tags")
    assert tags.values == [("x", 3), ("y", 1)]
    assert (tags.n_items, tags.n_other) == (5, 2)


def test_what_is_left_out_is_said_and_a_filter_narrows(photos):
    assert one(photos, "label", 1).values == [("cat", 2)]
    assert one(photos, "label", 1).n_left_out == 2
    count, (label, n) = photos.count_values(["label", "n"], 20, parse('label = "cat"'))
    assert (count, label.values, n.values) == (2, [("cat", 2)], [(1, 2)])


def test_a_damaged_item_is_not_counted(photos, tmp_path):
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        database.execute("UPDATE items SET payload = '{\"label\": \"rat\"}' WHERE id = '0'")
    database.close()
    assert photos.count_values(["label"], 20)[0] == len(PAYLOADS) - 1
    assert one(photos, "label").values == [("cat", 1), ("dog", 1), ("ä", 1)]


def test_too_many_values_and_what_is_no_field(photos, monkeypatch):
    monkeypatch.setattr(facets, "_MOST_VALUES", 2)
    monkeypatch.setattr(facets, "_CHECKED_EVERY", 1)
    with pytest.raises(ResourceExhausted, match="more than 2 different") as caught:
        one(photos, "n")
    assert caught.value.reason == "WORK_TOO_LARGE"
    with pytest.raises(InvalidArgument, match="A field must be a key"):
        one(photos, "a..b")
