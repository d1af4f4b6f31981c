"""A layer with a recipe of its own: larger pictures through the same graph, never mixed with the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import fc7
from fc7.cli import main
from fc7.errors import DataLoss
from fc7_service.bundle.bundle import Bundle, Layer
from fc7_service.bundle.folder import FORMAT, open_bundle, write_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features.batcher import Batcher, ComputedFeature, Request
from fc7_service.features.extractor import Extractor
from fc7_service.features.preprocess import preprocess_pixels
from fc7_service.features.session import Session
from fc7_service.served.table import ModelTable
from tiny import PX, RECIPE

WIDE = replace(RECIPE, resize_px=3 * PX, crop_px=2 * PX)
TRANSFORM = "mean,halved"
LAYERS = [Layer("conv5", (4, PX // 2, PX // 2)), Layer("pooled", (4,), TRANSFORM, WIDE), Layer("logits", (3,))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("layer-recipe") / "two-sizes").path


@pytest.fixture
async def extractor(folder: Path) -> AsyncIterator[Extractor]:
    made = Extractor(ModelTable([open_bundle(folder)]), device="cpu", threads=2)
    yield made
    made.close()


def make_bundle(path: Path) -> Bundle:
    """Write a bundle whose layer "pooled" sees pictures of twice the size."""
    path.mkdir()
    model = two_sizes()
    (path / "model.onnx").write_bytes(model.SerializeToString())
    (path / "labels.tsv").write_text("a\ta\nb\tb\nc\tc\n")
    (path / "card.md").write_text("# two sizes\n")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, PX, PX, 3), dtype=np.uint8)
    wide = rng.integers(0, 256, (2, 3 * PX, 3 * PX, 3), dtype=np.uint8)
    inputs = np.stack([preprocess_pixels(p, RECIPE) for p in pixels])
    run = onnx.reference.ReferenceEvaluator(model).run
    conv5, logits = run(["conv5", "logits"], {"image": inputs})
    (pooled,) = run(["pooled"], {"image": np.stack([preprocess_pixels(p, WIDE) for p in wide])})
    arrays = {"pixels/pooled": wide, "conv5": conv5.reshape(2, -1), "pooled": pooled, "logits": logits}
    np.savez(path / "golden.npz", pixels=pixels, inputs=inputs, **arrays)
    return write_bundle(
        path, name="two-sizes", network="none", layers=LAYERS, recipe=RECIPE, versions={}, default_layer="pooled"
    )


def two_sizes() -> onnx.ModelProto:
    """Return a graph that takes pictures of any size."""
    rng = np.random.default_rng(1)
    arrays = {"w": rng.standard_normal((4, 3, 3, 3)), "v": rng.standard_normal((4, 3)), "half": np.array([0.5])}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["conv5"]),
        helper.make_node("GlobalAveragePool", ["conv5"], ["p"]),
        helper.make_node("Flatten", ["p"], ["mean"]),
        helper.make_node("Mul", ["mean", "half"], ["pooled"]),
        helper.make_node("Gemm", ["mean", "v"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two-sizes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, None) for layer in LAYERS],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_the_manifest_keeps_recipe_and_transform_and_older_readers_refuse_it(folder: Path, tiny_bundle: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.layers["pooled"] == LAYERS[1]
    assert [bundle.recipe_of(layer) for layer in bundle.layers] == [RECIPE, WIDE, RECIPE]
    assert bundle.provenance("").recipe_sha256 == WIDE.digest()
    assert bundle.provenance("").transform == TRANSFORM
    assert bundle.provenance("conv5").recipe_sha256 == RECIPE.digest()
    assert json.loads((folder / "manifest.json").read_text())["format"] == FORMAT == 2
    assert json.loads((tiny_bundle / "manifest.json").read_text())["format"] == 1


@pytest.mark.parametrize("change", [{"recipe": {"version": 1}}, {"recipe": None}, {"recipe": "64"}])
def test_a_malformed_recipe_of_a_layer_is_damage(folder: Path, tmp_path: Path, change: dict[str, object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["layers"]["pooled"] |= change
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataLoss, match="malformed"):
        open_bundle(tmp_path)


async def test_every_layer_meets_its_golden_vectors_at_its_own_size(extractor: Extractor) -> None:
    await extractor.warm_up()
    golden = read_golden(extractor.models.bundle(""))
    for layer, wanted in golden.layers.items():
        pixels = golden.own_pixels.get(layer, golden.pixels)
        found = await extractor.extract(list(pixels), model="", layer=layer)
        np.testing.assert_allclose(np.stack([row[0] for row in found.rows]), wanted, rtol=1e-4, atol=1e-5)


async def test_calls_for_both_sizes_at_once_each_get_their_own(extractor: Extractor) -> None:
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(6)]
    layers = ["pooled", "logits", "pooled", "conv5"] * 3
    alone = {layer: await extractor.extract(images, model="", layer=layer) for layer in set(layers)}
    calls = [extractor.extract(images, model="", layer=layer) for layer in layers]
    for layer, found in zip(layers, await asyncio.gather(*calls), strict=True):
        np.testing.assert_allclose(
            [row[0] for row in found.rows], [row[0] for row in alone[layer].rows], rtol=1e-5, atol=1e-6
        )


async def test_waiting_tensors_of_another_size_neither_join_nor_break_a_batch() -> None:
    batches: list[tuple[int, ...]] = []

    class Shapes:
        provider = "test"

        def run(self, batch: np.ndarray, layers: list[str]) -> list[np.ndarray]:
            batches.append(batch.shape)
            return [batch.reshape(len(batch), -1) for _ in layers]

    loaded = asyncio.Event()
    loop, waiting = asyncio.get_running_loop(), loaded.wait()

    def load() -> Shapes:  # on the engine's thread: everything below is in the queue when it returns
        asyncio.run_coroutine_threadsafe(waiting, loop).result(10)
        return Shapes()

    batcher = Batcher(load)
    sizes = [1, 2, 1, 2, 2, 1]
    futures: list[asyncio.Future[ComputedFeature]] = [loop.create_future() for _ in sizes]
    for i, (px, future) in enumerate(zip(sizes, futures, strict=True)):
        batcher.put(Request(np.full((1, 3, px, 1), i, np.float32), "a", future))
    loaded.set()
    rows = await asyncio.gather(*futures)
    assert [row.values[0, 0] for row in rows] == list(range(6))
    assert [shape[0] for shape in batches if shape[2] == 2] == [3]
    assert len(batches) <= 3  # the engine's thread may have taken the first tensor alone
    await asyncio.to_thread(batcher.close)


def test_the_client_and_the_commands_tell_it_and_verify_it(folder: Path, tmp_path: Path) -> None:
    with fc7.connect(data=tmp_path / "data", models=[str(folder)]) as client:
        layers = {layer.name: layer for layer in client.model().layers}
        assert [layers["pooled"].recipe[key] for key in ("resize_px", "crop_px")] == [3 * PX, 2 * PX]
        assert layers["pooled"].transform == TRANSFORM
        assert layers["conv5"].recipe == client.model().recipe
        assert layers["conv5"].transform == "none"
        golden = client.golden("")
        assert golden.own_pixels["pooled"].shape == (2, 3 * PX, 3 * PX, 3)
        assert list(golden.own_pixels) == ["pooled"]
    common = ["--data", str(tmp_path / "data")]
    with fc7.connect(data=tmp_path / "data", models=[str(folder)]):  # the commands attach to it
        shown = CliRunner().invoke(main, ["model", "show", *common])
        verified = CliRunner().invoke(main, ["model", "verify", *common])
    assert "default layer: pooled" in shown.output
    assert TRANSFORM in shown.output
    assert verified.exit_code == 0, verified.output


def test_a_run_may_ask_layers_of_both_parts_and_a_missing_output_is_damage(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(folder)
    session = Session(bundle, device="cpu", threads=1)
    batch = np.random.default_rng(3).standard_normal((2, 3, PX, PX)).astype(np.float32)
    together = session.run(batch, ["logits", "pooled", "conv5"])
    for values, layer in zip(together, ["logits", "pooled", "conv5"], strict=True):
        np.testing.assert_array_equal(values, session.run(batch, [layer])[0])
    ghost = replace(bundle, layers=bundle.layers | {"ghost": replace(bundle.layers["pooled"], name="ghost")})
    with pytest.raises(DataLoss, match="ghost"):
        Session(ghost, device="cpu", threads=1)
