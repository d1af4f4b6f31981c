"""What one search sees: an immutable index, a short tail of newer rows, and which rows of both were deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index import Index, Work
from fc7_service.collections.index_choice import build_index, choose_index
from fc7_service.collections.rows import Metric, StoredRow
from fc7_service.collections.scoring import NO_ROWS, ScoredRows, prepare_vectors, scan

_STALE_SHARE = 0.2  # newer or deleted rows, as a share of the indexed ones, that call for a rebuild
_STALE_ROWS = 2000  # fewer never call for a rebuild: scanning them takes less than a millisecond

Alive = NDArray[np.bool_] | None  # per row, False if it was deleted; None if no row was


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of a collection after one commit. It never changes; a commit makes the next one.

    Both parts are sorted by rid. A commit copies neither: the indexed rows stay, and snapshots share the buffers of the
    tail, of which each sees its own front. Only a commit that deletes copies the mask, one byte per row.
    """

    metric: Metric
    index_name: str
    index: Index | None  # None if it would hold no rows
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
        name, index = choose_index(0, dim), None
        if count:
            name, index = build_index(vectors, metric, may_use_gpu=may_use_gpu)
        none, no_vectors = np.empty(0, np.int64), np.empty((0, dim), np.float32)
        return cls(metric, name, index, rids, places, None, 0, 0, none, none, no_vectors, None, 0)

    @property
    def n_alive(self) -> int:
        """Number of rows that are not deleted."""
        return len(self.rids) - self.n_dead + self.n_tail - self.n_tail_dead

    @property
    def is_stale(self) -> bool:
        """Whether so many rows are newer or deleted that a new index pays."""
        return self.n_tail + self.n_dead > max(_STALE_ROWS, _STALE_SHARE * len(self.rids))

    def alive_rids(self) -> NDArray[np.int64]:
        """Return the rids (n_alive,) of the rows that are not deleted."""
        tail = self.tail_rids[: self.n_tail]
        parts = ((self.rids, self.alive), (tail, self.tail_alive))
        return np.concatenate([rids if alive is None else rids[alive] for rids, alive in parts])

    def with_changes(self, added: Sequence[StoredRow], deleted: Sequence[int]) -> Self:
        """Return the next snapshot, with ``added`` rows in its tail and without the rids ``deleted``.

        Call it on the newest snapshot only, because snapshots share the buffers of the tail.
        """
        changed = self._with_added(added) if added else self
        return changed._without(np.array(deleted, np.int64)) if deleted else changed

    def _with_added(self, added: Sequence[StoredRow]) -> Self:
        start, end = self.n_tail, self.n_tail + len(added)
        rids, places, vectors, alive = self.tail_rids, self.tail_places, self.tail_vectors, self.tail_alive
        if end > len(rids):
            rids, places, vectors = (_enlarged(part, start, 2 * end) for part in (rids, places, vectors))
        rids[start:end] = [row.rid for row in added]
        places[start:end] = [row.place for row in added]
        vectors[start:end] = prepare_vectors(np.stack([row.vector.astype(np.float32) for row in added]), self.metric)
        if alive is not None:
            alive = np.append(alive, np.ones(len(added), bool))
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
        tail = scan([self.tail_vectors[: self.n_tail]], prepared, k, tail_alive, self.metric)
        indexed = self.index.search(prepared, k, alive, work) if self.index else [NO_ROWS] * len(prepared)
        if work:
            work.n_vectors += self.n_tail * len(prepared)
        return [self._best(*both, k) for both in zip(indexed, tail, strict=True)]

    def _best(self, indexed: ScoredRows, tail: ScoredRows, k: int) -> list[tuple[int, float]]:
        rids = np.concatenate([self.rids[indexed[0]], self.tail_rids[tail[0]]])
        places = np.concatenate([self.places[indexed[0]], self.tail_places[tail[0]]])
        scores = np.concatenate([indexed[1], tail[1]])
        best = np.lexsort((places, -scores))[:k]
        return list(zip(rids[best].tolist(), scores[best].tolist(), strict=True))


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
