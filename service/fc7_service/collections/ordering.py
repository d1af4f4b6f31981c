"""Items in the order of a field or of their ids, page by page.

A page begins after a key: the value and the place of the last item before it. So commits between two pages lose no
item and repeat none whose value stays.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fc7.contract.filter import Filter, check_field, matches, read_field
from fc7.contract.filter_json import write_json
from fc7_service.collections.commit_counter import read_commits
from fc7_service.collections.rows import DamagedRow, StoredRow, parse_payload
from fc7_service.collections.store import Store

ID = "id"  # the order of the ids, and not of a field of this name
_COMPARED = 256  # characters of a text; further ones do not count
_MOST_KEPT = 200_000  # items of the order that is kept for the next page: some 60 MB
TEXT, _OTHER, _ABSENT = 2, 3, 4  # kinds of values, in order; before them booleans and numbers

Key = tuple[int, Any, int]  # kind, value, place


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the items.

    Booleans come first, then numbers, then text, then lists and objects, in reverse if it is descending. Items without
    the field come last. Items of one value are in the order of first insertion.

    Raises
    ------
    InvalidArgument
        The field is not one that a filter could name.
    """

    field: str
    is_descending: bool = False

    def __post_init__(self) -> None:
        check_field(self.field)

    def key(self, row: StoredRow) -> Key:
        """Return the key of a row, without regard to the direction."""
        if self.field == ID:
            return TEXT, row.id, row.place
        value = read_field(parse_payload(row.payload), self.field)
        if value is None:
            return _ABSENT, 0, row.place
        if isinstance(value, bool):
            return 0, int(value), row.place
        if isinstance(value, int | float):
            return 1, value, row.place
        return (TEXT, value[:_COMPARED], row.place) if isinstance(value, str) else (_OTHER, 0, row.place)

    def is_after(self, key: Key, other: Key) -> bool:
        """Return whether one key follows another."""
        (kind, value, place), (other_kind, other_value, other_place) = key, other
        if kind != other_kind:
            if _ABSENT in (kind, other_kind):
                return kind == _ABSENT
            return (kind < other_kind) if self.is_descending else (kind > other_kind)
        if value != other_value:
            return bool(value < other_value) if self.is_descending else bool(value > other_value)
        return place > other_place


class OrderedPages:
    """Pages of a store's items. It keeps the order of the last page, until a commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: tuple[Any, list[tuple[Key, int]]] | None = None  # what the order is of, and keys with their rids

    def page(
        self, order: Order, where: Filter | None, after: Key | None, size: int, *, with_vectors: bool
    ) -> tuple[list[StoredRow | DamagedRow], Key | None]:
        """Return up to ``size`` rows that follow ``after``, and ``after`` of the next page or None."""
        with self._store.pinned() as connection:
            about = (order, None if where is None else write_json(where), read_commits(connection))
            with self._lock:
                keys = self._kept[1] if self._kept and self._kept[0] == about else None
            if keys is None:
                keys = _sorted(order, where, self._store.rows(connection))
                with self._lock:
                    self._kept = (about, keys) if len(keys) <= _MOST_KEPT else None
            start = 0 if after is None else bisect_left(keys, True, key=lambda one: order.is_after(one[0], after))
            found = keys[start : start + size]
            rows = self._store.rows_at(connection, [(key[2], rid) for key, rid in found], with_vectors)
        return rows, found[-1][0] if start + size < len(keys) else None


def _sorted(order: Order, where: Filter | None, rows: Iterable[StoredRow | DamagedRow]) -> list[tuple[Key, int]]:
    keys = [
        (order.key(row), row.rid)
        for row in rows
        if isinstance(row, StoredRow) and (where is None or matches(where, parse_payload(row.payload)))
    ]
    keys.sort(key=lambda one: one[0][2])
    keys.sort(key=lambda one: one[0][:2], reverse=order.is_descending)
    if order.is_descending:
        keys.sort(key=lambda one: one[0][0] == _ABSENT)
    return keys
