"""Pairs of rows that are almost the same picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import row_blocks
from fc7_service.heads.stop_check import StopCheck, never_stop
from fc7_service.heads.unknown_scores import normalised_rows

SIMILAR = 0.95  # cosine of centred features
_PROJECTED = 128  # dimensions of the first, cheap comparison
_MARGIN = 0.04  # that it may be wrong by: the estimate of a cosine of .95 has a standard deviation of .009
_BLOCK = 2048  # rows per product
_MOST_PAIRS = 100_000  # thousands of black frames would make millions


class Pair(NamedTuple):
    """Two rows and their cosine."""

    first: int
    second: int
    similarity: float


def near_duplicates(
    features: NDArray[np.float32], least: float = SIMILAR, check_stop: StopCheck = never_stop
) -> list[Pair]:
    """Return the pairs of rows whose centred features have at least a cosine of ``least``, most similar first.

    A random projection to 128 dimensions leaves few pairs, which are then compared exactly. The search ends after
    100,000 pairs.

    Parameters
    ----------
    features
        float32 (N, D).

    References
    ----------
    Johnson & Lindenstrauss 1984, "Extensions of Lipschitz mappings into a Hilbert space" (random projection).
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    n_rows, dim = features.shape
    if dim > _PROJECTED:
        random = np.random.default_rng(0).standard_normal((dim, _PROJECTED), np.float32)
        z, least_projected = np.empty((n_rows, _PROJECTED), np.float32), least - _MARGIN
        for rows in row_blocks(n_rows):  # a normalised copy of all rows would be as large as the features
            np.matmul(normalised_rows(features[rows], mean), random, out=z[rows])
        z = normalised_rows(z, np.zeros(_PROJECTED, np.float32))
    else:
        z, least_projected = normalised_rows(features, mean), least - 1e-5
    pairs: list[Pair] = []
    for start in range(0, n_rows, _BLOCK):
        check_stop()
        if len(pairs) >= _MOST_PAIRS:
            break
        block = z[start : start + _BLOCK]
        i, j = np.nonzero(block @ z[start:].T >= least_projected)
        first, second = i[i < j] + start, j[i < j] + start
        for part in range(0, len(first), _BLOCK):
            a, b = first[part : part + _BLOCK], second[part : part + _BLOCK]
            similarities = np.einsum("nd,nd->n", *(normalised_rows(features[side], mean) for side in (a, b)))
            is_similar = similarities >= least
            found = zip(a[is_similar].tolist(), b[is_similar].tolist(), similarities[is_similar].tolist(), strict=True)
            pairs += [Pair(*one) for one in found]
    return sorted(pairs, key=lambda pair: -pair.similarity)
