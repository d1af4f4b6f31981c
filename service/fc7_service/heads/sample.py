"""A stratified sample of items, from which the number of items of a class can be estimated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Probabilities of a class at which strata begin. A sample costs least where the head is unsure.
_BOUNDS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_LEAST_SHARE = 0.05  # of the items drawn, per stratum: what the head is sure of is checked too


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items with a similar probability of a class."""

    low: float
    high: float
    count: int
    expected: float  # sum of the probabilities
    drawn: NDArray[np.intp]  # positions of the items drawn


def draw_sample(ids: Sequence[str], probabilities: NDArray[np.float64], n: int) -> list[Stratum]:
    """Divide items into strata and draw about ``n`` of them; the same items always give the same sample.

    Each stratum gets a share of the sample by its size times the standard deviation of its answers, if the
    probabilities hold, and at least 5 %.

    Parameters
    ----------
    ids
        Ids of the N items.
    probabilities
        (N,): of the class, by a head.
    n
        Number of items to draw; if there are fewer, all are drawn.

    References
    ----------
    Neyman 1934, "On the two different aspects of the representative method", section III.3 (the allocation); Bennett &
    Carvalho 2010, "Online stratified sampling", section 3 (strata by the score of a classifier).
    """
    numbers = np.searchsorted(_BOUNDS, probabilities, side="right") - 1
    strata = [rows for rows in (np.flatnonzero(numbers == i) for i in range(len(_BOUNDS))) if len(rows)]
    means = [float(probabilities[rows].mean()) for rows in strata]
    spread = np.array([len(r) * np.sqrt(m * (1 - m)) for r, m in zip(strata, means, strict=True)])
    shares = np.maximum(spread / max(spread.sum(), 1e-12), _LEAST_SHARE)
    sizes = _allocate(n * shares / shares.sum(), np.array([len(rows) for rows in strata]))
    return [
        Stratum(
            low=float(probabilities[rows].min()),
            high=float(probabilities[rows].max()),
            count=len(rows),
            expected=float(probabilities[rows].sum()),
            drawn=rows[np.argsort([_place(ids[row]) for row in rows.tolist()], kind="stable")[:size]],
        )
        for rows, size in zip(strata, sizes.tolist(), strict=True)
    ]


def _allocate(wanted: NDArray[np.float64], available: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many to draw from each stratum; what a small one cannot give, the others do."""
    sizes = np.zeros(len(wanted), np.int64)
    total = min(round(wanted.sum()), int(available.sum()))
    while sizes.sum() < total:
        is_free = sizes < available
        rest = total - sizes.sum()
        weights = np.where(is_free, wanted, 0)
        step = np.maximum(np.floor(rest * weights / weights.sum()), is_free & (weights == weights.max()))
        sizes = np.minimum(sizes + step.astype(np.int64), available)
    return sizes


def _place(id: str) -> bytes:
    """Return where an item stands in a random order that is always the same."""
    return hashlib.sha256(b"fc7 sample\0" + id.encode()).digest()[:8]
