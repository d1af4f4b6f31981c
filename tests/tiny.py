"""A tiny bundle built with onnx.helper: the whole service in milliseconds, without torch or trained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from fc7_service.bundle.bundle import Bundle, Layer
from fc7_service.bundle.folder import write_bundle
from fc7_service.bundle.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe
from fc7_service.features.preprocess import to_tensor

PX = 16
LAYERS = [
    Layer("conv5", (4, 8, 8)),
    Layer("pool5", (4, 4, 4)),
    Layer("fc6", (16,)),
    Layer("fc7", (8,)),
    Layer("logits", (3,)),
]
RECIPE = Recipe(resize_px=PX, crop_px=PX, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def make_tiny_bundle(path: Path, *, name: str = "tiny", seed: int = 0) -> Bundle:
    """Write a bundle with random weights into ``path``."""
    path.mkdir(parents=True, exist_ok=True)
    graph = tiny_graph(seed)
    (path / "model.onnx").write_bytes(graph)
    (path / "labels.tsv").write_text("c0\tred thing\nc1\tgreen thing\nc2\tblue thing\n")
    (path / "card.md").write_text(f"# {name}\n\nRandom weights, for tests.\n")
    pixels = np.random.default_rng(seed).integers(0, 256, (3, PX, PX, 3), dtype=np.uint8)
    inputs = np.stack([to_tensor(p, RECIPE) for p in pixels])
    names = [layer.name for layer in LAYERS]
    outputs = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(names, {"image": inputs})
    layers = {n: o.reshape(len(o), -1) for n, o in zip(names, outputs, strict=True)}
    np.savez(path / "golden.npz", pixels=pixels, inputs=inputs, **layers)
    return write_bundle(
        path, name=name, network="tiny", layers=LAYERS, recipe=RECIPE, versions={"onnx": onnx.__version__}
    )


def tiny_graph(seed: int = 0) -> bytes:
    """Return an ONNX file: conv, pool, three fully connected layers, outputs named as the layers."""
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(shape[-1] + 1)).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["conv5"]),
        helper.make_node("MaxPool", ["conv5"], ["pool5"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool5"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w6", "b6"], ["g6"]),
        helper.make_node("Relu", ["g6"], ["fc6"]),
        helper.make_node("Gemm", ["fc6", "w7", "b7"], ["g7"]),
        helper.make_node("Relu", ["g7"], ["fc7"]),
        helper.make_node("Gemm", ["fc7", "w8", "b8"], ["logits"]),
    ]
    weights = [
        weight("w1", 4, 3, 3, 3), weight("b1", 4), weight("w6", 64, 16), weight("b6", 16),
        weight("w7", 16, 8), weight("b7", 8), weight("w8", 8, 3), weight("b8", 3),
    ]  # fmt: skip
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, PX, PX])
    outputs = [helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, ["N", *layer.shape]) for layer in LAYERS]
    graph = helper.make_graph(nodes, "tiny", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
