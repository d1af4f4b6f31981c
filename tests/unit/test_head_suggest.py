"""Which rows are suggested for labelling: the rules of each strategy, and what none of them may do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.near_duplicates import SIMILAR
from fc7_service.heads.suggest import STRATEGIES, Strategy, suggest
from labelled import make_labelled


def centred(features: np.ndarray) -> np.ndarray:
    x = features - features.mean(axis=0)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(STRATEGIES), st.integers(1, 40), st.floats(0, 1))
def test_no_batch_repeats_a_picture(seed: int, strategy: Strategy, n: int, share: float) -> None:
    random = np.random.default_rng(seed)
    features = random.standard_normal((40, 12)).astype(np.float32)
    features[20:30] = features[:10] + 0.01 * random.standard_normal((10, 12)).astype(np.float32)
    is_labelled = random.random(40) < share
    probabilities = softmax(random.standard_normal((40, 4)).astype(np.float32))
    picked = suggest(features, is_labelled, probabilities, n, strategy, seed)
    rows = [one.row for one in picked]
    assert len(set(rows)) == len(rows) <= n
    assert not is_labelled[rows].any()
    similar = centred(features.astype(np.float64))
    cosines = similar[rows] @ similar[rows].T
    np.fill_diagonal(cosines, -1)
    assert not rows or cosines.max() < SIMILAR + 1e-4


def test_a_tenth_is_drawn_at_random_and_comes_last() -> None:
    data = make_labelled(40, 5, 24, noise=2.0)
    probabilities = softmax(np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32))
    picked = suggest(data.features, np.zeros(200, bool), probabilities, 20, "margin")
    assert [one.reason for one in picked] == ["margin"] * 18 + ["random"] * 2
    other = suggest(data.features, np.zeros(200, bool), probabilities, 20, "margin", seed=1)
    assert [one.row for one in picked[:18]] == [one.row for one in other[:18]]
    assert {one.row for one in picked[18:]} != {one.row for one in other[18:]}


def test_the_smallest_margin_comes_first() -> None:
    features = np.eye(6, dtype=np.float32)
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.7, 0.3], [0.5, 0.5], [0.8, 0.2], [0.6, 0.4]], np.float32)
    picked = suggest(features, np.array([0, 0, 0, 1, 0, 0], bool), probabilities, 3, "margin")
    assert [one.row for one in picked] == [1, 5, 2]


def test_the_farthest_comes_first() -> None:
    features = np.array([[1, 0], [1, 0.1], [0, 1], [-1, 0.2], [-1, -1]], np.float32) * 10
    is_labelled = np.array([1, 0, 0, 0, 0], bool)
    picked = suggest(features, is_labelled, None, 1, "diverse")
    x = centred(features)
    assert picked[0].row == int(np.argmin(np.where(is_labelled, 9, x @ x[0])))


@pytest.mark.parametrize("strategy", ["typical", "diverse"])
def test_clear_groups_are_each_seen_before_any_is_seen_often(strategy: Strategy) -> None:
    data = make_labelled(30, 6, 32, noise=0.3)
    picked = suggest(data.features, np.zeros(180, bool), None, 6, strategy)
    by_strategy = [data.labels[one.row] for one in picked if one.reason == strategy]
    assert len(set(by_strategy)) >= 5


def test_labelled_groups_are_passed_over() -> None:
    data = make_labelled(30, 4, 32, noise=0.2)
    is_labelled = np.array([label in ("c000", "c001") for label in data.labels]) & (np.arange(120) < 100)
    picked = suggest(data.features, is_labelled, None, 5, "typical")
    assert {data.labels[one.row] for one in picked if one.reason == "typical"} <= {"c002", "c003"}


def test_equal_rows_are_no_trouble() -> None:
    for strategy in STRATEGIES:
        found = suggest(np.ones((5, 3), np.float32), np.zeros(5, bool), np.full((5, 2), 0.5, np.float32), 9, strategy)
        assert {one.row for one in found} <= set(range(5))
