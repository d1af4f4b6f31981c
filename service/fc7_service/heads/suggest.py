"""Which pictures to label next."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.near_duplicates import SIMILAR

Strategy = Literal["margin", "typical", "diverse"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
FEW_LABELS = 10  # per class on average: below, typical pictures are suggested by default; bench/active.py
_RANDOM_SHARE = 0.1  # of a batch: an unbiased test set grows beside what the strategy picks
_ROUNDS = 10  # of k-means
_NEIGHBOURS = 20  # by whose mean distance a picture is typical
_MOST_CLUSTERS = 500


class Suggestion(NamedTuple):
    """A row to label, and why."""

    row: int
    reason: str  # the strategy, or "random"


def suggest(
    features: NDArray[np.float32],
    is_labelled: NDArray[np.bool_],
    probabilities: NDArray[np.float32] | None,
    n: int,
    strategy: Strategy,
    seed: int = 0,
) -> list[Suggestion]:
    """Return up to ``n`` unlabelled rows, most useful first; a tenth of them are drawn at random and come last.

    No two of them are almost the same picture, so there may be fewer than ``n``.

    Parameters
    ----------
    features
        float32 (N, D), labelled and unlabelled rows.
    is_labelled
        (N,).
    probabilities
        float32 (N, C) by a head, for "margin".
    n
        At least 1.
    strategy
        "margin": the two most probable classes are closest (Scheffer et al. 2001). "typical": the middle of the
        largest groups in which nothing is labelled yet (Hacohen et al. 2022, arXiv 2202.02794, section 3.2).
        "diverse": farthest from all that is labelled (Sener & Savarese 2018, arXiv 1708.00489, algorithm 1).
    seed
        Of the random choices.
    """
    random = np.random.default_rng(seed)
    x = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    np.divide(x, lengths, out=x, where=lengths > 0)
    batch = _Batch(x, is_labelled)
    n_random = round(n * _RANDOM_SHARE)
    if strategy == "margin":
        assert probabilities is not None
        best = np.sort(probabilities, axis=1)
        batch.take(np.argsort(best[:, -1] - best[:, -2], kind="stable"), n - n_random, strategy)
    elif strategy == "typical":
        batch.take(_typical_first(x, is_labelled, n, random), n - n_random, strategy)
    else:
        batch.take_farthest(n - n_random)
    batch.take(random.permutation(len(x)), n_random, "random")
    return batch.picked


class _Batch:
    """The rows picked so far."""

    def __init__(self, x: NDArray[np.float32], is_labelled: NDArray[np.bool_]) -> None:
        self._x, self.picked = x, list[Suggestion]()
        self._is_free = ~is_labelled  # neither labelled, nor picked, nor almost the same as a picked one
        # The cosine of each row to the nearest labelled or picked one.
        self._nearest = np.full(len(x), -1.0, np.float32)
        for start in range(0, len(labelled := np.flatnonzero(is_labelled)), 1024):
            np.maximum(self._nearest, (x @ x[labelled[start : start + 1024]].T).max(axis=1), out=self._nearest)

    def take(self, order: NDArray[np.intp], n: int, reason: str) -> None:
        """Pick the first ``n`` rows of an order that are not almost the same as another."""
        for row in order.tolist():
            if n == 0:
                return
            if self._is_free[row]:
                self._pick(row, reason)
                n -= 1

    def take_farthest(self, n: int) -> None:
        """Pick ``n`` rows, each the farthest from all before."""
        for _ in range(n):
            row = int(np.where(self._is_free, self._nearest, np.inf).argmin())
            if not self._is_free[row]:
                return
            self._pick(row, "diverse")

    def _pick(self, row: int, reason: str) -> None:
        self.picked.append(Suggestion(row, reason))
        similar = self._x @ self._x[row]
        np.maximum(self._nearest, similar, out=self._nearest)
        self._is_free &= similar < SIMILAR
        self._is_free[row] = False


def _typical_first(
    x: NDArray[np.float32], is_labelled: NDArray[np.bool_], n: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Return the unlabelled rows: first the densest of each cluster without a label, largest cluster first."""
    n_clusters = min(int(is_labelled.sum()) + n, _MOST_CLUSTERS, len(x))
    clusters = _k_means(x, n_clusters, random)
    sizes = np.bincount(clusters, minlength=n_clusters)
    n_labels = np.bincount(clusters[is_labelled], minlength=n_clusters)
    density = np.zeros(len(x), np.float32)
    for cluster in range(n_clusters):
        rows = np.flatnonzero(clusters == cluster)
        if not len(rows):
            continue
        similar = x[rows] @ x[rows].T
        k = min(_NEIGHBOURS + 1, len(rows))
        density[rows] = np.partition(similar, len(rows) - k, axis=1)[:, len(rows) - k :].mean(axis=1)
    # The best row of each cluster, then the second of each, and so on.
    order = np.lexsort((-density, clusters))
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(x), np.int64)
    rank[order] = np.arange(len(x)) - starts[clusters[order]]
    return np.lexsort((-sizes[clusters], n_labels[clusters], rank))


def _k_means(x: NDArray[np.float32], n_clusters: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the cluster of each row, all of length 1, by cosine (Dhillon & Modha 2001, "spherical k-means")."""
    centres = x[random.choice(len(x), n_clusters, replace=False)]
    clusters = np.zeros(len(x), np.int64)
    for _ in range(_ROUNDS):
        clusters = (x @ centres.T).argmax(axis=1)
        order = np.argsort(clusters, kind="stable")
        used, starts = np.unique(clusters[order], return_index=True)
        sums = np.add.reduceat(x[order], starts, axis=0)  # of each cluster that has rows
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[used] = sums / np.maximum(lengths, 1e-12)
    return clusters
