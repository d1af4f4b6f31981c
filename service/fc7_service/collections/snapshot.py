"""What a search sees: an immutable index, a small exact tail of what came since, minus what is dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index import Index
from fc7_service.collections.index_choice import build_index, choose_index
from fc7_service.collections.scoring import NO_ROWS, ScoredRows, prepare_vectors, scan
from fc7_service.collections.store import Metric, Row

_STALE_SHARE = 0.2  # of the indexed rows that may be dead or in the tail
_STALE_ROWS = 2000  # fewer never start a rebuild: scanning them takes less than a millisecond


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a collection; every change makes the next.

    Rows are known by rid. Positions run through the index first, then through the tail; both are in the
    order of rids, which only grow.
    """

    metric: Metric
    index_name: str
    index: Index | None  # None over no rows
    n_indexed: int
    rids: NDArray[np.int64]  # (N,)
    places: NDArray[np.int64]  # (N,): equal scores stand in the order of first insertion
    alive: NDArray[np.bool_]  # (N,)
    buffer: NDArray[np.float32]  # (room for the tail, D), prepared; shared along the line of generations

    @classmethod
    def of(cls, rids: NDArray[np.int64], places: NDArray[np.int64], vectors: NDArray[Any], metric: Metric) -> Self:
        """Index raw ``vectors`` (N, D), ordered by rid."""
        count, dim = vectors.shape
        name, index = build_index(vectors, metric) if count else (choose_index(0, dim), None)
        return cls(metric, name, index, count, rids, places, np.ones(count, bool), np.empty((0, dim), np.float32))

    @property
    def n_alive(self) -> int:
        """Number of rows that a search can answer."""
        return int(np.count_nonzero(self.alive))

    @property
    def is_stale(self) -> bool:
        """Whether a new index would pay."""
        n_loose = len(self.rids) - int(np.count_nonzero(self.alive[: self.n_indexed]))  # in the tail, or dead in front
        return n_loose > max(_STALE_ROWS, _STALE_SHARE * self.n_indexed)

    def changed(self, added: Sequence[Row], killed: Sequence[int]) -> Self:
        """Return the next generation: with ``added`` in the tail and without the rids ``killed``.

        Only the newest generation may be changed: the tail's buffer is shared, and earlier ones see its front.
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
        alive[np.isin(rids, np.array(killed, np.int64))] = False
        return replace(self, rids=rids, places=places, alive=alive, buffer=buffer)

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """Return rid and score of the k best rows of each query, best first.

        Parameters
        ----------
        queries
            Raw, (Q, D), finite; not zero where the metric is cosine.
        k
            At least 1; above the number of living rows, all are returned.
        """
        k = min(k, self.n_alive)
        if k == 0:
            return [[] for _ in queries]
        prepared = prepare_vectors(queries, self.metric)
        n, n_tail = self.n_indexed, len(self.rids) - self.n_indexed
        tail = scan([self.buffer[:n_tail]], prepared, k, self.alive[n:], self.metric)
        front = self.index.search(prepared, k, self.alive[:n]) if self.index else [NO_ROWS] * len(prepared)
        return [self._best(f, t, k) for f, t in zip(front, tail, strict=True)]

    def _best(self, front: ScoredRows, tail: ScoredRows, k: int) -> list[tuple[int, float]]:
        positions = np.concatenate([front[0], tail[0] + self.n_indexed])
        scores = np.concatenate([front[1], tail[1]])
        best = np.lexsort((self.places[positions], -scores))[:k]
        return list(zip(self.rids[positions[best]].tolist(), scores[best].tolist(), strict=True))
