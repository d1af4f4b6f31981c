"""ONNX equals torch, layer by layer, for every network of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fc7.errors import AlreadyExists, DataLoss
from fc7_models.export.export_trained import export_bundle
from fc7_models.export.golden_images import draw_golden_images, read_golden_inputs
from fc7_models.export.pack_bundle import run_graph
from fc7_models.export.torch_to_onnx import check_parity, fold_batch_norm, round_to_fp16, to_onnx
from fc7_models.networks import NETWORKS, Network, find_network
from fc7_models.training.plan import Plan
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord
from fc7_service.bundle.folder import open_bundle, shipped_bundles
from fc7_service.bundle.golden import read_golden


def make(name: str, n_classes: int = 7) -> tuple[Network, nn.Module]:
    """Return a network with random weights and, where it has them, moved batch statistics."""
    torch.manual_seed(0)
    network = find_network(name)
    module = network.build(n_classes)
    if any(isinstance(m, nn.BatchNorm2d) for m in module.modules()):
        with torch.no_grad():
            module.train()(torch.randn(8, 3, 64, 64) + 0.3)
    return network, module.eval()


def pictures(network: Network, n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 3, height, width)).astype(np.float32) / network.recipe.scale / 4


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_agrees_at_every_batch(name: str) -> None:
    network, module = make(name)
    module = round_to_fp16(module)
    graph = to_onnx(fold_batch_norm(module), network)
    px = network.recipe.crop_px
    sizes = [(1, px, px), (3, px, px)] + ([(2, 112, 112), (1, 50, 90)] if network.is_any_size else [])
    for n, height, width in sizes:
        x = pictures(network, n, height, width)
        layers = run_graph(graph, x)
        assert list(layers)[-1] == "logits"
        check_parity(fold_batch_norm(module), x, layers)


def test_the_exported_file_holds_no_trace_of_the_machine() -> None:
    network, module = make("alexnet-64")
    graph = to_onnx(fold_batch_norm(module), network)
    assert str(Path.cwd()).encode() not in graph
    assert b"site-packages" not in graph
    model = onnx.load_from_string(graph)
    assert not any(t.external_data for t in model.graph.initializer)
    assert {o.domain for o in model.opset_import} <= {"", "pkg.onnxscript.torch_lib.common"}


def test_folding_changes_nothing_and_leaves_the_original_alone() -> None:
    _, module = make("zfnet-64")
    folded = fold_batch_norm(module)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for name, values in module(x).items():
            torch.testing.assert_close(folded(x)[name], values, rtol=1e-3, atol=1e-4)
    assert any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


def test_disagreement_is_caught() -> None:
    network, module = make("alexnet-64")
    module = round_to_fp16(module)
    x = pictures(network, 1, 64, 64)
    layers = run_graph(to_onnx(fold_batch_norm(module), network), x)
    layers["fc6"] = layers["fc6"] + 0.01 * layers["fc6"].max()
    with pytest.raises(DataLoss, match="fc6"):
        check_parity(fold_batch_norm(module), x, layers)


def test_a_bundle_is_exported_whole_and_never_over_another(tmp_path: Path) -> None:
    _, module = make("alexnet-64", n_classes=2)
    facts = TrainingRecord(Plan("alexnet-64"), ["a", "b"], {"a": "apple"}, "fruit", "test", 10, 1.0, 5, 0.6, 1.0)
    bundle = export_bundle(TrainedNetwork(module, facts), tmp_path / "new" / "b", name="fruit-net")
    assert bundle.name == "fruit-net"
    assert [(c.id, c.name) for c in bundle.classes] == [("a", "apple"), ("b", "b")]
    assert "top-1 60.0%" in bundle.card()
    assert sum(f.stat().st_size for f in bundle.path.iterdir()) <= 25e6
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b"]
    golden = read_golden(bundle)
    for layer, values in run_graph(bundle.graph(), golden.inputs).items():
        np.testing.assert_array_equal(values.reshape(len(values), -1), golden.layers[layer])
    with pytest.raises(AlreadyExists):
        export_bundle(TrainedNetwork(module, facts), tmp_path / "new" / "b", name="fruit-net")


def test_golden_pictures_are_the_same_everywhere() -> None:
    first = draw_golden_images(64)
    assert first.shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(first, draw_golden_images(64))
    assert all(p.std() > 20 for p in first)


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_bundles_meet_their_golden_vectors(name: str) -> None:
    bundle = open_bundle(shipped_bundles()[name])
    golden = read_golden(bundle)
    for layer, inputs in read_golden_inputs(bundle):
        values, wanted = run_graph(bundle.graph(), inputs)[layer], golden.layers[layer]
        assert np.abs(values.reshape(wanted.shape) - wanted).max() <= 1e-4 * np.abs(wanted).max()
