"""Splits and occlusions agree with versions that compute one term and one square at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7_service.bundle.bundle import Layer
from fc7_service.explain.classes import Classes
from fc7_service.explain.contributions import split_linear
from fc7_service.explain.network import Network
from fc7_service.explain.occlusion import OcclusionSweep, read_maps
from fc7_service.explain.prepared_image import PreparedImage
from slow import explanations as slow

SEEDS = st.integers(0, 2**32 - 1)


def make_network(layers: dict[str, tuple[int, ...]], run: Any = None) -> Network:
    """Return what the functions under test use of a network that has no deconvnet."""
    bundle = SimpleNamespace(layers={name: Layer(name, shape) for name, shape in layers.items()})
    nothing = lambda *args: ()  # noqa: E731
    return cast(Network, SimpleNamespace(bundle=bundle, run=run, sums=nothing, reads=nothing, has_deconvnet=False))


def make_image(seed: int, px: int) -> PreparedImage:
    tensor = np.random.default_rng(seed).standard_normal((3, px, px)).astype(np.float32)
    return PreparedImage(np.zeros((px, px, 3), np.uint8), tensor, (0, 0, 1, 1))


@given(SEEDS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_a_cosine_is_split_over_maps_and_positions(seed: int, n_maps: int, height: int, width: int) -> None:
    query, neighbour = np.random.default_rng(seed).random((2, n_maps * height * width)).astype(np.float32) + 0.01
    direction = neighbour / (np.linalg.norm(query.astype(float)) * np.linalg.norm(neighbour.astype(float)))
    network = make_network({"conv5": (n_maps, height, width)})
    found = split_linear(network, "conv5", make_image(0, 4), query, direction)
    terms = slow.split_cosine(query, neighbour)
    by_map, by_position = slow.split_over_maps(terms, (n_maps, height, width))
    assert found.total == pytest.approx(terms.sum(), abs=1e-6)
    np.testing.assert_allclose(found.units, by_map, atol=1e-6)
    assert found.positions is not None
    np.testing.assert_allclose(found.positions, by_position, atol=1e-6)
    assert found.places.tolist() == terms.reshape(n_maps, -1).argmax(axis=1).tolist()


@given(SEEDS, st.integers(1, 20), st.floats(-5, 5))
def test_a_logit_is_split_over_units(seed: int, dim: int, bias: float) -> None:
    feature, mean, weights = np.random.default_rng(seed).standard_normal((3, dim)).astype(np.float32)
    found = split_linear(make_network({"fc7": (dim,)}), "fc7", make_image(0, 4), feature, weights, mean, bias)
    terms = slow.split_logit(feature, mean, weights)
    np.testing.assert_allclose(found.units, terms, atol=1e-6)
    assert found.units_rest == pytest.approx(bias, abs=1e-6)
    assert found.total == pytest.approx(terms.sum() + bias, abs=1e-6)


@settings(max_examples=30)
@given(SEEDS, st.integers(4, 24), st.integers(2, 7), st.data())
def test_a_sweep_covers_one_square_after_another(seed: int, px: int, grid: int, data: st.DataObject) -> None:
    square_px = data.draw(st.integers(1, px))
    matrix = np.random.default_rng(seed).standard_normal((3 * px * px, 3)).astype(np.float32) / px

    def run(outputs: Any, tensors: np.ndarray) -> list[np.ndarray]:
        return [tensors.reshape(len(tensors), -1) @ matrix]

    classes, image = Classes("logits", ("a", "b", "c")), make_image(seed, px)
    sweep = OcclusionSweep(make_network({"logits": (3,)}, run), classes, "b", image, square_px, grid)
    for first in range(0, sweep.n_views, 32):
        sweep.run(first)
    maps = read_maps(sweep).probabilities
    for row in range(grid):
        for column in range(grid):
            covered = slow.occlude(image.tensor, row, column, grid=grid, square_px=square_px)
            wanted = classes.predict(run(None, covered[np.newaxis])[0])[0, 1]
            assert maps[row, column] == pytest.approx(wanted, abs=1e-5)
