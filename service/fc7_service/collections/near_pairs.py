"""All pairs of rows that are near enough, found without comparing whole vectors of most pairs.

Each vector is split into its part in a subspace of few dimensions and the rest: x = Px + r. By the inequality of
Cauchy and Schwarz, <x, y> <= <Px, Py> + |rx| |ry|, which is the product of the short vectors (Px, |rx|) and
(Py, |ry|). Only pairs whose short vectors reach the score are compared as a whole, so no pair is missed.

The same inequality holds for the first dimensions of the subspace. Products of these rough vectors sort out all pairs
but a few in 100,000. They are what takes the time: they grow with the square of the rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.cores import usable_cores
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ROUNDING, prepare_vectors

_SUBSPACE = 64  # dimensions: bench/search.py, where 32 and 128 took longer
_ROUGH = 24  # dimensions of these: 16 let through four times as many pairs, 32 took a quarter longer
_SAMPLE = 512  # rows that the subspace is fitted to
_BLOCK = 512  # rows; the products of two blocks take 1 MiB, which a core keeps near: 2048 took twice as long
_BLOCKS_AT_ONCE = 16  # compared with one block in one go: at most 4 million pairs
_PAIRS_AT_ONCE = 2**15
_PADDING = 1e-6  # of a squared length, for what float32 loses in the rest of a vector

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions i and j of each pair, i < j


@dataclass(frozen=True, slots=True)
class ShortVectors:
    """Short stand-ins for vectors, which tell how near two of them can be at most."""

    rows: NDArray[np.float32]  # (N, m + 1)
    squares: NDArray[np.float64]  # (N,): squared lengths of the whole vectors
    metric: Metric

    def pairs(self, min_score: float, is_cancelled: Callable[[], bool]) -> Iterator[Pairs]:
        """Yield the pairs that may reach a score, for one part of the rows after the other, on all cores.

        It ends early if it is cancelled.
        """
        from threadpoolctl import threadpool_limits

        rough, n_cores = self._rough(), usable_cores()
        running: deque[Future[Pairs]] = deque()
        with (
            threadpool_limits(1, user_api="blas"),  # the products are small: threads of BLAS would wait for one another
            ThreadPoolExecutor(n_cores, "near pairs") as threads,
        ):
            for top, left in self._parts():
                running.append(threads.submit(self._pairs_of_part, rough, top, left, min_score))
                if len(running) > n_cores:
                    yield running.popleft().result()
                if is_cancelled():
                    return
            while running:
                yield running.popleft().result()

    def _parts(self) -> Iterator[tuple[int, int]]:
        """Yield the first row of a block, and the first of the rows to compare it with, until all pairs had a turn."""
        for top in range(0, len(self.rows), _BLOCK):
            for left in range(top, len(self.rows), _BLOCKS_AT_ONCE * _BLOCK):
                yield top, left

    def _rough(self) -> NDArray[np.float32]:
        """Return the first dimensions (N, m' + 1) of the short vectors, and the length of the rest."""
        rest = self.rows[:, _ROUGH:].astype(np.float64)
        length = np.sqrt(np.einsum("nd,nd->n", rest, rest))
        return np.column_stack([self.rows[:, :_ROUGH], (length * (1 + _PADDING)).astype(np.float32)])

    def _pairs_of_part(self, rough: NDArray[np.float32], top: int, left: int, min_score: float) -> Pairs:
        found: list[Pairs] = []
        i = slice(top, top + _BLOCK)
        for start in range(left, min(left + _BLOCKS_AT_ONCE * _BLOCK, len(self.rows)), _BLOCK):
            j = slice(start, min(start + _BLOCK, len(self.rows)))
            near = np.flatnonzero(self._may_reach(rough[i] @ rough[j].T, i, j, min_score))
            if not len(near):
                continue
            a, b = np.divmod(near, j.stop - j.start)
            a, b = a + top, b + start
            for pairs in range(0, len(near), _PAIRS_AT_ONCE):
                part = slice(pairs, pairs + _PAIRS_AT_ONCE)
                one, other = a[part], b[part]
                products = np.einsum("pd,pd->p", self.rows[one], self.rows[other])
                reaches = self._may_reach(products, one, other, min_score) & (one < other)
                found.append((one[reaches], other[reaches]))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])

    def _may_reach(self, products: NDArray[np.float32], i: Any, j: Any, min_score: float) -> NDArray[np.bool_]:
        """Return whether pairs may reach a score: of rows ``i`` and ``j``, or of each row of slices with each."""
        if self.metric == "cosine":  # all lengths are 1
            least: Any = np.float32(min_score - 5 * ROUNDING)
        else:  # |x - y|^2 <= min_score^2, and what float32 may be off
            one = self.squares[i] if products.ndim == 1 else self.squares[i, None]
            both = (one + self.squares[j]) * (0.5 - 3 * ROUNDING)
            least = (both - min_score**2 * (0.5 + 2 * ROUNDING)).astype(np.float32)
        reaches: NDArray[np.bool_] = products >= least
        return reaches


def shorten(blocks: Iterable[NDArray[Any]], sample: NDArray[Any], metric: Metric) -> ShortVectors:
    """Return the short vectors of raw rows, which come in blocks (n, D), for a subspace fitted to a sample (S, D)."""
    basis = _subspace(prepare_vectors(sample, metric))
    rows, squares = [], []
    for block in blocks:
        prepared = prepare_vectors(block, metric)
        inside = prepared @ basis
        square = np.einsum("nd,nd->n", prepared, prepared, dtype=np.float64)
        rest = square - np.einsum("nd,nd->n", inside, inside, dtype=np.float64)
        outside = np.sqrt(np.maximum(rest, 0) + _PADDING * square)
        rows.append(np.column_stack([inside, outside.astype(np.float32)]))
        squares.append(square)
    return ShortVectors(np.concatenate(rows), np.concatenate(squares), metric)


def pair_scores(left: NDArray[Any], right: NDArray[Any], metric: Metric) -> NDArray[np.float64]:
    """Return the exact scores (P,) of pairs of raw rows (P, D)."""
    one, other = (prepare_vectors(rows, metric).astype(np.float64) for rows in (left, right))
    if metric == "l2":
        one -= other
        distances: NDArray[np.float64] = -np.sqrt(np.einsum("pd,pd->p", one, one))
        return distances
    products: NDArray[np.float64] = np.einsum("pd,pd->p", one, other)
    return np.clip(products, -1.0, 1.0) if metric == "cosine" else products


def _subspace(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an orthonormal basis (D, m) of the directions in which a prepared sample (S, D) is longest."""
    strengths, directions = np.linalg.eigh((sample @ sample.T).astype(np.float64))
    kept = directions[:, np.argsort(-strengths)[: min(_SUBSPACE, *sample.shape)]]
    basis, _ = np.linalg.qr(sample.T.astype(np.float64) @ kept)
    return basis.astype(np.float32)
