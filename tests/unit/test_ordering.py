"""Items in the order of a field or of their ids: against a plain sort, and across commits between two pages."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.ordering import Order
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
VECTOR = np.arange(1, 5, dtype=np.float32)
VALUES = [
    None,
    True,
    False,
    3,
    2.5,
    -1,
    10**30,
    "b",
    "a",
    "ä",
    "10",
    "x" * 300 + "1",
    "x" * 300 + "0",
    [1],
    {"a": 1},
    3,
]
KINDS = ["boolean", "number", "text", "other", "absent"]


def slow_key(value):
    if value is None:
        return "absent", 0
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    return ("text", value[:256]) if isinstance(value, str) else ("other", 0)


def slow_order(pairs, is_descending):
    """Return the ids of pairs of id and value, which are in the order of insertion, by comparing each with each."""

    def compare(one, other):
        (kind, value), (other_kind, other_value) = slow_key(one[1]), slow_key(other[1])
        if kind == other_kind:
            sign = (value > other_value) - (value < other_value)
        else:
            sign = KINDS.index(kind) - KINDS.index(other_kind)
            if "absent" in (kind, other_kind):
                return sign
        return -sign if is_descending else sign

    return [own for own, _ in sorted(pairs, key=functools.cmp_to_key(compare))]


@pytest.fixture
def photos(tmp_path):
    library = Collections(tmp_path / "collections")
    photos = library.create("photos", PROVENANCE, 4)
    yield photos
    library.close()


def fill(photos, values):
    items = [Item(f"i{n}", "0" * 64, {} if v is None else {"v": v, "n": n}, VECTOR) for n, v in enumerate(values)]
    photos.upsert(items)
    return [(item.id, item.payload.get("v")) for item in items]


def pages(photos, order, size, where=None, between=lambda: None):
    ids, after = [], None
    while True:
        items, after = photos.page_ordered(order, where, after, size)
        assert len(items) <= size
        ids += [item.id for item in items]
        if after is None:
            return ids
        between()


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_order_is_that_of_a_plain_sort(photos, is_descending, size):
    values = VALUES * 3
    random.Random(0).shuffle(values)
    pairs = fill(photos, values)
    assert pages(photos, Order("v", is_descending), size) == slow_order(pairs, is_descending)
    where = parse("v > 2")
    numbers = [(own, v) for own, v in pairs if isinstance(v, int | float) and not isinstance(v, bool) and v > 2]
    assert pages(photos, Order("v", is_descending), size, where) == slow_order(numbers, is_descending)
    by_id = sorted((own for own, _ in pairs), reverse=is_descending)
    assert pages(photos, Order("id", is_descending), size) == by_id


@pytest.mark.parametrize("is_descending", [False, True])
def test_commits_between_pages_lose_nothing_and_repeat_nothing(photos, is_descending):
    pairs = fill(photos, VALUES * 3)
    names = iter(range(1000))
    gone = set()

    def write():
        n = next(names)
        photos.upsert([Item(f"new{n}", "0" * 64, {"v": n % 5}, VECTOR)])
        victim = f"i{7 * n % len(pairs)}"
        photos.delete([victim])
        gone.add(victim)

    found = pages(photos, Order("v", is_descending), 2, between=write)
    assert len(set(found)) == len(found)
    stayed = [(own, v) for own, v in pairs if own not in gone]
    assert [own for own in found if own in dict(stayed)] == slow_order(stayed, is_descending)
