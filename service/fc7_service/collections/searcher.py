"""Answers searches: keeps a snapshot current with the commits, and rebuilds it in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import matches
from fc7.errors import NotFound
from fc7_service.collections.columns import Columns
from fc7_service.collections.halves import widen
from fc7_service.collections.index import USUAL_DEVIATIONS, Work
from fc7_service.collections.index_choice import choose_index
from fc7_service.collections.row_blocks import Block, join_blocks, read_rows
from fc7_service.collections.rows import StoredRow, log_damaged, parse_payload
from fc7_service.collections.scoring import prepare_vectors
from fc7_service.collections.search import DIVERSE_POOL, Query, Search, SearchReport
from fc7_service.collections.selection import RankedRows, best_per_group, choose, spread
from fc7_service.collections.snapshot import Snapshot, most_in_tail
from fc7_service.collections.store import Store
from fc7_service.collections.vectors import DamagedFileError, Vectors

if TYPE_CHECKING:
    from fc7_service.collections.segments import Segments

_ATTEMPTS = 20  # of a search that commits overtake, before it keeps writers waiting
_PUBLISHED_S = 1.0  # longest that a search waits for a commit that it has seen in the database

Rows = dict[int, StoredRow]  # by rid

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RowChanges:
    """What a transaction did to the rows of a collection."""

    added: dict[int, StoredRow] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)  # rids of rows with another payload than before


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
        self.deviations = USUAL_DEVIATIONS  # see `Work`
        self._columns = Columns(store)
        self._snapshot: Snapshot | None = None  # None before the first search
        self._publishing = threading.Condition()  # held for a moment, to replace the snapshot
        self._n_published = 0  # commits
        self._missed: list[RowChanges] | None = None  # commits since a running rebuild read the store
        self._building = threading.Lock()
        self._rebuilder: threading.Thread | None = None
        self._kept_segments: Segments | None = None
        self._n_unsealed = 0  # rows added since segments were made of them; counted before the first search
        self._is_wanted = False  # a search waits for the first snapshot, or has it

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
        with self._publishing:
            try:
                if self._snapshot is not None:
                    self._snapshot = self._snapshot.with_changes(list(changes.added.values()), changes.deleted)
            except BaseException:  # out of memory: a snapshot without the commit must not answer
                self._snapshot = None
                raise
            finally:
                self._n_published += 1
                self._publishing.notify_all()
        self._n_unsealed += len(changes.added)
        if self._is_due and not self.is_rebuilding:
            self._rebuilder = threading.Thread(
                target=self._rebuild_in_background, name=f"index {self._name}", daemon=True
            )
            self._rebuilder.start()

    def current(self) -> Snapshot:
        """Return the rows as of the newest commit, indexed if they were not yet."""
        while (snapshot := self._snapshot) is None:
            self._is_wanted = True
            with self._building:
                if self._snapshot is None:
                    self._rebuild()
        return snapshot

    def _rebuild_in_background(self) -> None:
        try:
            while self._is_due:
                with self._building:
                    if self._snapshot is not None:
                        self._rebuild()
                        return
                    self._seal()
        except NotFound:
            return  # the collection was closed
        except Exception:
            _log.exception("collection %r: the index could not be rebuilt; the old one still answers", self._name)

    @property
    def _is_due(self) -> bool:
        """Whether so much has changed that work in the background pays."""
        if self._snapshot is not None:
            return self._snapshot.is_stale
        return self._n_unsealed > most_in_tail(self._store.definition.dim) and not self._is_wanted

    def _seal(self) -> None:
        """Make segments that the first search will find. The caller holds ``_building``."""
        with self._writing:
            self._n_unsealed, newest = 0, self._store.last_place
        stored = self._store.all_rids()
        stored = stored[stored <= newest]
        if choose_index(len(stored), self._store.definition.dim) != "exact":
            self._segments.bring_up_to_date(stored)
            with self._writing:
                self._segments.record()

    def _rebuild(self) -> None:
        """Index what is committed now, add what is committed meanwhile, then swap. The caller holds ``_building``."""
        missed: list[RowChanges] = []
        try:
            with self._writing:
                self._missed = missed
                newest = self._store.last_place
            stored = self._store.all_rids()
            snapshot = self._build(stored[stored <= newest])
            with self._writing:
                for changes in missed:
                    snapshot = snapshot.with_changes(list(changes.added.values()), changes.deleted)
                with self._publishing:
                    self._snapshot, self._missed = snapshot, None
                self._segments.record()
        finally:
            self._missed = None
        if self._store.damaged:
            log_damaged(list(self._store.damaged.values()), self._name)
        else:
            self._store.forget_older_format()

    def _build(self, stored: NDArray[np.int64]) -> Snapshot:
        """Return a snapshot of the rows of the sorted rids ``stored`` that are intact."""
        dim, metric = self._store.definition.dim, self._store.definition.metric
        newest = int(stored[-1]) if len(stored) else 0
        if choose_index(len(stored), dim) == "exact":
            self._segments.clear()
            rids, places, vectors = self._load(1, newest)
            return Snapshot.build(rids, places, vectors, metric, may_use_gpu=self._may_use_gpu)
        segments = self._segments.bring_up_to_date(stored)
        snapshot = Snapshot.of_segments(segments, stored, dim, metric)
        return snapshot.with_rows(*self._load(segments[-1].last + 1 if segments else 1, newest))

    @property
    def _segments(self) -> Segments:
        if self._kept_segments is None:
            from fc7_service.collections.segments import Segments  # with faiss, which a mere list must not load

            self._kept_segments = Segments(self._store)
        return self._kept_segments

    def _load(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return rids, places and raw vectors (N, D) of the intact rows from rid ``first`` to ``last``."""
        halves = [np.empty((0, self._store.definition.dim), np.float16)]

        def keeping() -> Iterator[Block]:
            for block in read_rows(self._store, first, last):
                halves.append(block.halves)
                yield block

        kept = join_blocks(keeping(), self._store.definition.dim)
        return kept.rids, kept.places, Vectors(np.concatenate(halves), kept.wide).raw(slice(None))

    def search(self, queries: Sequence[Query], search: Search, report: SearchReport) -> tuple[list[RankedRows], Rows]:
        """Return rid and score of the rows that answer each query, best first, and these rows, all as of one commit.

        How that was done is added to the report. A search does not wait for writers, unless they overtake it for ever.
        """
        for _ in range(_ATTEMPTS):
            n_published, snapshot = self._n_published, self.current()
            try:
                found, rows, missing, is_complete = self._look_up(snapshot, queries, search, report)
            except DamagedFileError as error:
                _log.warning("collection %r: the index is made anew: %s", self._name, error)
                self._replace_damaged(snapshot)
                continue
            if is_complete and not missing:
                return found, rows
            if damaged := [rid for rid in missing if rid in self._store.damaged]:
                self._leave_out(damaged)
            elif not self._wait_for_commit(n_published):
                self._leave_out(missing)  # nobody deleted them, so the database has lost them
                break
        with self._writing:
            while (last := self._snapshot) is not None:
                found, rows, missing, _ = self._look_up(last, queries, search, report)
                if not missing:
                    return found, rows
                self._leave_out(missing)
        return self.search(queries, search, report)  # a writer ran out of memory, and the snapshot is made anew

    def _wait_for_commit(self, n_published: int) -> bool:
        """Wait until the commit that a search saw in the database is published; return False if none is."""
        with self._publishing:
            return self._publishing.wait_for(lambda: self._n_published != n_published, _PUBLISHED_S)

    def _leave_out(self, damaged: Sequence[int]) -> None:
        """Answer with these rows no more, because they cannot be read."""
        if damaged:
            _log.warning("collection %r: %d rows no longer match their checksum", self._name, len(damaged))
        with self._publishing:
            if self._snapshot is not None:
                self._snapshot = self._snapshot.with_changes([], damaged)

    def _replace_damaged(self, snapshot: Snapshot) -> None:
        """Make anew the segments whose files are damaged, unless somebody else did."""
        with self._building:
            if self._snapshot is not None and self._snapshot.parts is not snapshot.parts:
                return
            self._segments.drop_damaged()
            self._rebuild()

    def _look_up(
        self, snapshot: Snapshot, queries: Sequence[Query], search: Search, report: SearchReport
    ) -> tuple[list[RankedRows], Rows, list[int], bool]:
        """Return hits, their rows, the rids of rows that cannot be read, and whether the filter saw all rows."""
        start = time.perf_counter()
        mask, is_complete = (None, True) if search.where is None else self._columns.mask(search.where, snapshot)
        filtered = time.perf_counter()
        groups = None
        if search.group_by:
            groups, is_all = self._columns.groups(search.group_by, snapshot)
            is_complete = is_complete and is_all
        named = {*search.excluded_ids, *(own for query in queries for own in query.own_ids)}
        rids = self._store.rids(named) if named else {}
        excluded = [{rids[one] for one in (*search.excluded_ids, *query.own_ids) if one in rids} for query in queries]
        work = Work(is_exact=search.is_exact, deviations=self.deviations)
        if groups is None:
            depth = (DIVERSE_POOL if search.diversity else search.offset + search.k) + max(map(len, excluded))
            ranked = snapshot.search(np.stack([query.vector for query in queries]), depth, mask, work)
            found = [choose(*one, search) for one in zip(ranked, excluded, strict=True)]
        else:
            pairs = zip(queries, excluded, strict=True)
            found = [_group(snapshot, query, search, groups.codes, mask, own, work) for query, own in pairs]
        searched = time.perf_counter()
        wanted = sorted({rid for hits in found for rid, _ in hits})
        rows = self._store.by_rid(wanted, with_vectors=search.has_features or search.diversity > 0)
        missing = [rid for rid in wanted if rid not in rows]
        if search.diversity and not missing:
            found = [self._spread(hits, rows, search) for hits in found]
        if groups is not None:  # a payload that was changed meanwhile
            is_complete = is_complete and all(groups.holds(row) for row in rows.values())
        if search.where is not None:  # a payload that was changed meanwhile
            is_complete = is_complete and all(
                matches(search.where, parse_payload(row.payload)) for row in rows.values()
            )
        report.index, report.n_damaged = snapshot.index_name, len(self._store.damaged)
        report.n_vectors += work.n_vectors
        report.n_codes += work.n_codes
        report.filter_s += filtered - start
        report.search_s += searched - filtered
        report.load_s += time.perf_counter() - searched
        return found, rows, missing, is_complete

    def _spread(self, hits: RankedRows, rows: Rows, search: Search) -> RankedRows:
        if not hits:
            return hits
        metric = self._store.definition.metric
        vectors = prepare_vectors(np.stack([widen(rows[rid].vector) for rid, _ in hits]), metric)
        return spread(hits, vectors, search, metric)


def _group(
    snapshot: Snapshot,
    query: Query,
    search: Search,
    codes: NDArray[np.int32],
    mask: NDArray[np.bool_] | None,
    excluded: Set[int],
    work: Work,
) -> RankedRows:
    """Return the rows that answer one query with groups."""
    rids = snapshot.all_rids()
    allowed = np.ones(len(rids), bool) if mask is None else mask.copy()
    if excluded:
        allowed &= ~np.isin(rids, list(excluded))

    def rank(k: int, which: NDArray[np.bool_]) -> RankedRows:
        return snapshot.search(query.vector[None], k, which, work)[0]

    return best_per_group(rank, rids, codes, allowed, search)
