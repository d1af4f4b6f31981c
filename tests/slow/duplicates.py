"""Groups of near vectors, by comparing every pair: what `collections/duplicates.py` must find."""

from __future__ import annotations

import numpy as np


def score(one, other, metric):
    one, other = one.astype(np.float64), other.astype(np.float64)
    if metric == "l2":
        return -float(np.sqrt(((one - other) ** 2).sum()))
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def groups(vectors, min_score, metric):
    """Return lists of positions. In order, each vector without a group begins one; the nearest others join first,
    if they are near to all that have joined; equal vectors join together."""
    n = len(vectors)
    scores = [[score(vectors[i], vectors[j], metric) for j in range(n)] for i in range(n)]
    same = [[j for j in range(n) if np.array_equal(vectors[i], vectors[j])] for i in range(n)]
    taken, found = set(), []
    for first in range(n):
        if first in taken:
            continue
        group = list(same[first])
        rest = [j for j in range(n) if scores[first][j] >= min_score and same[j][0] == j and j not in group]
        for other in sorted(rest, key=lambda j: (-scores[first][j], j)):
            if other not in taken and all(scores[other][member] >= min_score for member in group):
                group += same[other]
        if len(group) > 1:
            taken.update(group)
            found.append(sorted(group))
    return found
