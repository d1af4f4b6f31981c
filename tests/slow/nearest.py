"""Nearest neighbours, slow and obvious: exact search, and the RaBitQ estimate of one bit per dimension.

References
----------
Gao and Long 2024, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound (arXiv 2405.12497),
section 3.1 (the code), 3.2 (the estimate), 3.3.1 (the coarse query), theorem 3.2 (the error). What
follows from it for a search is derived in fc7_service/collections/index_rabitq.py.
"""

from __future__ import annotations

import math

import numpy as np


def exact_score(row, query, metric):
    """Cosine, minus the Euclidean distance, or the inner product, of two raw vectors; larger is nearer."""
    row, query = [float(x) for x in row], [float(x) for x in query]
    dot = sum(a * b for a, b in zip(row, query, strict=True))
    if metric == "dot":
        return dot
    if metric == "l2":
        return -math.sqrt(sum((a - b) ** 2 for a, b in zip(row, query, strict=True)))
    return dot / math.sqrt(sum(a * a for a in row)) / math.sqrt(sum(b * b for b in query))


def exact_search(rows, query, k, metric):
    """Positions and scores of the k nearest rows, best first; equal scores in the order of the rows."""
    scores = [exact_score(row, query, metric) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], i))[:k]
    return order, [scores[i] for i in order]


def rabitq_code(row, centre):
    """The code of a vector: the corner of the cube, scaled to length 1, that lies nearest to its direction."""
    return np.where(row > centre, 1.0, -1.0) / math.sqrt(len(row))


def coarse(values, n_bits):
    """``values`` rounded to 2^n_bits steps between the smallest and the largest; not at all for 0 bits."""
    if n_bits == 0:
        return values
    step = (values.max() - values.min()) / (2**n_bits - 1)
    return values.min() + step * np.round((values - values.min()) / step)


def rabitq_squared_distance(row, query, centre, n_query_bits=0):
    """Estimate |row - query|^2 from the code of ``row``, its distance from ``centre``, and its angle to the code."""
    code, to_row, to_query = rabitq_code(row, centre), row - centre, query - centre
    row_norm, query_norm = np.linalg.norm(to_row), np.linalg.norm(to_query)
    code_and_row = code @ (to_row / row_norm)  # <o_bar, o>
    code_and_query = code @ (coarse(to_query, n_query_bits) / query_norm)  # <o_bar, q>
    cosine = code_and_query / code_and_row  # equation 16: unbiased
    return row_norm**2 + query_norm**2 - 2 * row_norm * query_norm * cosine


def rabitq_cosine_error(row, centre, n_sigmas):
    """How far the estimated cosine may be off; 1.9 sigmas is the paper's choice (theorem 3.2)."""
    to_row = row - centre
    code_and_row = rabitq_code(row, centre) @ (to_row / np.linalg.norm(to_row))
    return math.sqrt((1 - code_and_row**2) / code_and_row**2) * n_sigmas / math.sqrt(len(row) - 1)


def rabitq_estimate_bound(query, centre, r, relative_error, n_query_bits, n_sigmas):
    """Up to which estimate a row may be at most ``r`` away from the query.

    ``relative_error`` is the length of what the code leaves out of a row, as a share of the row's distance from the
    centre: sqrt((1 - a^2) / a^2), with a the angle's cosine between row and code.
    """
    to_query, dim = query - centre, len(query)
    left_out = to_query - coarse(to_query, n_query_bits)
    corner = np.array([math.copysign(1, x) / math.sqrt(dim) if x else 0.0 for x in to_query])
    rounding = abs(sum(a * b for a, b in zip(corner, left_out, strict=True)))
    rounding += n_sigmas * math.sqrt(sum(x * x for x in left_out) / (dim - 1))
    query_norm = math.sqrt(sum(x * x for x in to_query))
    coded_norm = (query_norm + r) * math.sqrt(1 + relative_error**2)  # of what a code at most r away stands for
    return r**2 + 2 * n_sigmas * relative_error * query_norm * r / math.sqrt(dim - 1) + 2 * coded_norm * rounding
