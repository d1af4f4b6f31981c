"""The map of a collection: it agrees with a slow twin, and a server answers with it."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fc7
from fc7.cli import main
from fc7_service.collections import tsne_map
from fc7_service.collections.item_map import find_axes
from fc7_service.collections.tsne_map import TsneMaker


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


N_GROUPS, N_EACH = 3, 8
SLOW_SCRIPT = """
import pathlib, sys, time
vectors = sys.stdin.buffer.read()
pathlib.Path({gate!r} + "-reached").touch()
while not pathlib.Path({gate!r}).exists():
    time.sleep(0.01)
sys.stdout.buffer.write(bytes(len(vectors) // (4 * int(sys.argv[1])) * 8))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[fc7.Client]:
    with fc7.connect(data=tmp_path_factory.mktemp("maps"), models=[str(tiny_bundle)]) as opened:
        yield opened


def add_groups(client: fc7.Client, name: str) -> fc7.Collection:
    """Make a collection of three groups of features."""
    rng = np.random.default_rng(1)
    made = client.create_collection(name, layer="fc7", metric="l2")
    centres = 10 * rng.standard_normal((N_GROUPS, made.dim))
    vectors = np.repeat(centres, N_EACH, axis=0) + rng.standard_normal((N_GROUPS * N_EACH, made.dim))
    ids = [f"{i:02}" for i in range(len(vectors))]
    features = fc7.Features(vectors.astype(np.float32), made.provenance, list(range(len(ids))))
    made.add_vectors(features, ids, payloads=[{"group": i // N_EACH} for i in range(len(ids))])
    return made


def test_tsne_places_near_items_near_and_is_kept_until_the_items_change(
    client: fc7.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add_groups(client, "near")
    found = made.map("group", method="tsne")
    assert found.ids == [f"{i:02}" for i in range(N_GROUPS * N_EACH)]
    assert found.shares == ()
    distances = np.linalg.norm(found.positions[:, None] - found.positions, axis=2) + np.diag([np.inf] * len(found.ids))
    assert [found.values[i] for i in distances.argmin(axis=1)] == found.values
    np.testing.assert_allclose(found.positions.mean(axis=0), 0, atol=1e-3)

    with monkeypatch.context() as patched:
        patched.setattr(TsneMaker, "place", lambda *_: pytest.fail("it was made again"))
        made.update({"03": {"group": 7}})
        again = made.map("group", method="tsne")
    np.testing.assert_array_equal(again.positions, found.positions)
    assert again.values[3] == 7

    monkeypatch.setattr(TsneMaker, "place", lambda _, vectors: np.ones((len(vectors), 2), np.float32))
    made.remove(["03"])
    changed = made.map(method="tsne")
    assert changed.ids == [own for own in found.ids if own != "03"]
    assert (changed.positions == 1).all()


def test_a_kept_map_that_is_damaged_is_made_again(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        made = add_groups(client, "c")
        for number in (1.0, 2.0):
            places = np.full((N_GROUPS * N_EACH, 2), number, np.float32)
            monkeypatch.setattr(TsneMaker, "place", lambda *_, places=places: places)
            assert (made.map(method="tsne").positions == number).all()
            (kept,) = tmp_path.rglob(tsne_map.FILE)
            data = bytearray(kept.read_bytes())
            data[len(data) // 2] ^= 1
            kept.write_bytes(data)


def test_the_server_answers_while_a_map_is_made_and_goes_on_for_callers_who_left(
    client: fc7.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, gate = tmp_path / "slow.py", tmp_path / "gate"
    script.write_text(SLOW_SCRIPT.format(gate=str(gate)))
    monkeypatch.setattr(tsne_map, "_SCRIPT", script)
    made = add_groups(client, "slow")
    while not (tmp_path / "gate-reached").exists():
        with pytest.raises(fc7.DeadlineExceeded):
            made.map(method="tsne", timeout_s=0.5)
    assert len(made.map().ids) == N_GROUPS * N_EACH
    monkeypatch.setattr(TsneMaker, "place", lambda *_: pytest.fail("it was begun again"))
    threading.Timer(0.1, gate.touch).start()
    assert not made.map(method="tsne").positions.any()


def test_a_server_that_stops_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_SCRIPT.format(gate=str(tmp_path / "never")))
    monkeypatch.setattr(tsne_map, "_SCRIPT", script)
    maker, errors = TsneMaker(), []

    def place() -> None:
        with pytest.raises(fc7.Unavailable, match="stopping") as caught:
            maker.place(np.zeros((9, 3), np.float32))
        errors.append(caught.value)

    placing = threading.Thread(target=place)
    placing.start()
    while maker._running is None:
        pass
    maker.close()
    placing.join()
    assert errors
    with pytest.raises(fc7.Unavailable, match="stopping"):
        maker.place(np.zeros((9, 3), np.float32))


def test_what_tsne_cannot_do_is_said(client: fc7.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    few = client.create_collection("few", layer="fc7")
    with pytest.raises(fc7.FailedPrecondition, match="has 0 items, but t-SNE needs at least 8"):
        few.map(method="tsne")
    with pytest.raises(fc7.InvalidArgument, match="method must be one of pca, tsne"):
        few.map(method="umap")  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fc7.FailedPrecondition, match=r"Install 'fc7\[map\]' where the server runs") as caught:
        few.map(method="tsne")
    assert caught.value.reason == "LIBRARY_MISSING"
