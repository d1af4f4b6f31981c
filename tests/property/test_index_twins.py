"""The indexes against slow versions of the same rules, written after the papers (tests/slow/nearest.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.scoring import prepare_vectors
from slow.nearest import (
    exact_score,
    exact_search,
    rabitq_cosine_error,
    rabitq_estimate_bound,
    rabitq_squared_distance,
)

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


@given(seed=st.integers(0, 2**32 - 1), dim=st.sampled_from([8, 64]), r=st.floats(0, 10))
def test_the_bound_is_the_slow_one(seed, dim, r):
    rows, query = vectors(seed, 50, dim), vectors(seed + 1, 1, dim).astype(np.float32)[0]
    index = RaBitQ(rows, "l2")
    centre = rows.astype(np.float64).mean(axis=0)
    errors = [rabitq_cosine_error(row.astype(np.float64), centre, 1) * np.sqrt(dim - 1) for row in rows]
    assert index._relative_error == pytest.approx(np.quantile(errors, 0.99), rel=1e-3)
    expected = rabitq_estimate_bound(query.astype(np.float64), centre, r, index._relative_error, index._codes.qb, 3)
    float32 = 1e-4 * (np.linalg.norm(query - centre) + r) ** 2  # what FAISS may be off
    assert expected * (1 - 1e-3) <= index._bound(query, -r) <= expected * (1 + 1e-3) + float32


@pytest.mark.parametrize("width", [0.01, 0.1, 1.0])  # of a crowd, in units of its distance from the others
def test_the_estimates_of_an_answer_stay_below_the_bound(width):
    dim, rng = 128, np.random.default_rng(0)
    others = vectors(1, 300, dim).astype(np.float64)
    crowd = others[0] + width * rng.normal(size=(300, dim))
    centre = np.concatenate([others, crowd]).mean(axis=0)
    n_above = 0
    for query in crowd[:10]:
        nearest = crowd[np.argsort(np.linalg.norm(crowd - query, axis=1))[:10]]
        r = np.linalg.norm(nearest[-1] - query)
        for row in nearest:
            error = rabitq_cosine_error(row, centre, 1) * np.sqrt(dim - 1)
            bound = rabitq_estimate_bound(query, centre, r, error, 8, 3)
            n_above += rabitq_squared_distance(row, query, centre, 8) > bound
    assert n_above == 0


def test_the_answer_is_the_best_of_all_rows_within_the_bound():
    """Of a crowd too large for the first pass and small enough for a second; FAISS must be on its way through codes."""
    rows = vectors(0, 3000, 64)
    rows[:300] = rows[0] + 0.05 * np.random.default_rng(2).normal(size=(300, 64))
    index, query = RaBitQ(rows, "l2"), rows[:1].astype(np.float32)
    ((positions, scores),) = index.search(prepare_vectors(query, "l2"), 5, np.ones(len(rows), bool))
    exact, exact_query = rows.astype(np.float64), query[0].astype(np.float64)
    centre = exact.mean(axis=0)
    estimates = np.array([rabitq_squared_distance(row, exact_query, centre, index._codes.qb) for row in exact])
    r = np.sort(np.linalg.norm(exact - exact_query, axis=1))[4]
    bound = rabitq_estimate_bound(exact_query, centre, r, index._relative_error, index._codes.qb, 3)
    within = np.flatnonzero(estimates <= bound)
    assert 100 < len(within) < 750
    expected, _ = exact_search(rows[within], query[0], 5, "l2")
    assert positions[np.lexsort((positions, -scores))[:5]].tolist() == within[expected].tolist()
    for position, score in zip(positions, scores, strict=True):
        assert score == pytest.approx(exact_score(rows[position], query[0], "l2"), rel=1e-5)
