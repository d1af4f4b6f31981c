"""The layer for photographs: what it computes, what whitening promises, and its bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import fc7
from fc7.cli import main
from fc7.errors import ImageDecodeError, InvalidArgument
from fc7_models.deconv.onnx_graph import OnnxGraph, ancestors
from fc7_models.export.export_trained import export_bundle
from fc7_models.export.int8 import _integer_nodes
from fc7_models.export.layer_pooling import (
    GEM_LAYER,
    IMAGE_PX,
    POOLED_LAYER,
    RECOMMENDED,
    SHRINK,
    fit_whitening,
    pool_cells,
    run_both_sizes,
)
from fc7_models.export.pack_bundle import run_graph
from fc7_models.networks import find_network
from fc7_models.studies.inspection import inspect_network
from fc7_models.studies.learning_curve import UNTRAINED, measure_learning_curve
from fc7_models.studies.linear_classifier import PIXELS
from fc7_models.studies.linear_probe import probe_layers
from fc7_models.training.plan import Plan
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord
from fc7_service.bundle.bundle import SUMS, Bundle
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.bundle.onnx_file import read_metadata
from fc7_service.features.preprocess import preprocess_pixels
from slow.pooling import gem_of_sizes, whiten


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(9)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.fixture(scope="module")
def exported(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(untrained("zfnet-64"), tmp_path_factory.mktemp("exported") / "b", name="b", pictures=pictures)


def untrained(name: str) -> TrainedNetwork:
    torch.manual_seed(0)
    facts = TrainingRecord(Plan(name), ["a", "b"], {}, "fruit", "test", 10, 1.0, 5, 0.6, 1.0)
    return TrainedNetwork(find_network(name).build(2).eval(), facts)


def test_whitening_leaves_uncorrelated_numbers_of_about_one_variance() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((4000, 6)) * [30, 20, 10, 5, 2, 0] @ rng.standard_normal((6, 6)) + 7
    white = fit_whitening(torch.from_numpy(mixed.astype(np.float32)), 6)(
        torch.from_numpy(mixed.astype(np.float32))
    ).numpy()
    assert np.abs(white.mean(0)).max() < 1e-3
    covariance, variances = np.cov(white.T), np.linalg.eigvalsh(np.cov(mixed.T))[::-1]
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02  # weights have 8 bits
    np.testing.assert_allclose(np.diag(covariance), variances / (variances + SHRINK * variances.mean()), atol=0.02)


def test_whitening_gives_no_more_numbers_than_the_pictures_determine() -> None:
    assert fit_whitening(torch.rand(5, 40), 9)(torch.rand(2, 40)).shape == (2, 4)
    assert torch.isfinite(fit_whitening(torch.ones(3, 40), 9)(torch.ones(3, 40))).all()


def test_pooling_is_the_maximum_of_each_cell_at_two_sizes() -> None:
    class Cells(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"pool5": torch.nn.functional.adaptive_max_pool2d(x, 3)}

    whole, half = pool_cells(*run_both_sizes(Cells(), torch.arange(36.0).view(1, 1, 6, 6)))
    assert whole.tolist() == [[7, 9, 11, 19, 21, 23, 31, 33, 35]]
    assert half.tolist() == [[3.5, 5.5, 7.5, 15.5, 17.5, 19.5, 27.5, 29.5, 31.5]]


@pytest.mark.parametrize("name", ["alexnet-64", "zfnet-64"])
def test_a_bundle_has_the_layers_at_their_own_size(name: str, pictures: list[Path], tmp_path: Path) -> None:
    trained, reported = untrained(name), []
    bundle = export_bundle(
        trained,
        tmp_path / "b",
        name="b",
        pictures=pictures,
        default_layer=POOLED_LAYER,
        report=lambda done, total: reported.append((done, total)),
    )
    assert reported == [(9, 9)]
    assert list(bundle.layers) == ["conv5", "pool5", "fc6", "fc7", POOLED_LAYER, GEM_LAYER, "logits"]
    assert bundle.default_layer == POOLED_LAYER
    layer = bundle.layers[POOLED_LAYER]
    assert layer.shape == (16,)  # of nine pictures, at each size
    assert layer.transform == bundle.provenance("").transform == "max3x3-at-128-and-64-px,pca-whitened-16"
    assert bundle.layers[GEM_LAYER].shape == (8,)
    assert bundle.provenance(GEM_LAYER).transform == "gem3-at-128-and-64-px,l2-each,pca-whitened-8"
    assert bundle.recommended == RECOMMENDED
    assert bundle.recipe_of(POOLED_LAYER).crop_px == bundle.recipe_of(GEM_LAYER).crop_px == IMAGE_PX
    assert f"{IMAGE_PX} pixels" in bundle.card()
    sums = json.loads(read_metadata(bundle.graph())[SUMS])
    assert sums == {POOLED_LAYER: ["pool5", "pool5/half"]}
    golden = read_golden(bundle)
    for own in (POOLED_LAYER, GEM_LAYER):
        inputs = np.stack([preprocess_pixels(p, bundle.recipe_of(own)) for p in golden.own_pixels[own]])
        np.testing.assert_array_equal(run_graph(bundle.graph(), inputs)[own], golden.layers[own])

    tensors = np.stack([preprocess_pixels(np.asarray(Image.open(p)), bundle.recipe_of(POOLED_LAYER)) for p in pictures])
    found = run_graph(bundle.graph(), tensors)[POOLED_LAYER]  # of the pictures that it was learnt from
    assert np.abs(found.mean(0)).max() < 0.02
    gem = run_graph(bundle.graph(), tensors)[GEM_LAYER]
    for size in (found[:, :8], found[:, 8:], gem):
        covariance = np.cov(size.T)
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
        assert 0.5 < covariance[0, 0] < 1.02


def test_the_graph_pools_as_the_slow_twin_does(exported: Bundle, pictures: list[Path]) -> None:
    recipe = exported.recipe_of(GEM_LAYER)
    tensors = np.stack([preprocess_pixels(np.asarray(Image.open(path)), recipe) for path in pictures])
    halves = tensors.reshape(len(tensors), 3, 64, 2, 64, 2).mean((3, 5))
    whole, half = (run_graph(exported.graph(), x)["conv5"] for x in (tensors, halves))
    pooled = np.array([gem_of_sizes(maps, 3, 1e-6) for maps in zip(whole, half, strict=True)])
    served = run_graph(exported.graph(), tensors)[GEM_LAYER]
    mean, directions = whiten(pooled, 8, SHRINK)
    expected = (pooled - mean) @ directions.T
    signs = np.sign((expected * served).sum(0))  # a direction and its opposite are as good
    np.testing.assert_allclose(served, expected * signs, atol=0.03)  # weights have 8 bits


def test_a_match_claims_no_positions_of_generalised_means(
    exported: Bundle, pictures: list[Path], tmp_path: Path
) -> None:
    """Each feature has length one before the whitening, so that no map and no position has a share of its own."""
    with fc7.connect(data=tmp_path, models=[str(exported.path)], device="cpu") as client:
        gem = client.explain.match(pictures[0], pictures[1], layer=GEM_LAYER)
        pooled = client.explain.match(pictures[0], pictures[1], layer=POOLED_LAYER)
    assert gem.unit_layer == GEM_LAYER
    assert gem.query.positions is gem.neighbour.positions is None
    assert gem.query.projections == gem.neighbour.projections == []
    assert gem.contributions.sum() == pytest.approx(gem.score, abs=1e-6)
    assert gem.rest == pytest.approx(0, abs=1e-6)
    assert pooled.unit_layer == "pool5"
    assert pooled.query.positions is not None
    words = ["explain", "match", pictures[0], pictures[1], "--layer", GEM_LAYER, "--output", tmp_path / "x.png"]
    server = ["--model", exported.path, "--data", tmp_path / "data"]
    printed = CliRunner().invoke(main, [*map(str, words), *map(str, server)])
    assert printed.exit_code == 4
    assert "not a sum over the maps" in printed.stderr
    assert not (tmp_path / "x.png").exists()


def test_the_int8_form_pools_in_fp32(exported: Bundle) -> None:
    model = onnx.load_from_string(exported.graph())
    graph = OnnxGraph(model)
    makers = {output for node in _integer_nodes(model, 0) for output in node.output}
    pooling = [node for node in ancestors(graph.nodes, [GEM_LAYER]) if node.op_type in {"Pow", "ReduceMean", "Gemm"}]
    assert {node.op_type for node in pooling} == {"Pow", "ReduceMean", "Gemm"}
    assert not any(output in makers for node in pooling for output in node.output)
    convolutions = [
        node for node in ancestors(graph.nodes, [GEM_LAYER]) if node.op_type == "Conv" and "Norm" not in node.name
    ]
    assert sum(node.output[0] in makers for node in convolutions) == 10  # five at each size


def test_the_command_exports_it_and_studies_see_it_at_its_own_size(pictures: list[Path], tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / "data" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures[i % 2 + 2 * (i % 3)], tmp_path / "data" / "ab"[i % 2] / f"{i}.png")
    untrained("alexnet-64").save(tmp_path / "trained.pt")
    paths = ["--pictures", str(tmp_path / "data"), "--output", str(tmp_path / "b")]
    command = ["model", "export", str(tmp_path / "trained.pt"), *paths, "--default-layer", POOLED_LAYER]
    assert CliRunner().invoke(main, command).exit_code == 0
    points = measure_learning_curve(tmp_path / "data", str(tmp_path / "b"), 1, quiet)
    assert {point.features: point.per_class for point in points} == dict.fromkeys((POOLED_LAYER, UNTRAINED, PIXELS), 8)
    rows = {row.layer: row for row in probe_layers(tmp_path / "data", str(tmp_path / "b"), 1, quiet)}
    assert (rows[POOLED_LAYER].shape, rows[POOLED_LAYER].softmax) == (
        f"{open_bundle(tmp_path / 'b').layers[POOLED_LAYER].dim}",
        1,
    )
    assert rows["conv5"].shape == "256 x 8 x 8"
    assert POOLED_LAYER not in {one.layer for one in inspect_network(None, str(tmp_path / "b"), quiet).layers}


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def test_what_cannot_be_exported_is_refused_before_the_work(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="32 pixels only"):
        export_bundle(untrained("lenet-5"), tmp_path / "b", name="b", pictures=pictures)
    with pytest.raises(InvalidArgument, match="at least two pictures"):
        export_bundle(untrained("alexnet-64"), tmp_path / "b", name="b", pictures=pictures[:1])
    with pytest.raises(InvalidArgument, match="Choose one of conv5, pool5, fc6, fc7, logits"):
        export_bundle(untrained("alexnet-64"), tmp_path / "b", name="b", default_layer=POOLED_LAYER)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageDecodeError, match="broken"):
        export_bundle(untrained("alexnet-64"), tmp_path / "b", name="b", pictures=[*pictures, broken])
    assert not (tmp_path / "b").exists()
