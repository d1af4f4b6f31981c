"""Which of the ranked rows answer a query: limits, the best of each group, and a diverse choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Set

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import exact_scores
from fc7_service.collections.search import DIVERSE_POOL, Search

RankedRows = list[tuple[int, float]]  # rid and score, best first
_RANKED_PER_GROUP = 4  # rows that are ranked at once for each group that is looked for


def choose(ranked: RankedRows, excluded: Set[int], search: Search) -> RankedRows:
    """Return those of the rows, best first, that answer one query; for a diverse choice, those to choose from."""
    lowest = -math.inf if search.min_score is None else search.min_score
    kept = [(rid, score) for rid, score in ranked if rid not in excluded and score >= lowest]
    return kept[:DIVERSE_POOL] if search.diversity else kept[search.offset : search.offset + search.k]


def best_per_group(
    rank: Callable[[int, NDArray[np.bool_]], RankedRows],
    rids: NDArray[np.int64],
    groups: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    search: Search,
) -> RankedRows:
    """Return the best rows of the best groups: the groups by their best row, and the rows of each, best first.

    Each round ranks the rows of the groups that were not found yet. So it finds at least one more, however large the
    groups are that lie near.

    Parameters
    ----------
    rank
        Returns the given number of the best rows that a mask (N,) allows.
    rids, groups
        (N,), sorted by rid: the rows and the number of the group of each, or -1.
    allowed
        (N,): which rows may be answered.
    """
    n_groups, lowest = search.offset + search.k, -math.inf if search.min_score is None else search.min_score
    best: dict[int, RankedRows] = {}
    left = allowed & (groups >= 0)
    while len(best) < n_groups and (ranked := rank(_RANKED_PER_GROUP * (n_groups - len(best)), left)):
        for rid, score in ranked:
            group = int(groups[np.searchsorted(rids, rid)])
            if score >= lowest and (group in best or len(best) < n_groups):
                best.setdefault(group, []).append((rid, score))
        if ranked[-1][1] < lowest:
            break
        left = left & ~np.isin(groups, list(best))
    wanted = list(best.items())[search.offset :]
    for group, rows in wanted:
        if len(rows) < search.group_size:
            ranked = rank(search.group_size, allowed & (groups == group))
            best[group] = [(rid, score) for rid, score in ranked if score >= lowest]
    return [row for group, _ in wanted for row in best[group][: search.group_size]]


def spread(ranked: RankedRows, rows: NDArray[np.float32], search: Search, metric: Metric) -> RankedRows:
    """Return a diverse choice of rows: each is near to the query, and unlike those chosen before it.

    The next row has the largest ``(1 - d) score - d s``, where d is the diversity and s the score of the nearest row
    that was chosen before.

    Parameters
    ----------
    ranked
        The rows to choose from, best first.
    rows
        (N, D), prepared: their vectors.

    References
    ----------
    Carbonell and Goldstein 1998, The use of MMR, diversity-based reranking for reordering documents.
    """
    scores = np.array([score for _, score in ranked])
    nearest = np.full(len(ranked), -np.inf)  # score of the nearest chosen row
    chosen: list[int] = []
    while len(chosen) < min(search.offset + search.k, len(ranked)):
        value = (1 - search.diversity) * scores - (search.diversity * nearest if chosen else 0)
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value)) if chosen else 0)
        nearest = np.maximum(nearest, exact_scores(rows, rows[chosen[-1]], metric))
    return [ranked[i] for i in chosen[search.offset :]]
