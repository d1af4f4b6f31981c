"""The tiny bundle with a deconvnet, and with layers that are means and maxima of its maps, whitened or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fc7_models.deconv.build import build_deconv
from fc7_service.bundle.bundle import SUMS, Bundle, Layer
from fc7_service.bundle.folder import write_bundle
from tiny import LAYERS, PX, RECIPE, make_tiny_bundle, tiny_graph

WHITE, MIXED, POOLED = "white", "mixed", "pooled"  # sums over conv5; over its maps alone; over conv5 and pool5
TWICE, HALF = "twice", "pool5/half"  # sum over pool5 of the picture and of the same at half its size, which is no layer
_DIMS = {WHITE: 4, MIXED: 8, POOLED: 5, TWICE: 6}


def make_explained_bundle(
    path: Path, *, name: str = "tiny", seed: int = 0, has_deconv: bool = True, sums: str = ""
) -> Bundle:
    """Write a bundle with random weights into ``path``, which says ``sums`` of its sums if that is not empty."""
    plain = make_tiny_bundle(path.with_name(f"{path.name}-plain"), name=name, seed=seed)
    shutil.copytree(plain.path, path)
    graph = _with_pooled(tiny_graph(seed), seed, sums)
    (path / "model.onnx").write_bytes(graph)
    if has_deconv:
        (path / "deconv.onnx").write_bytes(build_deconv(graph, PX))
    golden = dict(np.load(plain.path / "golden.npz"))
    layers = [*LAYERS[:-1], *(Layer(own, (dim,), own) for own, dim in _DIMS.items()), LAYERS[-1]]
    golden |= {layer.name: np.zeros((3, layer.dim), np.float32) for layer in layers if layer.name not in golden}
    np.savez(path / "golden.npz", **golden)
    return write_bundle(path, name=name, network="tiny", layers=layers, recipe=RECIPE, versions={})


def _with_pooled(graph: bytes, seed: int, sums: str = "") -> bytes:
    """Return the tiny graph with the mean of conv5's maps, whitened, and the mean beside the maximum."""
    model, rng = onnx.load_from_string(graph), np.random.default_rng(seed + 1)
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["conv5", "axes"], ["mean"], keepdims=0),
            helper.make_node("ReduceMax", ["conv5", "axes"], ["max"], keepdims=0),
            helper.make_node("Gemm", ["mean", "w9", "b9"], [WHITE]),
            helper.make_node("Concat", ["mean", "max"], [MIXED], axis=1),
            helper.make_node("Concat", ["flat", "mean"], ["both"], axis=1),
            helper.make_node("Gemm", ["both", "w10", "b10"], [POOLED]),
            helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["small", "w1", "b1"], ["c/half"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c/half"], ["conv5/half"]),
            helper.make_node("MaxPool", ["conv5/half"], [HALF], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Flatten", [HALF], ["flat/half"]),
            helper.make_node("Concat", ["flat", "flat/half"], ["sizes"], axis=1),
            helper.make_node("Gemm", ["sizes", "w11", "b11"], [TWICE]),
        ]
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), "w9"),
            numpy_helper.from_array(rng.standard_normal(4).astype(np.float32), "b9"),
            numpy_helper.from_array(rng.standard_normal((68, 5)).astype(np.float32), "w10"),
            numpy_helper.from_array(rng.standard_normal(5).astype(np.float32), "b10"),
            numpy_helper.from_array(rng.standard_normal((80, 6)).astype(np.float32), "w11"),
            numpy_helper.from_array(rng.standard_normal(6).astype(np.float32), "b11"),
        ]
    )
    for name, dim in _DIMS.items():  # before the logits, as an export has them
        model.graph.output.insert(-1, helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", dim]))
    helper.set_model_props(model, {SUMS: sums or json.dumps({TWICE: ["pool5", HALF]})})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
