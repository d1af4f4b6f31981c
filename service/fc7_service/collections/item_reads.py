"""Reading the items of a collection: by id, page by page, and those that match a filter."""

from __future__ import annotations

from collections.abc import Sequence

from fc7.contract.filter import Filter
from fc7.errors import Fc7Error
from fc7_service.collections.ordering import Key, Order, OrderedPages
from fc7_service.collections.rows import DamagedRow, StoredItem, StoredRow, intact_rows, why_absent
from fc7_service.collections.store import Store

_FILTERED_AT_ONCE = 20_000  # items whose payloads are compared with a filter in one read
_CHANGED_AT_ONCE = 1000  # rows read at once, to be changed or deleted by a filter


class ItemReads:
    """Reads the items of one collection. Any number of threads may use it."""

    def __init__(self, store: Store) -> None:
        self._store, self._name = store, store.name
        self._ordered = OrderedPages(store)

    def get(self, ids: Sequence[str], with_features: bool = False) -> list[StoredItem | Fc7Error]:
        """Return each item, or ``NotFound`` or ``DataLoss`` in its place."""
        rows = self._store.by_id(ids)
        return [self._item(wanted, rows.get(wanted), with_features) for wanted in ids]

    def page(self, after: int, size: int, with_features: bool = False) -> tuple[list[StoredItem], int | None]:
        """Return up to ``size`` items in the order of first insertion, and ``after`` of the next page or None.

        Damaged items are left out; without features, only damage to the rest of an item shows.
        """
        rows, rest = self._store.page(after, size, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self._name)], rest

    def page_where(
        self, where: Filter, after: int, size: int, with_features: bool = False
    ) -> tuple[list[StoredItem], int | None]:
        """Return up to ``size`` items that match, in the order of first insertion, and ``after`` of the next page.

        At most `_FILTERED_AT_ONCE` items are looked at, so the page may have no items although more match.
        """
        rows, rest = self._store.matching_rows(where, after, size, _FILTERED_AT_ONCE, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self._name)], rest

    def page_ordered(
        self, order: Order, where: Filter | None, after: Key | None, size: int, with_features: bool = False
    ) -> tuple[list[StoredItem], Key | None]:
        """Return up to ``size`` items that match, in an order, and ``after`` of the next page or None."""
        rows, rest = self._ordered.page(order, where, after, size, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self._name)], rest

    def count_where(self, where: Filter) -> int:
        """Return how many items match."""
        count = 0
        after: int | None = 0
        while after is not None:
            places, after = self._store.matching(where, after, _FILTERED_AT_ONCE, _FILTERED_AT_ONCE)
            count += len(places)
        return count

    def find_matching(
        self, where: Filter, most: int, after: int, last: int | None
    ) -> tuple[list[tuple[str, int, int]], int | None]:
        """Return id, rid and place of up to ``most`` intact rows that match, and ``after`` of the next ones or None."""
        found: list[tuple[str, int, int]] = []
        rest: int | None = after
        while rest is not None and len(found) <= most and (last is None or rest < last):
            rows, rest = self._store.matching_rows(where, rest, _CHANGED_AT_ONCE, _FILTERED_AT_ONCE)
            found += [
                (row.id, row.rid, row.place)
                for row in intact_rows(rows, self._name)
                if last is None or row.place <= last
            ]
        return (found[:most], found[most - 1][2]) if len(found) > most else (found, None)

    def _item(self, id: str, row: StoredRow | DamagedRow | None, with_features: bool) -> StoredItem | Fc7Error:
        if isinstance(row, StoredRow):
            return row.item(with_vector=with_features)
        return why_absent(self._name, id, row)
