"""The way back in ONNX equals torch's, for every layer, rule and network.

The oracle is autograd with two functions of its own: a ReLU with three ways back, and a normalisation that passes.
It is given the activations that ONNX Runtime computed, so that no rounding decides a switch or a mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fc7_models.deconv import build_deconv
from fc7_models.deconv_rules import RULES
from fc7_models.export import fold, to_onnx
from fc7_models.networks import find_network

TRUNK = ["conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "logits"]
LAYERS = ["conv1", "conv2", *TRUNK]
SMALL = ["conv1", "pool", "conv2", "pool", *TRUNK]
STEPS = {
    "alexnet": ["conv1", "norm", "pool", "conv2", "norm", "pool", *TRUNK],
    "zfnet": ["conv1", "pool", "norm", "conv2", "pool", "norm", *TRUNK],
    "alexnet-64": SMALL,
    "zfnet-64": SMALL,
}
POOL = {"alexnet": {}, "zfnet": {"ceil_mode": True}, "alexnet-64": {"padding": 1}, "zfnet-64": {"padding": 1}}


class Rectify(torch.autograd.Function):
    """ReLU, whose way back is a rule's; its output is given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, rule: str) -> Tensor:
        ctx.is_on, ctx.rule = output > 0, rule
        torch.testing.assert_close(x.relu(), output, rtol=1e-3, atol=1e-4 * float(output.max()))
        return output.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        g = g if ctx.rule == "deconv" else g * ctx.is_on
        return (g if ctx.rule == "gradient" else g.clamp(min=0)), None, None


class PassNorm(torch.autograd.Function):
    """Local response normalisation that the signal passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return norm(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g


def norm(x: Tensor) -> Tensor:
    return functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)


def oracle(name: str, module: Any, x: Tensor, rule: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the layers of ``x``, with the rule's way back to it."""
    layers = {}
    for step in STEPS[name]:
        if step == "norm":
            x = norm(x) if rule == "gradient" else PassNorm.apply(x)
        elif step == "pool5" and name.endswith("64"):
            x = functional.adaptive_max_pool2d(x, 3)
        elif step.startswith("pool"):
            x = functional.max_pool2d(x, 3, stride=2, **POOL[name])
        elif step == "logits":
            x = module.fc8(x)
        else:
            part = getattr(module, step)
            x = part(x.flatten(1)) if step.startswith("fc") else (part[0] if name.endswith("64") else part)(x)
            x = Rectify.apply(x, given[step], rule)
        layers[step] = x
    return {layer: layers[layer] for layer in LAYERS}


def make(name: str) -> nn.Module:
    """Return a network with random weights that keep its activations alive, batch normalisation folded."""
    torch.manual_seed(0)
    module = find_network(name).build(96)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    return fold(module)


def session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(merged: ort.InferenceSession, x: np.ndarray, unit: list[int], position: list[int]) -> dict[str, np.ndarray]:
    feed = {"image": x, "unit": np.array(unit, np.int64), "position": np.array(position, np.int64)}
    names = [output.name for output in merged.get_outputs()]
    return dict(zip(names, merged.run(names, feed), strict=True))


def picture(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 3, height, width)).astype(np.float32)


def seed(layer: Tensor, unit: list[int], position: list[int], *, is_one: bool) -> tuple[Tensor, list[int]]:
    """Return the layer with one activation kept for each picture, and the positions."""
    flat = layer.detach().flatten(2) if layer.ndim == 4 else layer.detach()[:, :, None]
    kept, places = torch.zeros_like(flat), []
    for n, (u, p) in enumerate(zip(unit, position, strict=True)):
        places.append(int(flat[n, u].argmax()) if p < 0 or layer.ndim == 2 else p)
        kept[n, u, places[-1]] = 1.0 if is_one else flat[n, u, places[-1]]
    return kept.reshape(layer.shape), places


def same(found: np.ndarray, wanted: Tensor, what: str) -> None:
    for row, (one, other) in enumerate(zip(found, wanted.numpy(), strict=True)):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max(), f"{what}, row {row}"


@pytest.mark.parametrize("name", STEPS)
def test_every_layer_and_rule_agrees_with_torch(name: str) -> None:
    module, network = make(name), find_network(name)
    px = network.recipe.crop_px
    graph = to_onnx(module, network)
    merged = session(graph + build_deconv(graph, px))
    sizes, unit, position = [(px, px)], [5, 60, 31], [-1, 0, 8]
    if network.is_any_size:
        sizes.append((80, 104))
    else:
        unit, position = [5, 60], [-1, 35]
    for height, width in sizes:
        x = picture(len(unit), height, width)
        out = run(merged, x, unit, position)
        given = {layer: torch.from_numpy(out[layer]) for layer in LAYERS}
        for rule in RULES:
            image = torch.from_numpy(x).requires_grad_()
            for layer, values in oracle(name, module, image, rule, given).items():
                kept, places = seed(values, unit, position, is_one=rule == "gradient")
                (wanted,) = torch.autograd.grad(values, image, kept, retain_graph=True)
                same(out[f"pixels/{rule}/{layer}"], wanted, f"{rule} of {layer}")
                if rule == "deconv":
                    check_values(out, layer, kept, places)


def check_values(out: dict[str, np.ndarray], layer: str, kept: Tensor, places: list[int]) -> None:
    """Compare what is told beside the pixels: the activation, its place, and the maxima of all maps."""
    np.testing.assert_allclose(out[f"value/{layer}"], kept.flatten(1).sum(1), rtol=1e-3, atol=1e-4)
    values = out[layer]
    if values.ndim == 2:
        assert f"peaks/{layer}" not in out
        return
    assert out[f"place/{layer}"].tolist() == places
    flat = values.reshape(*values.shape[:2], -1)
    np.testing.assert_array_equal(out[f"peaks/{layer}"], flat.max(axis=2))
    np.testing.assert_array_equal(out[f"places/{layer}"], flat.argmax(axis=2))
