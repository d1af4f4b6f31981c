"""Thumbnails that a collection keeps: with their items, on disk, and never of another picture."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
ONE, OTHER = "1" * 64, "2" * 64


def item(id, content=ONE, thumbnail=b"", **payload):
    return Item(id, content, payload, np.arange(1, 9, dtype=np.float32), thumbnail)


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    library.create("photos", PROVENANCE, 8).upsert([item("a", thumbnail=b"A"), item("b", thumbnail=b"B"), item("c")])
    yield library
    library.close()


def kept(library):
    photos = library.get("photos")
    images = photos.thumbnails.images(list("abcx"))
    assert photos.thumbnails.contents(list("abcx")).keys() == images.keys()
    return images


def test_they_are_on_disk_and_survive_new_payloads(library, tmp_path):
    photos = library.get("photos")
    assert photos.upsert([item("a", name="rose"), item("c", thumbnail=b"C")]) == ["replaced", "skipped"]
    assert kept(library) == {"a": b"A", "b": b"B", "c": b"C"}
    library.close()
    again = Collections(tmp_path / "collections")
    assert kept(again) == {"a": b"A", "b": b"B", "c": b"C"}
    again.close()


def test_they_go_with_their_items_and_with_their_pictures(library):
    photos = library.get("photos")
    photos.upsert([item("a", OTHER), item("b", OTHER, b"new")])
    assert kept(library) == {"b": b"new"}
    assert photos.thumbnails.contents(["b"]) == {"b": OTHER}
    photos.delete(["b"])
    photos.upsert([item("b"), item("c", thumbnail=b"C")])
    assert kept(library) == {"c": b"C"}
    photos.update([])
    photos.upsert([item("c", gone=True)])
    photos.delete_where(parse("gone = true"), 9)
    photos.upsert([item("c")])
    assert kept(library) == {}


def test_a_damaged_one_is_as_good_as_none(library, tmp_path):
    library.close()
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as connection:
        connection.execute("UPDATE thumbnails SET image = 'X' WHERE id = 'a'")
    connection.close()
    again = Collections(tmp_path / "collections")
    assert kept(again) == {"b": b"B"}
    again.close()
