"""Every index on data as collections hold it: bursts of one scene, copies, clusters, deleted rows, many queries."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest

from fc7_service.collections import index_rabitq
from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import prepare_vectors

METRICS = get_args(Metric)
N, DIM, K, RECALL = 30_000, 256, 10, 0.98
CROWDS = {"burst": (27_000, 27_300), "long burst": (27_300, 29_300), "copies": (29_300, N)}  # where their rows are


@cache
def rows():
    """Features like fc7 (N, DIM) float16: clusters, then two bursts of cosine about 0.99, then exact copies."""
    rng = np.random.default_rng(0)
    clusters = rng.normal(size=(400, 64)) * np.arange(1, 65) ** -0.5
    z = clusters[rng.integers(0, 400, N)] + 0.5 * rng.normal(size=(N, 64)) * np.arange(1, 65) ** -0.5
    made = np.maximum(z @ rng.normal(size=(64, DIM)) / 4 - 0.2, 0)
    for name, (start, end) in CROWDS.items():
        noise = rng.normal(size=(end - start, DIM)) * np.linalg.norm(made[start]) * 0.1 / np.sqrt(DIM)
        made[start:end] = made[start] if name == "copies" else np.abs(made[start] + noise)
    return made.astype(np.float16)


@cache
def index(kind, metric):
    return kind(rows(), metric)


def queries(name, n=30):
    rng = np.random.default_rng(1)
    if name == "new":
        return (rows()[rng.integers(0, 27_000, n)] + rng.normal(size=(n, DIM)) * 0.1).astype(np.float32)
    start, end = CROWDS.get(name, (0, 27_000))
    return rows()[rng.integers(start, end, n)].astype(np.float32)


@cache
def prepared_rows(metric):
    return prepare_vectors(rows(), metric).astype(float)


@cache
def true_scores(asked, metric):
    """Scores (Q, N) in float64."""
    wide, asked = prepared_rows(metric), prepare_vectors(queries(asked), metric).astype(float)
    scores = asked @ wide.T
    if metric == "l2":
        squares = (asked**2).sum(1)[:, None] - 2 * scores + (wide**2).sum(1)
        scores = -np.sqrt(np.maximum(squares, 0))
    return scores


def recall(found, true):
    """Share of the K hits that are as near as the true K-th: of rows that tie, any will do."""
    worst = np.sort(true, axis=1)[:, -K]
    tolerance = 1e-6 * np.abs(worst) + 1e-6
    hits = [np.sort(scores)[::-1][:K] >= limit for (_, scores), limit in zip(found, worst - tolerance, strict=True)]
    return np.mean(hits)


@pytest.mark.parametrize("share_dead", [0, 0.3])
@pytest.mark.parametrize("asked", ["new", "clusters", *CROWDS])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", [Exact, RaBitQ])
def test_recall(kind, metric, asked, share_dead):
    alive = np.random.default_rng(2).random(N) >= share_dead
    true = np.where(alive, true_scores(asked, metric), -np.inf)
    prepared = prepare_vectors(queries(asked), metric)
    mask = alive if share_dead else None
    one_by_one = [index(kind, metric).search(query[None], K, mask)[0] for query in prepared]
    for found in (one_by_one, index(kind, metric).search(prepared, K, mask)):
        assert recall(found, true) >= RECALL
        assert all(alive[positions].all() for positions, _ in found)


@pytest.mark.parametrize("asked", ["clusters", *CROWDS])
@pytest.mark.parametrize("metric", ["cosine", "l2"])  # the product with a longer row is larger than with itself
@pytest.mark.parametrize("kind", [Exact, RaBitQ])
def test_a_stored_vector_finds_itself_first(kind, metric, asked):
    start, end = CROWDS.get(asked, (0, 27_000))
    for own in np.random.default_rng(3).integers(start, end, 60).tolist():
        query = prepare_vectors(rows()[own : own + 1], metric)
        ((positions, scores),) = index(kind, metric).search(query, K, None)
        first = positions[np.lexsort((positions, -scores))[0]]
        assert np.array_equal(rows()[first], rows()[own])
        assert first <= own  # of copies, the first that was stored


def test_where_too_many_may_belong_all_are_compared_once(monkeypatch):
    """A collection that is one single crowd: the codes cannot tell its rows apart."""
    rng = np.random.default_rng(4)
    crowd = np.abs(rng.normal(size=DIM) + 0.02 * rng.normal(size=(5000, DIM))).astype(np.float16)
    codes, n_scans = RaBitQ(crowd, "l2"), []
    scan = index_rabitq.scan
    monkeypatch.setattr(index_rabitq, "scan", lambda *given: n_scans.append(given) or scan(*given))
    asked = prepare_vectors(np.abs(rng.normal(size=(20, DIM))), "l2")
    asked[:12] = prepare_vectors(crowd[:1], "l2") + 0.2 * rng.normal(size=(12, DIM))
    exact = Exact(crowd, "l2").search(asked, K, None)
    for found, true in zip(codes.search(asked, K, None), exact, strict=True):
        assert np.sort(found[1])[-K:].tolist() == np.sort(true[1])[-K:].tolist()
    assert len(n_scans) == 1
