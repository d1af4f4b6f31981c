"""The map of a collection: it agrees with a slow twin, and a server answers with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fc7
from fc7.cli import main
from fc7_service.collections.item_map import find_axes


def slow_axes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes and shares from the whole covariance matrix, as Pearson has them."""
    values, axes = np.linalg.eigh(np.cov(vectors.astype(np.float64), rowvar=False))
    best = axes[:, ::-1][:, :2].T
    return best * np.sign(best[range(2), np.abs(best).argmax(axis=1)])[:, None], values[::-1][:2] / values.sum()


def test_axes_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((300, 12)) * np.linspace(5, 1, 12) + 3).astype(np.float32)
    mean, axes, shares = find_axes(vectors)
    expected, expected_shares = slow_axes(vectors)
    np.testing.assert_allclose(mean, vectors.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(axes, expected, atol=2e-3)
    np.testing.assert_allclose(shares, expected_shares, rtol=1e-4)


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_few_items_have_a_map_too(n_rows: int) -> None:
    _, axes, shares = find_axes(np.ones((n_rows, 5), np.float32))
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-6)
    assert shares == (0, 0)


def test_map_of_a_collection(tmp_path: Path, tiny_bundle: Path) -> None:
    images = [np.full((20, 20, 3), shade, np.uint8) for shade in (0, 60, 120, 180, 240)]
    payloads = [{"kind": "dark"}, {"kind": "dark"}, {"kind": 7}, {"kind": ["list"]}, {}]
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        shades = client.create_collection("shades", layer="fc7", metric="l2")
        assert shades.map().ids == []
        shades.add(images, ids=list("abcde"), payloads=payloads)
        found = shades.map("kind")
        features = np.stack([item.feature for item in shades.items(with_features=True)])
        result = CliRunner().invoke(
            main, ["collection", "map", "shades", "--field", "kind", "--json"], env={"FC7_DATA": str(tmp_path / "data")}
        )
    assert found.ids == list("abcde")
    assert found.values == ["dark", "dark", 7, None, None]
    axes, _ = slow_axes(features)
    np.testing.assert_allclose(found.positions, (features - features.mean(axis=0)) @ axes.T, atol=1e-2)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["id"] for line in lines] == found.ids
    assert [line["value"] for line in lines] == found.values
    np.testing.assert_allclose([[line["x"], line["y"]] for line in lines], found.positions)
    assert result.stderr.startswith("the two directions hold ")
