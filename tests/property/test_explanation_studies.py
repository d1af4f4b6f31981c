"""Occlusion maps, correspondence scores, and deletion and insertion curves agree with their slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fc7_models.studies import correspondence, saliency, saliency_check
from slow import explanation_studies as slow

SEEDS = st.integers(0, 2**32 - 1)
PX = 16


class ToyNetwork(saliency.ExplainedNetwork):
    """A network of two classes: the logistic function of a weighted sum of the pixels."""

    def __init__(self, seed: int) -> None:
        self.weights = np.random.default_rng(seed).standard_normal((3, PX, PX)) / PX

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        one = 1 / (1 + np.exp(-(inputs * self.weights).sum(axis=(1, 2, 3))))
        return np.stack([one, 1 - one], axis=1).astype(np.float32)

    def predict(self, picture: np.ndarray) -> float:
        return float(1 / (1 + np.exp(-(picture * self.weights).sum())))


def picture(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((3, PX, PX)).astype(np.float32)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_occlusion_maps(seed: int) -> None:
    network, x = ToyNetwork(seed), picture(seed + 1)
    drops = slow.occlusion_grid(network.predict, x, 8)
    values = network._occlusion_map(x, 0)
    np.testing.assert_allclose(values, saliency._enlarge(drops.astype(np.float32), PX), atol=1e-5)
    assert np.abs(drops).max() > 1e-3


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, n_pictures=st.integers(2, 5), units=st.integers(1, 30))
def test_correspondence_scores(seed: int, n_pictures: int, units: int) -> None:
    changes = np.random.default_rng(seed).integers(-1, 2, (n_pictures, units))
    scores = correspondence._compare([change[np.newaxis].astype(np.int8) for change in changes])
    mean, deviation = slow.correspondence(list(changes))
    assert scores[0].mean() == pytest.approx(mean)
    assert scores[0].std() == pytest.approx(deviation, abs=1e-12)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_deletion_and_insertion_scores(seed: int) -> None:
    network, x, blurred = ToyNetwork(seed), picture(seed + 1), picture(seed + 2) / 4
    ranking = np.random.default_rng(seed).permutation(PX * PX).reshape(PX, PX).astype(np.float32)  # without ties
    score = saliency_check._score("toy", saliency_check._curves(network, x, blurred, 0, ranking)[np.newaxis])
    wanted = slow.deletion_and_insertion(network.predict, x, blurred, ranking, saliency_check.STEPS)
    assert (score.deletion, score.insertion) == pytest.approx(wanted, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, noise=st.floats(0, 2))
def test_structural_similarity(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random((12, 10)).astype(np.float32)
    b = np.abs(a + noise * rng.standard_normal(a.shape)).astype(np.float32)
    assert saliency_check.structural_similarity(a, b) == pytest.approx(
        slow.structural_similarity(a / a.max(), b / b.max()), abs=1e-5
    )
