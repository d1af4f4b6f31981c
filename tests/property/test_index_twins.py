"""The indexes against slow versions of the same rules, written after the papers (tests/slow/nearest.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.scoring import prepare_vectors
from slow.nearest import exact_score, exact_search, rabitq_cosine_error, rabitq_squared_distance

METRICS = ["cosine", "l2", "dot"]


def vectors(seed, n, dim):
    """Like features: many of one sign, around a mean that is not 0."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, dim)) + rng.normal(size=dim)).astype(np.float16)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(1, 40),
    n_queries=st.sampled_from([1, 5]),  # fewer than four go through FAISS, more through one matrix product
    k=st.integers(1, 50),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from([Exact, RaBitQ]),
)
def test_an_index_finds_what_comparing_every_row_finds(seed, n_rows, n_queries, k, metric, kind):
    rows, queries = vectors(seed, n_rows, 6), vectors(seed + 1, n_queries, 6).astype(np.float32)
    answers = kind(rows, metric).search(prepare_vectors(queries, metric), k, np.ones(n_rows, bool))
    for query, (positions, scores) in zip(queries, answers, strict=True):
        order = np.lexsort((positions, -scores))[:k]
        expected, expected_scores = exact_search(rows, query, k, metric)
        np.testing.assert_allclose(scores[order], expected_scores, rtol=1e-5, atol=1e-6)
        for found, wanted in zip(positions[order], expected, strict=True):
            if found != wanted:  # only where float32 cannot tell the two apart
                pair = [exact_score(rows[i], query, metric) for i in (found, wanted)]
                assert pair[0] == pytest.approx(pair[1], rel=1e-5, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), dim=st.sampled_from([8, 24, 100]), metric=st.sampled_from(["l2", "cosine"]))
def test_the_codes_estimate_what_the_paper_says(seed, dim, metric):
    rows, queries = vectors(seed, 30, dim), vectors(seed + 1, 3, dim)
    codes = RaBitQ(rows, metric)._codes
    prepared, prepared_queries = prepare_vectors(rows, metric), prepare_vectors(queries, metric)
    centre = prepared.astype(np.float64).mean(axis=0)
    estimates, positions = codes.search(prepared_queries, len(rows))
    for query, found, order in zip(prepared_queries.astype(np.float64), estimates, positions, strict=True):
        expected = [rabitq_squared_distance(prepared[i].astype(np.float64), query, centre, codes.qb) for i in order]
        expected = np.maximum(expected, 0)  # as FAISS does: a squared distance is not negative
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.max(np.abs(expected)))


@pytest.mark.parametrize("dim", [64, 256])
def test_the_estimate_is_as_near_as_the_paper_promises(dim):
    rows, queries = vectors(0, 400, dim).astype(np.float64), vectors(1, 20, dim).astype(np.float64)
    centre = rows.mean(axis=0)
    errors = []  # in units of the bound of one sigma
    for row in rows:
        bound = rabitq_cosine_error(row, centre, 1)
        row_norm = np.linalg.norm(row - centre)
        for query in queries:
            scale = 2 * row_norm * np.linalg.norm(query - centre)
            error = rabitq_squared_distance(row, query, centre) - np.sum((row - query) ** 2)
            errors.append(error / scale / bound)
    errors = np.array(errors)
    assert abs(errors.mean()) < 0.1  # unbiased
    assert np.mean(np.abs(errors) > 1.9) < 0.1  # a normal distribution: 0.057
    assert np.abs(errors).max() < 6


def test_the_candidates_are_those_of_the_smallest_estimates():
    """Above the size at which all rows are compared; FAISS must be on its way through the codes."""
    rows, query = vectors(0, 3000, 32), vectors(1, 1, 32)
    index = RaBitQ(rows, "l2")
    ((positions, scores),) = index.search(prepare_vectors(query, "l2"), 5, np.ones(len(rows), bool))
    assert len(positions) == 100
    exact, exact_query = rows.astype(np.float64), query[0].astype(np.float64)
    centre = exact.mean(axis=0)
    estimates = np.array([rabitq_squared_distance(row, exact_query, centre, index._codes.qb) for row in exact])
    limit = np.sort(estimates)[99]
    assert np.all(estimates[positions] <= limit * (1 + 1e-3))
    assert set(np.flatnonzero(estimates < limit * (1 - 1e-3))) <= set(positions.tolist())
    for position, score in zip(positions, scores, strict=True):
        assert score == pytest.approx(exact_score(rows[position], query[0], "l2"), rel=1e-5)
