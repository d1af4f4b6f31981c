"""What one search sees: an immutable index, a short tail of newer rows, and a mask of the deleted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index import Index
from fc7_service.collections.index_choice import build_index, choose_index
from fc7_service.collections.rows import Metric, StoredRow
from fc7_service.collections.scoring import NO_ROWS, ScoredRows, prepare_vectors, scan

_STALE_SHARE = 0.2  # newer or deleted rows, as a share of the indexed ones, that call for a rebuild
_STALE_ROWS = 2000  # fewer never call for a rebuild: scanning them takes less than a millisecond


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of a collection after one commit. It never changes; a commit makes the next one.

    A position counts through the index first and then through the tail. Both are sorted by rid.
    """

    metric: Metric
    index_name: str
    index: Index | None  # None if it would hold no rows
    n_indexed: int
    rids: NDArray[np.int64]  # (N,)
    places: NDArray[np.int64]  # (N,): rows of equal score are answered in this order
    alive: NDArray[np.bool_]  # (N,): False for deleted rows
    buffer: NDArray[np.float32]  # (room for the tail, D), prepared; shared with later snapshots

    @classmethod
    def build(cls, rids: NDArray[np.int64], places: NDArray[np.int64], vectors: NDArray[Any], metric: Metric) -> Self:
        """Index raw ``vectors`` (N, D), sorted by rid."""
        count, dim = vectors.shape
        name, index = build_index(vectors, metric) if count else (choose_index(0, dim), None)
        return cls(metric, name, index, count, rids, places, np.ones(count, bool), np.empty((0, dim), np.float32))

    @property
    def n_alive(self) -> int:
        """Number of rows that are not deleted."""
        return int(np.count_nonzero(self.alive))

    @property
    def is_stale(self) -> bool:
        """Whether so many rows are newer or deleted that a new index pays."""
        n_unindexed = len(self.rids) - int(np.count_nonzero(self.alive[: self.n_indexed]))  # in the tail, or deleted
        return n_unindexed > max(_STALE_ROWS, _STALE_SHARE * self.n_indexed)

    def with_changes(self, added: Sequence[StoredRow], deleted: Sequence[int]) -> Self:
        """Return the next snapshot, with ``added`` rows in its tail and without the rids ``deleted``.

        Call it on the newest snapshot only, because snapshots share the buffer of the tail: earlier ones see the front
        of it.
        """
        n_tail = len(self.rids) - self.n_indexed
        buffer = self.buffer
        if n_tail + len(added) > len(buffer):
            buffer = np.empty((2 * (n_tail + len(added)), self.buffer.shape[1]), np.float32)
            buffer[:n_tail] = self.buffer[:n_tail]
        if added:
            rows = np.stack([row.vector.astype(np.float32) for row in added])
            buffer[n_tail : n_tail + len(added)] = prepare_vectors(rows, self.metric)
        rids = np.append(self.rids, np.array([row.rid for row in added], np.int64))
        places = np.append(self.places, np.array([row.place for row in added], np.int64))
        alive = np.append(self.alive, np.ones(len(added), bool))
        alive[np.isin(rids, np.array(deleted, np.int64))] = False
        return replace(self, rids=rids, places=places, alive=alive, buffer=buffer)

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """Return rid and score of the k best rows per query, best first.

        Parameters
        ----------
        queries
            (Q, D), raw and finite; not zero if the metric is cosine.
        k
            At least 1. If there are fewer rows, all are returned.
        """
        k = min(k, self.n_alive)
        if k == 0:
            return [[] for _ in queries]
        prepared = prepare_vectors(queries, self.metric)
        n, n_tail = self.n_indexed, len(self.rids) - self.n_indexed
        tail = scan([self.buffer[:n_tail]], prepared, k, self.alive[n:], self.metric)
        indexed = self.index.search(prepared, k, self.alive[:n]) if self.index else [NO_ROWS] * len(prepared)
        return [self._best(*both, k) for both in zip(indexed, tail, strict=True)]

    def _best(self, indexed: ScoredRows, tail: ScoredRows, k: int) -> list[tuple[int, float]]:
        positions = np.concatenate([indexed[0], tail[0] + self.n_indexed])
        scores = np.concatenate([indexed[1], tail[1]])
        best = np.lexsort((self.places[positions], -scores))[:k]
        return list(zip(self.rids[positions[best]].tolist(), scores[best].tolist(), strict=True))
