"""The fields of the payloads as columns in memory, so that a filter is answered for all rows at once.

A column numbers the distinct values of one field. A comparison is tried once per distinct value, and the rows follow by
their numbers. A column grows: a later search reads the newer rows, and once more those whose payloads were changed.
"""

from __future__ import annotations

import json
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import And, Comparison, Filter, Not, Or, comparisons, holds, matches, read_field
from fc7.contract.filter_json import write_json
from fc7_service.collections.rows import StoredRow
from fc7_service.collections.snapshot import Snapshot
from fc7_service.collections.store import Store

MOST_BYTES = 256 * 2**20  # of all columns and masks of one collection; above, the least recently used are dropped
_MOST_MASKS = 16
_ABSENT, _UNREAD = -1, -2  # numbers of rows without the field, and of rows that were deleted before they were read
_FEWEST_VALUES = 1000  # a column with fewer keeps those that no row has any more
_ENTRY_BYTES = 200  # of a distinct value: its entries in the list and the dictionary


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by their value in one field, if that is text, a number or a boolean."""

    field: str
    values: list[Any]
    rids: NDArray[np.int64]  # (N,), sorted
    codes: NDArray[np.int32]  # (N,), per row the position of its value, or -1

    def holds(self, row: StoredRow) -> bool:
        """Return whether a row, as it is stored now, still has the value that it was found by."""
        code = int(self.codes[np.searchsorted(self.rids, row.rid)])
        return code >= 0 and _key(self.values[code]) == _key(read_field(json.loads(row.payload), self.field))


class Columns:
    """The columns of one collection, read when a filter first names the field.

    Parameters
    ----------
    store
        Holds the rows.
    most_bytes
        Memory that the columns may keep.
    """

    def __init__(self, store: Store, most_bytes: int = MOST_BYTES) -> None:
        self._store, self._most_bytes = store, most_bytes
        self._columns: OrderedDict[str, _Column] = OrderedDict()
        self._masks: OrderedDict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = OrderedDict()
        self._too_large: set[str] = set()  # fields whose column alone would take more memory than all may
        self._changed: set[int] = set()  # rids whose payloads were changed since they were read
        self._lock = threading.Lock()
        self._noting = threading.Lock()  # held for a moment: of the masks and the changed rows

    def note_changes(self, rids: Iterable[int]) -> None:
        """Read the payloads of these rows once more before the next answer."""
        with self._noting:
            self._changed.update(rids)

    def mask(self, where: Filter, snapshot: Snapshot) -> tuple[NDArray[np.bool_], bool]:
        """Return which rows of a snapshot match a filter.

        Returns
        -------
        mask
            (N + n_tail,), the indexed rows first. It may be True for deleted rows.
        is_complete
            False if a row was deleted after this snapshot and before its payload was read.
        """
        key, n = write_json(where), len(snapshot.rids) + snapshot.n_tail
        if (known := self._known_mask(key, snapshot)) is not None and len(known) == n:
            return known, True
        with self._lock:
            self._read_changed()
            known = self._known_mask(key, snapshot)
            if known is not None and len(known) == n:
                return known, True
            mask, is_complete = self._make_mask(where, snapshot, known)
            if is_complete:
                with self._noting:
                    self._masks[key] = (snapshot.rids, mask)
                    while len(self._masks) > _MOST_MASKS:
                        self._masks.popitem(last=False)
            self._drop_oldest()
        return mask, is_complete

    def _known_mask(self, key: str, snapshot: Snapshot) -> NDArray[np.bool_] | None:
        """Return the mask of a filter for the first rows of a snapshot, if it was made and no payload was changed."""
        with self._noting:
            known = self._masks.get(key)
            if known is None or known[0] is not snapshot.rids or self._changed:
                return None
            self._masks.move_to_end(key)
            return known[1]

    def _make_mask(
        self, where: Filter, snapshot: Snapshot, known: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.bool_], bool]:
        """Return the mask of a filter, and whether all living rows were read; ``known`` is the front of it, or None."""
        fields = {one.field for one in comparisons(where)}
        if not fields & self._too_large:
            columns = self._read(fields, snapshot.all_rids(), self._most_bytes)
            if columns is not None:
                is_unread = [column.codes == _UNREAD for column in columns.values()]
                return _mask_of(where, columns), not any(_is_missing(one, snapshot) for one in is_unread)
        rids = snapshot.all_rids()
        mask, is_read, after = np.zeros(len(rids), bool), np.zeros(len(rids), bool), 0
        if known is not None and len(known):
            mask[: len(known)], is_read[: len(known)], after = known, True, int(rids[len(known) - 1])
        for part in self._store.payloads(after, int(rids[-1]) if len(rids) else 0):
            for rid, payload in part:
                place = int(np.searchsorted(rids, rid))
                if rids[place] == rid:
                    mask[place], is_read[place] = matches(where, json.loads(payload)), True
        return mask, not _is_missing(~is_read, snapshot)

    def groups(self, field: str, snapshot: Snapshot) -> tuple[Groups, bool]:
        """Return which rows of a snapshot have the same value in a field, and whether all rows were read."""
        with self._lock:
            self._read_changed()
            columns = self._read({field}, snapshot.all_rids(), math.inf)
            assert columns is not None
            column = columns[field]
            is_group = np.array([not isinstance(value, tuple) for value in column.values] + [False, False])
            codes = np.where(is_group[column.codes], column.codes, _ABSENT)
            is_complete = not _is_missing(column.codes == _UNREAD, snapshot)
            groups = Groups(field, column.values[:], column.rids, codes)
            self._drop_oldest()
        return groups, is_complete

    def _read(self, fields: set[str], rids: NDArray[np.int64], most_bytes: float) -> dict[str, _Column] | None:
        """Return the columns of ``fields`` for exactly the rows ``rids``; None if one exceeds ``most_bytes``."""
        found = {field: self._columns.pop(field) if field in self._columns else _Column(field) for field in fields}
        newest = int(rids[-1]) if len(rids) else 0
        after = min((column.newest for column in found.values()), default=newest)
        if after < newest:
            behind = [column for column in found.values() if column.newest < newest]
            for part in self._store.payloads(after, newest):
                payloads = [json.loads(text) for _, text in part]
                for column in behind:
                    column.append([rid for rid, _ in part], payloads)
                    if column.n_bytes > most_bytes:
                        self._too_large.add(column.field)
                        return None
        for column in found.values():
            column.align(rids)
        self._columns |= found  # now the most recently used
        return found

    def _read_changed(self) -> None:
        with self._noting:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        with self._noting:
            self._masks.clear()
        columns = list(self._columns.values())
        self._columns.clear()  # until all are right again: the store may fail
        if columns:
            payloads = self._store.payloads_of(sorted(changed))
            for column in columns:
                column.change(payloads)
            self._columns |= {column.field: column for column in columns}

    def _drop_oldest(self) -> None:
        with self._noting:
            n_bytes = sum(mask.nbytes for _, mask in self._masks.values())
            n_bytes += sum(column.n_bytes for column in self._columns.values())
            while n_bytes > self._most_bytes and self._columns:
                n_bytes -= self._columns.popitem(last=False)[1].n_bytes
            while n_bytes > self._most_bytes and self._masks:
                n_bytes -= self._masks.popitem(last=False)[1][1].nbytes


class _Column:
    """The values of one field."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.newest = 0  # the largest rid that was read
        self.rids = np.empty(0, np.int64)
        self.codes = np.empty(0, np.int32)  # per row the position of its value in ``values``, _ABSENT or _UNREAD
        self.values: list[Any] = []
        self._positions: dict[Any, int] = {}
        self._value_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Memory in use, roughly."""
        return self._value_bytes + self.rids.nbytes + self.codes.nbytes

    def append(self, rids: Sequence[int], payloads: Iterable[Any]) -> None:
        """Add rows that follow those read so far; the others of ``rids`` are passed over."""
        pairs = [
            (rid, self._code(read_field(payload, self.field)))
            for rid, payload in zip(rids, payloads, strict=True)
            if rid > self.newest
        ]
        if pairs:
            added = np.array(pairs, np.int64)
            self.rids = np.append(self.rids, added[:, 0])
            self.codes = np.append(self.codes, added[:, 1].astype(np.int32))
            self.newest = int(self.rids[-1])

    def change(self, payloads: Sequence[tuple[int, str]]) -> None:
        """Set the values of rows that were read before, given sorted rids and payloads; others are passed over."""
        if not len(self.rids):
            return
        for rid, payload in payloads:
            place = min(int(np.searchsorted(self.rids, rid)), len(self.rids) - 1)
            if self.rids[place] == rid and self.codes[place] != _UNREAD:
                self.codes[place] = self._code(read_field(json.loads(payload), self.field))

    def align(self, rids: NDArray[np.int64]) -> None:
        """Keep the rows ``rids``, in this order."""
        if self.rids is rids:
            return
        if not np.array_equal(self.rids, rids):
            codes = np.full(len(rids), _UNREAD, np.int32)
            if len(self.rids):
                places = np.minimum(np.searchsorted(self.rids, rids), len(self.rids) - 1)
                is_read = self.rids[places] == rids
                codes[is_read] = self.codes[places[is_read]]
            self.codes = codes
            self._drop_unused()
        self.rids = rids
        self.newest = int(rids[-1]) if len(rids) else 0

    def table(self, comparison: Comparison) -> NDArray[np.bool_]:
        """Return whether a comparison holds for each distinct value; then, last, for an absent field."""
        found = np.zeros(len(self.values) + 2, bool)
        found[: len(self.values)] = [holds(comparison, value) for value in self.values]
        found[_ABSENT] = found[_UNREAD] = holds(comparison, None)
        return found

    def _drop_unused(self) -> None:
        """Forget the values that no row has any more, if they are the most."""
        used = np.unique(self.codes[self.codes >= 0])
        if len(self.values) < _FEWEST_VALUES or 2 * len(used) > len(self.values):
            return
        kept = [self.values[position] for position in used]
        is_coded = self.codes >= 0
        self.codes[is_coded] = np.searchsorted(used, self.codes[is_coded])
        self.values, self._positions, self._value_bytes = [], {}, 0
        for value in kept:
            self._add_value(value)

    def _code(self, value: Any) -> int:
        if value is None:
            return _ABSENT
        value = _simplified(value)
        position = self._positions.get(_key(value))
        return self._add_value(value) if position is None else position

    def _add_value(self, value: Any) -> int:
        position = self._positions[_key(value)] = len(self.values)
        self.values.append(value)
        self._value_bytes += _ENTRY_BYTES + 2 * sys.getsizeof(value)
        if isinstance(value, tuple):
            self._value_bytes += 2 * sum(map(sys.getsizeof, value))
        return position


def _is_missing(is_unread: NDArray[np.bool_], snapshot: Snapshot) -> bool:
    """Return whether a row was not read that is alive in the snapshot."""
    n = len(snapshot.rids)
    parts = ((is_unread[:n], snapshot.alive), (is_unread[n:], snapshot.tail_alive))
    return any(bool(np.any(unread if alive is None else unread & alive)) for unread, alive in parts)


def _mask_of(where: Filter, columns: dict[str, _Column]) -> NDArray[np.bool_]:
    if isinstance(where, Not):
        return ~_mask_of(where.part, columns)
    if isinstance(where, And | Or):
        combine = np.logical_and if isinstance(where, And) else np.logical_or
        mask = _mask_of(where.parts[0], columns)
        for part in where.parts[1:]:
            mask = combine(mask, _mask_of(part, columns))
        return mask
    assert isinstance(where, Comparison)
    column = columns[where.field]
    return np.take(column.table(where), column.codes)


def _simplified(value: Any) -> Any:
    """Return what comparisons can tell apart: of an object only that it is there, of a list its scalars."""
    if isinstance(value, dict):
        return ()
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str | int | float))
    return value


def _key(value: Any) -> Any:
    """Return a key that differs for values that JSON tells apart: in Python, True equals 1."""
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return (bool, value) if isinstance(value, bool) else value
