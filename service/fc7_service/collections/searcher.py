"""Answers searches: keeps a snapshot current with the commits, and rebuilds it in the background."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import matches
from fc7.errors import DataLoss, NotFound, Reason
from fc7_service.collections.columns import Columns
from fc7_service.collections.index import Work
from fc7_service.collections.rows import StoredRow, log_damaged, parse_payload
from fc7_service.collections.search import Query, Search, SearchReport
from fc7_service.collections.snapshot import Snapshot
from fc7_service.collections.store import Store

RankedRows = list[tuple[int, float]]  # rid and score, best first
Rows = dict[int, StoredRow]  # by rid

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RowChanges:
    """What a transaction did to the rows of a collection."""

    added: dict[int, StoredRow] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)  # rids of rows with another payload than before

    def delete(self, rid: int) -> None:
        """Record that a row was deleted; one that this transaction added leaves no trace."""
        if self.added.pop(rid, None) is None:
            self.deleted.append(rid)


class Searcher:
    """Searches the rows of a store.

    Parameters
    ----------
    store
        Holds the rows.
    writing
        Lock that a writer holds from the start of its transaction until the commit is published here.
    may_use_gpu
        Whether an index may be placed on a GPU.
    """

    def __init__(self, store: Store, writing: threading.Lock, *, may_use_gpu: bool = False) -> None:
        self._store, self._writing, self._name, self._may_use_gpu = store, writing, store.name, may_use_gpu
        self._columns = Columns(store)
        self._snapshot: Snapshot | None = None  # None before the first search
        self._missed: list[RowChanges] | None = None  # commits since a running rebuild read the store
        self._building = threading.Lock()
        self._rebuilder: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name of the index in use; empty before the first search."""
        snapshot = self._snapshot
        return snapshot.index_name if snapshot else ""

    @property
    def is_rebuilding(self) -> bool:
        """Whether a rebuild runs in the background."""
        return self._rebuilder is not None and self._rebuilder.is_alive()

    def wait_for_rebuild(self) -> None:
        """Wait until no rebuild runs in the background."""
        while (rebuilder := self._rebuilder) and rebuilder.is_alive():
            rebuilder.join()

    def publish(self, changes: RowChanges) -> None:
        """Make a commit visible to searches. The caller holds the lock ``writing``."""
        if changes.updated:
            self._columns.note_changes(changes.updated)
        if self._missed is not None:
            self._missed.append(changes)
        if self._snapshot is None:
            return
        try:
            self._snapshot = self._snapshot.with_changes(list(changes.added.values()), changes.deleted)
        except BaseException:  # out of memory: a snapshot without the commit must not answer
            self._snapshot = None
            raise
        if self._snapshot.is_stale and not self.is_rebuilding:
            self._rebuilder = threading.Thread(
                target=self._rebuild_in_background, name=f"index {self._name}", daemon=True
            )
            self._rebuilder.start()

    def current(self) -> Snapshot:
        """Return the rows as of the newest commit, indexed if they were not yet."""
        if self._snapshot is None:
            with self._building:
                if self._snapshot is None:
                    self._rebuild()
        assert self._snapshot is not None
        return self._snapshot

    def _rebuild_in_background(self) -> None:
        try:
            with self._building:
                self._rebuild()
        except NotFound:
            return  # the collection was closed
        except Exception:
            _log.exception("collection %r: the index could not be rebuilt; the old one still answers", self._name)

    def _rebuild(self) -> None:
        """Index what is committed now, add what is committed meanwhile, then swap. The caller holds ``_building``."""
        missed: list[RowChanges] = []
        try:
            with contextlib.ExitStack() as stack:
                with self._writing:
                    count, rows = stack.enter_context(self._store.read_vectors())
                    self._missed = missed
                rids, places, vectors = self._load(count, rows)
            metric = self._store.definition.metric
            snapshot = Snapshot.build(rids, places, vectors, metric, may_use_gpu=self._may_use_gpu)
            with self._writing:
                for changes in missed:
                    snapshot = snapshot.with_changes(list(changes.added.values()), changes.deleted)
                self._snapshot = snapshot
        finally:
            self._missed = None

    def _load(
        self, count: int, rows: Iterable[tuple[int, int, NDArray[Any] | None]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Return rids, places and raw vectors (N, D) of those of ``count`` rows whose vectors are intact."""
        rids, places = np.empty(count, np.int64), np.empty(count, np.int64)
        vectors: NDArray[Any] = np.empty((count, self._store.definition.dim), np.float16)
        n = n_read = 0
        for rid, place, vector in rows:
            n_read += 1
            if n_read > count:
                break
            if vector is None:
                continue
            if vector.dtype == np.float32 and vectors.dtype == np.float16:
                vectors = vectors.astype(np.float32)
            rids[n], places[n], vectors[n] = rid, place, vector
            n += 1
        if n_read != count:
            raise DataLoss(
                f"Collection {self._name!r} is damaged: only {n_read} of its {count} rows can be read. "
                "Restore it from a backup",
                name=self._name,
                reason=Reason.COLLECTION_DAMAGED,
            )
        if n == count:
            self._store.forget_older_format()
        else:
            log_damaged(list(self._store.damaged.values()), self._name)
        return rids[:n], places[:n], vectors[:n]

    def search(self, queries: Sequence[Query], search: Search, report: SearchReport) -> tuple[list[RankedRows], Rows]:
        """Return rid and score of the rows that answer each query, best first, and these rows, all as of one commit.

        How that was done is added to the report.
        """
        found, rows, missing, is_complete = self._look_up(self.current(), queries, search, report)
        if is_complete and not missing:
            return found, rows
        # A commit deleted rows meanwhile. Under the lock none can, so a row that is missing then is damaged.
        with self._writing:
            while True:
                assert self._snapshot is not None
                found, rows, missing, _ = self._look_up(self._snapshot, queries, search, report)
                if not missing:
                    return found, rows
                _log.warning("collection %r: %d rows no longer match their checksum", self._name, len(missing))
                self._snapshot = self._snapshot.with_changes([], missing)

    def _look_up(
        self, snapshot: Snapshot, queries: Sequence[Query], search: Search, report: SearchReport
    ) -> tuple[list[RankedRows], Rows, list[int], bool]:
        """Return hits, their rows, the rids of rows that cannot be read, and whether the filter saw all rows."""
        start = time.perf_counter()
        mask, is_complete = (None, True) if search.where is None else self._columns.mask(search.where, snapshot)
        filtered = time.perf_counter()
        rids = self._store.rids({*search.excluded_ids, *(own for query in queries for own in query.own_ids)})
        excluded = [{rids[one] for one in (*search.excluded_ids, *query.own_ids) if one in rids} for query in queries]
        work = Work(is_exact=search.is_exact)
        depth = search.offset + search.k + max(map(len, excluded))
        ranked = snapshot.search(np.stack([query.vector for query in queries]), depth, mask, work)
        found = [choose(*one, search) for one in zip(ranked, excluded, strict=True)]
        searched = time.perf_counter()
        wanted = sorted({rid for hits in found for rid, _ in hits})
        rows = self._store.by_rid(wanted, with_vectors=search.has_features)
        if search.where is not None:  # a payload that was changed meanwhile
            is_complete = is_complete and all(
                matches(search.where, parse_payload(row.payload)) for row in rows.values()
            )
        report.index = snapshot.index_name
        report.n_vectors += work.n_vectors
        report.n_codes += work.n_codes
        report.filter_s += filtered - start
        report.search_s += searched - filtered
        report.load_s += time.perf_counter() - searched
        return found, rows, [rid for rid in wanted if rid not in rows], is_complete


def choose(ranked: RankedRows, excluded: Set[int], search: Search) -> RankedRows:
    """Return those of the rows, best first, that answer one query."""
    lowest = -math.inf if search.min_score is None else search.min_score
    kept = [(rid, score) for rid, score in ranked if rid not in excluded and score >= lowest]
    return kept[search.offset : search.offset + search.k]
