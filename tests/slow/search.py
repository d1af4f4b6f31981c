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


def best_per_group(found, items, field, *, k, offset=0, size=1):
    """Of what ``search`` found, the first ``size`` of each of k groups, the groups in the order of their first."""
    groups = {}
    for one in found:
        value = items[one[0]][1].get(field)
        if isinstance(value, str | int | float | bool):
            groups.setdefault((type(value) is bool, value), []).append(one)
    return [one for members in list(groups.values())[offset : offset + k] for one in members[:size]]


def spread(found, items, diversity, metric, *, k):
    """Maximal marginal relevance (Carbonell and Goldstein 1998) over what ``search`` found: ids in the order chosen."""
    left, chosen = list(found), []
    while left and len(chosen) < k:

        def value(one):
            likeness = max((exact_score(items[one[0]][0], items[own][0], metric) for own in chosen), default=0)
            return (1 - diversity) * one[2] - diversity * likeness

        best = left[0] if not chosen else max(left, key=value)
        left.remove(best)
        chosen.append(best[0])
    return chosen


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
