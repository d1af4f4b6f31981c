"""All pairs of rows that are near enough, found without comparing whole vectors of most pairs.

Each vector is split into its part in a subspace of few dimensions and the rest: x = Px + r. By the inequality of
Cauchy and Schwarz, <x, y> <= <Px, Py> + |rx| |ry|, which is the product of the short vectors (Px, |rx|) and
(Py, |ry|). Only pairs whose short vectors reach the score are compared as a whole, so no pair is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ROUNDING, prepare_vectors

_SUBSPACE = 64  # dimensions: bench/search.py, where 32 and 128 took longer
_SAMPLE = 512  # rows that the subspace is fitted to
_BLOCK = 2048  # rows; the products of two blocks take 16 MiB
_PADDING = 1e-6  # of a squared length, for what float32 loses in the rest of a vector

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions i and j of each pair, i < j


@dataclass(frozen=True, slots=True)
class ShortVectors:
    """Short stand-ins for vectors, which tell how near two of them can be at most."""

    rows: NDArray[np.float32]  # (N, m + 1)
    squares: NDArray[np.float64]  # (N,): squared lengths of the whole vectors
    metric: Metric

    def pairs(self, min_score: float, is_cancelled: Callable[[], bool]) -> Iterator[Pairs]:
        """Yield the pairs that may reach a score, block by block; end early if it is cancelled."""
        lengths = np.sqrt(self.squares).astype(np.float32)
        for top in range(0, len(self.rows), _BLOCK):
            for left in range(top, len(self.rows), _BLOCK):
                if is_cancelled():
                    return
                i, j = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
                products = self.rows[i] @ self.rows[j].T
                doubt = 4 * ROUNDING * np.outer(lengths[i], lengths[j])
                if self.metric == "l2":  # |x - y|^2 <= min_score^2
                    least = (self.squares[i, None] + self.squares[None, j] - min_score**2).astype(np.float32) / 2
                    doubt += ROUNDING * (np.abs(least) + np.float32(min_score**2))
                else:
                    least = np.full((1, 1), min_score, np.float32)
                a, b = np.nonzero(products + doubt >= least)
                is_pair = a + top < b + left
                if is_pair.any():
                    yield a[is_pair] + top, b[is_pair] + left


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
