"""The newest snapshot of a collection: it follows the commits, and is rebuilt behind the searches."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, NotFound, Reason
from fc7_service.collections.snapshot import Snapshot
from fc7_service.collections.store import Broken, Row, Store

_NAMED = 10  # broken items that a warning names

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Changes:
    """What a transaction did to the rows."""

    added: dict[int, Row] = field(default_factory=dict)
    killed: list[int] = field(default_factory=list)

    def kill(self, rid: int) -> None:
        """Take note that a row is gone."""
        if self.added.pop(rid, None) is None:
            self.killed.append(rid)


class Searcher:
    """What searches ask.

    Parameters
    ----------
    store
        Where the rows are.
    writing
        Held by whoever writes to the store, until the commit is published here.
    """

    def __init__(self, store: Store, writing: threading.Lock) -> None:
        self._store, self._writing, self._name = store, writing, store.name
        self._snapshot: Snapshot | None = None  # None until the first search
        self._since: list[Changes] | None = None  # commits since the snapshot of a rebuild under way
        self._building = threading.Lock()
        self._rebuilder: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name of the index in use; empty before the first search."""
        snapshot = self._snapshot
        return snapshot.index_name if snapshot else ""

    def join(self) -> None:
        """Wait until no rebuild is under way."""
        while (rebuilder := self._rebuilder) and rebuilder.is_alive():
            rebuilder.join()

    def publish(self, changes: Changes) -> None:
        """Show a commit to the searches; the caller holds ``_writing``."""
        if self._since is not None:
            self._since.append(changes)
        if self._snapshot is None:
            return
        try:
            self._snapshot = self._snapshot.changed(list(changes.added.values()), changes.killed)
        except BaseException:  # no memory: an index that lacks what is on disk must not answer
            self._snapshot = None
            raise
        is_idle = self._rebuilder is None or not self._rebuilder.is_alive()
        if self._snapshot.is_stale and is_idle:
            self._rebuilder = threading.Thread(target=self._rebuild_behind, name=f"index {self._name}", daemon=True)
            self._rebuilder.start()

    def _current(self) -> Snapshot:
        if self._snapshot is None:
            with self._building:
                if self._snapshot is None:
                    self._rebuild()
        assert self._snapshot is not None
        return self._snapshot

    def _rebuild_behind(self) -> None:
        try:
            with self._building:
                self._rebuild()
        except NotFound:
            return  # closed meanwhile
        except Exception:
            _log.exception("collection %r: its index could not be rebuilt; the old one serves", self._name)

    def _rebuild(self) -> None:
        """Index a snapshot, replay what was committed since, swap; the caller holds ``_building``."""
        since: list[Changes] = []
        try:
            with contextlib.ExitStack() as stack:
                with self._writing:
                    count, rows = stack.enter_context(self._store.snapshot())
                    self._since = since
                rids, places, vectors = self._load(count, rows)
            snapshot = Snapshot.of(rids, places, vectors, self._store.facts.metric)
            with self._writing:
                for changes in since:
                    snapshot = snapshot.changed(list(changes.added.values()), changes.killed)
                self._snapshot = snapshot
        finally:
            self._since = None

    def _load(
        self, count: int, rows: Iterable[Row | Broken]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Return rids, places and raw vectors (N, D) of the intact ones of ``count`` rows."""
        rids, places = np.empty(count, np.int64), np.empty(count, np.int64)
        vectors: NDArray[Any] = np.empty((count, self._store.facts.dim), np.float16)
        n, broken = 0, []
        for row in rows:
            if isinstance(row, Broken):
                broken.append(row)
                continue
            if n + len(broken) >= count:
                break
            if row.vector.dtype == np.float32 and vectors.dtype == np.float16:
                vectors = vectors.astype(np.float32)
            rids[n], places[n], vectors[n] = row.rid, row.place, row.vector
            n += 1
        if n + len(broken) != count:
            raise DataLoss(
                f"collection {self._name!r} is damaged: {n + len(broken)} of its {count} rows can be read; "
                "restore it from a backup",
                name=self._name,
                reason=Reason.COLLECTION_DAMAGED,
            )
        _warn(broken, self._name)
        return rids[:n], places[:n], vectors[:n]

    def nearest(self, vectors: NDArray[np.float32], k: int) -> tuple[list[list[tuple[int, float]]], dict[int, Row]]:
        """Return rid and score of the best rows of each query, and those rows, of one state."""
        found, rows, missing = self._look_up(self._current(), vectors, k)
        if not missing:
            return found, rows
        with self._writing:  # a commit came between the two; none can now, so what is missing still is damaged
            while True:
                assert self._snapshot is not None
                found, rows, missing = self._look_up(self._snapshot, vectors, k)
                if not missing:
                    return found, rows
                _log.warning("collection %r: %d rows no longer match their checksum", self._name, len(missing))
                self._snapshot = self._snapshot.changed([], missing)

    def _look_up(
        self, snapshot: Snapshot, vectors: NDArray[np.float32], k: int
    ) -> tuple[list[list[tuple[int, float]]], dict[int, Row], list[int]]:
        found = snapshot.search(vectors, k)
        wanted = sorted({rid for hits in found for rid, _ in hits})
        rows = self._store.by_rid(wanted)
        return found, rows, [rid for rid in wanted if rid not in rows]


def intact(rows: Iterable[Row | Broken], name: str) -> Iterator[Row]:
    """Yield the rows whose checksum holds; warn of the others."""
    broken = []
    for row in rows:
        if isinstance(row, Row):
            yield row
        else:
            broken.append(row)
    _warn(broken, name)


def _warn(broken: Sequence[Broken], name: str) -> None:
    if broken:
        ids = ", ".join(repr(row.id) for row in broken[:_NAMED]) + (", ..." if len(broken) > _NAMED else "")
        _log.warning("collection %r: %d items do not match their checksum and are left out: %s", name, len(broken), ids)
