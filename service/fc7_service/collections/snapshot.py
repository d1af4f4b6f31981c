"""What one search sees: an immutable index, a short tail of newer rows, and which rows of both were deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.halves import widen
from fc7_service.collections.index import Index, Work
from fc7_service.collections.index_choice import build_index, choose_index
from fc7_service.collections.rows import Metric, StoredRow
from fc7_service.collections.scoring import NO_ROWS, ScoredRows, joined, prepare_vectors, scan

if TYPE_CHECKING:
    from fc7_service.collections.segment import Segment  # with faiss, which a mere list must not load

_STALE_SHARE = 0.2  # newer or deleted rows, as a share of the indexed ones, that call for a rebuild
_STALE_ROWS = 2000  # fewer never call for a rebuild: scanning them takes less than a millisecond
_TAIL_ROWS, _TAIL_NUMBERS = 20_000, 2**23  # most rows, and numbers in them, that are newer than sealed segments

Alive = NDArray[np.bool_] | None  # per row, False if it was deleted; None if no row was


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of a collection after one commit. It never changes; a commit makes the next one.

    Both parts are sorted by rid. A commit copies neither: the indexed rows stay, and snapshots share the buffers of the
    tail, of which each sees its own front. Only a commit that deletes copies the mask, one byte per row.
    """

    metric: Metric
    index_name: str
    parts: tuple[tuple[int, int, Index], ...]  # positions from and to, and the index of the rows between
    is_sealed: bool  # whether the parts are segments
    rids: NDArray[np.int64]  # (N,), of the indexed rows
    places: NDArray[np.int64]  # (N,): rows of equal score are answered in this order
    alive: Alive  # (N,)
    n_dead: int  # indexed rows that were deleted
    n_tail: int
    tail_rids: NDArray[np.int64]  # (room,)
    tail_places: NDArray[np.int64]  # (room,)
    tail_vectors: NDArray[np.float32]  # (room, D), prepared
    tail_alive: Alive  # (n_tail,)
    n_tail_dead: int

    @classmethod
    def build(
        cls,
        rids: NDArray[np.int64],
        places: NDArray[np.int64],
        vectors: NDArray[Any],
        metric: Metric,
        *,
        may_use_gpu: bool = False,
    ) -> Self:
        """Index raw ``vectors`` (N, D), sorted by rid, on the GPU only if it may be used."""
        count, dim = vectors.shape
        name, index = build_index(vectors, metric, may_use_gpu=may_use_gpu) if count else (choose_index(0, dim), None)
        parts = () if index is None else ((0, count, index),)
        none, no_vectors = np.empty(0, np.int64), np.empty((0, dim), np.float32)
        return cls(metric, name, parts, False, rids, places, None, 0, 0, none, none, no_vectors, None, 0)

    @classmethod
    def of_segments(cls, segments: Sequence[Segment], stored: NDArray[np.int64], dim: int, metric: Metric) -> Self:
        """Return the rows of ``segments`` that are among the sorted rids ``stored``."""
        starts = np.cumsum([0, *(len(one.rids) for one in segments)]).tolist()
        rids = np.concatenate([np.empty(0, np.int64), *(one.rids for one in segments)])
        places = np.concatenate([np.empty(0, np.int64), *(one.places for one in segments)])
        alive = np.isin(rids, stored, assume_unique=True)
        n_dead = len(rids) - int(np.count_nonzero(alive))
        parts = tuple((*ends, one.index) for ends, one in zip(pairwise(starts), segments, strict=True))
        none, no_vectors = np.empty(0, np.int64), np.empty((0, dim), np.float32)
        known = alive if n_dead else None
        return cls(metric, "rabitq", parts, True, rids, places, known, n_dead, 0, none, none, no_vectors, None, 0)

    @property
    def n_alive(self) -> int:
        """Number of rows that are not deleted."""
        return len(self.rids) - self.n_dead + self.n_tail - self.n_tail_dead

    @property
    def is_stale(self) -> bool:
        """Whether so many rows are newer or deleted that a new index pays."""
        if self.is_sealed:
            return self.n_tail > most_in_tail(self.tail_vectors.shape[1]) or self.n_dead > _STALE_SHARE * len(self.rids)
        return self.n_tail + self.n_dead > max(_STALE_ROWS, _STALE_SHARE * len(self.rids))

    def all_rids(self) -> NDArray[np.int64]:
        """Return the rids (N + n_tail,) of all rows, sorted, deleted ones included."""
        return np.concatenate([self.rids, self.tail_rids[: self.n_tail]])

    def alive_rids(self) -> NDArray[np.int64]:
        """Return the rids (n_alive,) of the rows that are not deleted."""
        tail = self.tail_rids[: self.n_tail]
        parts = ((self.rids, self.alive), (tail, self.tail_alive))
        return np.concatenate([rids if alive is None else rids[alive] for rids, alive in parts])

    def with_changes(self, added: Sequence[StoredRow], deleted: Sequence[int]) -> Self:
        """Return the next snapshot, with ``added`` rows in its tail and without the rids ``deleted``.

        Call it on the newest snapshot only, because snapshots share the buffers of the tail.
        """
        changed = self
        if added:
            vectors = np.stack([widen(row.vector) for row in added])
            changed = self.with_rows([row.rid for row in added], [row.place for row in added], vectors)
        return changed._without(np.array(deleted, np.int64)) if deleted else changed

    def with_rows(
        self,
        new_rids: Sequence[int] | NDArray[np.int64],
        new_places: Sequence[int] | NDArray[np.int64],
        new_vectors: NDArray[np.float32],
    ) -> Self:
        """Return the next snapshot, with rows in its tail, given raw vectors (n, D). As ``with_changes`` otherwise."""
        start, end = self.n_tail, self.n_tail + len(new_rids)
        rids, places, vectors, alive = self.tail_rids, self.tail_places, self.tail_vectors, self.tail_alive
        if end > len(rids):
            rids, places, vectors = (_enlarged(part, start, 2 * end) for part in (rids, places, vectors))
        rids[start:end], places[start:end] = new_rids, new_places
        vectors[start:end] = prepare_vectors(new_vectors, self.metric)
        if alive is not None:
            alive = np.append(alive, np.ones(end - start, bool))
        return replace(self, n_tail=end, tail_rids=rids, tail_places=places, tail_vectors=vectors, tail_alive=alive)

    def _without(self, deleted: NDArray[np.int64]) -> Self:
        alive, n_dead = _marked(self.alive, self.rids, deleted)
        tail_alive, n_tail_dead = _marked(self.tail_alive, self.tail_rids[: self.n_tail], deleted)
        return replace(
            self,
            alive=alive,
            n_dead=self.n_dead + n_dead,
            tail_alive=tail_alive,
            n_tail_dead=self.n_tail_dead + n_tail_dead,
        )

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
        work: Work | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Return rid and score of the k best rows per query, best first.

        Parameters
        ----------
        queries
            (Q, D), raw and finite; not zero if the metric is cosine.
        k
            At least 1. If there are fewer rows, all are returned.
        allowed
            (N + n_tail,): which rows, those of the tail last, may be answered if they are not deleted. Defaults to all.
        work
            See `Index.search`.
        """
        alive, tail_alive, n_alive = self.alive, self.tail_alive, self.n_alive
        if allowed is not None:
            alive, tail_alive = _both(alive, allowed[: len(self.rids)]), _both(tail_alive, allowed[len(self.rids) :])
            n_alive = int(np.count_nonzero(alive) + np.count_nonzero(tail_alive))
        k = min(k, n_alive)
        if k == 0:
            return [[] for _ in queries]
        prepared = prepare_vectors(queries, self.metric)
        tail = [NO_ROWS] * len(prepared)
        if self.n_tail:
            tail = scan([self.tail_vectors[: self.n_tail]], prepared, k, tail_alive, self.metric)
        indexed = self._search_parts(prepared, k, alive, work)
        if work:
            work.n_vectors += self.n_tail * len(prepared)
        return [self._best(*both, k) for both in zip(indexed, tail, strict=True)]

    def _search_parts(self, prepared: NDArray[np.float32], k: int, alive: Alive, work: Work | None) -> list[ScoredRows]:
        """Return what the indexes answer, by position among the indexed rows."""
        found: list[list[ScoredRows]] = [[] for _ in prepared]
        for start, end, index in self.parts:
            own = None if alive is None else alive[start:end]
            if own is not None and not own.any():
                continue
            for answers, (rows, scores) in zip(found, index.search(prepared, k, own, work), strict=True):
                answers.append((rows + start, scores))
        return [joined(answers) for answers in found]

    def _best(self, indexed: ScoredRows, tail: ScoredRows, k: int) -> list[tuple[int, float]]:
        rids = np.concatenate([self.rids[indexed[0]], self.tail_rids[tail[0]]])
        places = np.concatenate([self.places[indexed[0]], self.tail_places[tail[0]]])
        scores = np.concatenate([indexed[1], tail[1]])
        best = np.lexsort((places, -scores))[:k]
        return list(zip(rids[best].tolist(), scores[best].tolist(), strict=True))


def most_in_tail(dim: int) -> int:
    """Return how many rows of ``dim`` numbers may be newer than sealed segments."""
    return min(_TAIL_ROWS, _TAIL_NUMBERS // dim)


def _both(alive: Alive, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return allowed if alive is None else alive & allowed


def _enlarged(part: NDArray[Any], n_used: int, room: int) -> NDArray[Any]:
    larger = np.empty((room, *part.shape[1:]), part.dtype)
    larger[:n_used] = part[:n_used]
    return larger


def _marked(alive: Alive, rids: NDArray[np.int64], deleted: NDArray[np.int64]) -> tuple[Alive, int]:
    """Return ``alive`` for sorted ``rids`` (N,) without those ``deleted``, and how many of them were alive."""
    positions = np.searchsorted(rids, deleted)
    is_here = positions < len(rids)
    positions = np.unique(positions[is_here][rids[positions[is_here]] == deleted[is_here]])
    if not len(positions):
        return alive, 0
    marked = np.ones(len(rids), bool) if alive is None else alive.copy()
    n_dead = int(np.count_nonzero(marked[positions]))
    marked[positions] = False
    return marked, n_dead
