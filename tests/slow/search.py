"""A search over a dictionary, slow and obvious: every option by its definition.

References
----------
Rocchio 1971, Relevance feedback in information retrieval.
"""

from __future__ import annotations

import math

import numpy as np

from slow import filters
from slow.nearest import exact_score


def similarity(row, query, metric):
    """What the weights of examples multiply: the metric, or minus the squared distance."""
    score = exact_score(row, query, metric)
    return -(score**2) if metric == "l2" else score


def search(items, examples, metric, *, k, offset=0, where=None, min_score=None, excluded=()):
    """Ids of the answer, best first, with the weighted similarity by which each ranks and its score.

    ``items`` is a dictionary, in the order of first insertion, of id -> (vector, payload); ``examples`` is a list of
    (vector, weight).
    """
    ranked = []
    for own, (vector, payload) in items.items():
        if own in excluded or (where is not None and not filters.matches(where, payload)):
            continue
        ranked.append((sum(weight * similarity(vector, one, metric) for one, weight in examples), own))
    ranked.sort(key=lambda pair: -pair[0])
    found = [(own, rank, score_of(items[own][0], examples, metric)) for rank, own in ranked]
    found = [one for one in found if min_score is None or one[2] >= min_score]
    return found[offset : offset + k]


def score_of(row, examples, metric):
    """The score of a row against several examples: that against their weighted sum, or mean."""
    total = [0.0] * len(row)
    for vector, weight in examples:
        length = math.sqrt(sum(float(x) ** 2 for x in vector)) if metric == "cosine" else 1.0
        total = [t + weight * float(x) / length for t, x in zip(total, vector, strict=True)]
    if metric == "l2":
        total = [t / sum(weight for _, weight in examples) for t in total]
    return exact_score(np.array(row, np.float64), total, metric)


def pair_scores(rows, metric):
    """The scores of all pairs of rows, nearest first."""
    pairs = [exact_score(rows[i], rows[j], metric) for i in range(len(rows)) for j in range(i)]
    return sorted(pairs, reverse=True)


def rarity(score, pairs, tolerance=1e-7):
    """The share of pairs that are at least as near; never below one pair."""
    return max(1, sum(pair >= score - tolerance for pair in pairs)) / len(pairs)
