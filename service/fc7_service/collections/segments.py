"""The sealed segments of one collection: opened at the start, made when the tail grows, merged as they multiply.

A segment is at least twice as large as the one after it; smaller neighbours are merged. So each row is written a number
of times that grows with the logarithm of the collection, and a search asks as many segments at most.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error
from fc7_service.collections.row_blocks import Block, read_rows
from fc7_service.collections.segment import (
    SUFFIX,
    UNFINISHED,
    Segment,
    make_segment,
    read_segment,
    write_segment,
)
from fc7_service.collections.snapshot import most_in_tail
from fc7_service.collections.store import Store
from fc7_service.collections.vectors import DamagedFileError

FOLDER = "segments"
_DEAD_SHARE = 0.2  # of a segment's rows; with more deleted ones it is made anew
_TABLE = "CREATE TABLE IF NOT EXISTS segments (stamp TEXT NOT NULL)"
_HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'segments'"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Plan:
    """A segment to have: of rows from rid ``first`` to ``last``, of which ``n`` are stored now."""

    first: int
    last: int
    n: int
    sources: list[Segment | tuple[int, int]] = field(default_factory=list)  # segments, and ranges of rids in the store
    is_kept: bool = False  # the only source is a segment that stays as it is


class Segments:
    """Makes and keeps segments. For one thread at a time.

    Parameters
    ----------
    store
        Holds the rows, and the list of the stamps.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._folder = store, store.folder / FOLDER
        self._dim, self._metric = store.definition.dim, store.definition.metric
        self._segments: list[Segment] | None = None  # sorted by rid; None before the files are opened
        self._listed: list[str] = []  # stamps in the database

    def bring_up_to_date(self, stored: NDArray[np.int64]) -> list[Segment]:
        """Return segments that hold the rows of the sorted rids ``stored``, but for a short tail of the newest."""
        if self._segments is None:
            self._segments = self._open()
        while True:
            try:
                made = [one for plan in self._plans(stored) for one in self._carried_out(plan, stored)]
                self._check_complete(made, stored)
            except DamagedFileError as error:
                self._log_damage(error)
                self.drop_damaged()
            else:
                self._segments = made
                return made

    def drop_damaged(self) -> None:
        """Read all segments, and forget those that are damaged."""
        self._segments = [one for one in self._segments or [] if _is_intact(one)]

    def clear(self) -> None:
        """Forget all segments."""
        self._segments = []

    def record(self) -> None:
        """List the segments in the database, and remove all other files. The caller holds the lock of writers.

        Without room on the disk the list stays as it was, and the next start makes anew what it does not find.
        """
        stamps = [one.stamp for one in self._segments or [] if one.stamp]
        if stamps != self._listed:
            try:
                with self._store.transaction() as writer:
                    writer.execute(_TABLE)
                    writer.execute("DELETE FROM segments")
                    writer.executemany("INSERT INTO segments VALUES (?)", [(stamp,) for stamp in stamps])
                self._store.acknowledge()
                self._listed = stamps
            except Fc7Error as error:
                _log.warning("collection %r: its segments could not be listed: %s", self._store.name, error)
                return
        if self._folder.is_dir():
            kept = {f"{stamp}{SUFFIX}" for stamp in stamps}
            for path in self._folder.iterdir():
                if path.suffix in (SUFFIX, UNFINISHED) and path.name not in kept:
                    with contextlib.suppress(OSError):  # Windows removes no file that a search still uses
                        path.unlink()

    def _open(self) -> list[Segment]:
        with self._store.pinned() as connection:
            if connection.execute(_HAS_TABLE).fetchone():
                self._listed = [
                    stamp.decode(errors="replace") for (stamp,) in connection.execute("SELECT stamp FROM segments")
                ]
        found: list[Segment] = []
        for stamp in self._listed:
            try:
                found.append(read_segment(self._folder, stamp, self._dim, self._metric))
            except DamagedFileError as error:
                self._log_damage(error)
        found.sort(key=lambda one: one.first)
        return [one for i, one in enumerate(found) if i == 0 or found[i - 1].last < one.first]

    def _plans(self, stored: NDArray[np.int64]) -> list[_Plan]:
        """Return which segments there should be."""

        def count(first: int, last: int) -> int:
            return int(np.searchsorted(stored, last, "right") - np.searchsorted(stored, first, "left"))

        plans, after = [], 0
        for one in self._segments or []:
            plans.append(_Plan(after + 1, one.first - 1, count(after + 1, one.first - 1), [(after + 1, one.first - 1)]))
            n = count(one.first, one.last)
            is_kept = len(one.rids) - n <= _DEAD_SHARE * len(one.rids)
            plans.append(_Plan(one.first, one.last, n, [one], is_kept))
            after = one.last
        last = int(stored[-1]) if len(stored) else 0
        if (n_newer := count(after + 1, last)) > most_in_tail(self._dim):
            plans.append(_Plan(after + 1, last, n_newer, [(after + 1, last)]))
        merged: list[_Plan] = []
        for plan in plans:
            if plan.n == 0:
                continue
            merged.append(plan)
            while len(merged) > 1 and merged[-2].n < 2 * merged[-1].n:
                newer, older = merged.pop(), merged.pop()
                both = [*older.sources, *newer.sources]
                merged.append(_Plan(older.first, newer.last, older.n + newer.n, both))
        return merged

    def _carried_out(self, plan: _Plan, stored: NDArray[np.int64]) -> list[Segment]:
        if plan.is_kept:
            return [one for one in plan.sources if isinstance(one, Segment)]

        def read() -> Iterator[Block]:
            for source in plan.sources:
                if isinstance(source, Segment):
                    yield from source.blocks(np.isin(source.rids, stored, assume_unique=True))
                else:
                    yield from read_rows(self._store, *source)

        ends = (plan.first, plan.last, self._dim, self._metric)
        try:
            if not (stamp := write_segment(self._folder, read(), *ends)):
                return []
            try:
                return [read_segment(self._folder, stamp, self._dim, self._metric)]
            except DamagedFileError as error:
                raise OSError(f"a new file cannot be read: {error}") from error
        except OSError as error:
            _log.warning("collection %r: a segment stays in memory: %s", self._store.name, error)
            made = make_segment(read(), *ends)
            return [] if made is None else [made]

    def _check_complete(self, segments: list[Segment], stored: NDArray[np.int64]) -> None:
        """Look at the rows that segments leave out: they must be damaged, or deleted by now."""
        if not segments:
            return
        held = np.concatenate([one.rids for one in segments])
        missing = np.setdiff1d(stored[stored <= segments[-1].last], held, assume_unique=True)
        for rid in missing.tolist():
            if any(len(block.rids) for block in read_rows(self._store, rid, rid)):
                self._segments = []
                raise DamagedFileError(f"row {rid} is in no segment")

    def _log_damage(self, error: DamagedFileError) -> None:
        _log.warning("collection %r: a segment is made anew: %s", self._store.name, error)


def _is_intact(segment: Segment) -> bool:
    try:
        for _ in segment.blocks(None):
            pass
    except DamagedFileError:
        return False
    return True
