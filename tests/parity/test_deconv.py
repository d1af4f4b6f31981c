"""The way back in ONNX equals torch's, for every layer, rule and network.

The oracle is autograd with functions of its own: a ReLU with three ways back, and a normalisation that passes.
Both it and the network itself are given the activations that ONNX Runtime computed: otherwise the rounding of one
processor would decide which units are on and where the maxima are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fc7.errors import FailedPrecondition
from fc7_models.deconv.backward_rules import RULES
from fc7_models.deconv.build import build_deconv
from fc7_models.deconv.winograd import matrices
from fc7_models.export.pack_bundle import BundleContents, pack_bundle
from fc7_models.export.torch_to_onnx import fold_batch_norm, to_onnx
from fc7_models.networks import find_network
from fc7_service.bundle.bundle import ClassLabel
from fc7_service.bundle.folder import open_bundle, shipped_bundles
from fc7_service.bundle.recipe import Recipe

TRUNK = ["conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "logits"]
LAYERS = ["conv1", "conv2", *TRUNK]
SMALL = ["conv1", "pool", "conv2", "pool", *TRUNK]
STEPS = {
    "alexnet": ["conv1", "norm", "pool", "conv2", "norm", "pool", *TRUNK],
    "zfnet": ["conv1", "pool", "norm", "conv2", "pool", "norm", *TRUNK],
    "alexnet-64": SMALL,
    "zfnet-64": SMALL,
}
HALF: dict[str, Any] = {"maps": (48, 128, 192, 192, 128), "units": 512}  # of the papers' widths: a quarter of the work
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


class Given(torch.autograd.Function):
    """What ONNX Runtime computed, in place of torch's own rounding of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Tensor) -> Tensor:
        torch.testing.assert_close(x, given, rtol=1e-3, atol=1e-4 * float(given.max()))
        return given.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return g, None


class AsComputed(TorchFunctionMode):
    """Inside, every ReLU returns what ONNX Runtime computed, and max-pooling pools what ONNX Runtime pooled."""

    def __init__(self, rectified: Iterable[Tensor], pooled: Iterable[Tensor]) -> None:
        super().__init__()
        self.rectified, self.pooled = list(rectified), list(pooled)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (functional.relu, torch.relu, Tensor.relu):
            return Rectify.apply(args[0], self.rectified.pop(0), "gradient")
        if func is functional.max_pool2d:
            args = (Given.apply(args[0], self.pooled.pop(0)), *args[1:])
        return func(*args, **(kwargs or {}))


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
    layers, pooled = {}, pooled_of(given)
    for step in STEPS[name]:
        if step == "norm":
            x = norm(x) if rule == "gradient" else PassNorm.apply(x)
        elif step == "pool5" and name.endswith("64"):
            x = functional.adaptive_max_pool2d(x, 3)
        elif step.startswith("pool"):
            x = functional.max_pool2d(Given.apply(x, pooled.pop(0)), 3, stride=2, **POOL[name])
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
    module = find_network(name).build(96, **(HALF if name in ("alexnet", "zfnet") else {}))
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    return fold_batch_norm(module)


def session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def merge(graph: bytes, px: int) -> ort.InferenceSession:
    """Return the network with its way back, which also tells what each max-pooling pools ("pooled/0", ...)."""
    model = onnx.load_from_string(graph + build_deconv(graph, px))
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    for i, pool in enumerate(pools):
        model.graph.node.append(helper.make_node("Identity", pool.input[:1], [f"pooled/{i}"]))
        model.graph.output.append(helper.make_tensor_value_info(f"pooled/{i}", TensorProto.FLOAT, None))
    return session(model.SerializeToString())


def pooled_of(out: dict[str, Tensor]) -> list[Tensor]:
    return [values for name, values in out.items() if name.startswith("pooled/")]


def run(merged: ort.InferenceSession, x: np.ndarray, unit: list[int], position: list[int]) -> dict[str, np.ndarray]:
    feed = {"image": x, "unit": np.array(unit, np.int64), "position": np.array(position, np.int64)}
    names = [output.name for output in merged.get_outputs()]
    return dict(zip(names, merged.run(names, feed), strict=True))


def firing(activations: ort.InferenceSession, x: np.ndarray, *, at_maximum: list[bool]) -> tuple[list[int], list[int]]:
    """Return for each picture a unit that is on in every layer, and where: -1 for its maximum, else one position.

    Of all units it takes the one whose weakest activation, as a share of its layer's largest, is strongest.
    """
    layers = activations.run(None, {"image": x})
    n_units = min(values.shape[1] for values in layers)
    n_positions = min(values[0, 0].size for values in layers if values.ndim == 4)
    units, positions = [], []
    for row, is_maximum in enumerate(at_maximum):
        weakest = np.full((n_units, n_positions), np.inf)
        for values in layers:
            maps = values[row, :n_units].reshape(n_units, -1) / values[row].max()
            weakest = np.minimum(weakest, maps.max(1, keepdims=True) if is_maximum else maps[:, :n_positions])
        assert weakest.max() > 0, f"no unit is on in every layer of row {row}"
        unit, position = np.unravel_index(weakest.argmax(), weakest.shape)
        units.append(int(unit))
        positions.append(-1 if is_maximum else int(position))
    return units, positions


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
        assert other.any(), f"{what}, row {row}: nothing to compare"
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max(), f"{what}, row {row}"


@pytest.mark.parametrize("name", STEPS)
def test_every_layer_and_rule_agrees_with_torch(name: str) -> None:
    module, network = make(name), find_network(name)
    px = network.recipe.crop_px
    graph = to_onnx(module, network)
    merged, activations = merge(graph, px), cut(graph + build_deconv(graph, px), LAYERS, ["image"])
    at_maximum = [True, False, False] if network.is_any_size else [True, False]
    for height, width in [(px, px), (80, 104)] if network.is_any_size else [(px, px)]:
        x = picture(len(at_maximum), height, width)
        unit, position = firing(activations, x, at_maximum=at_maximum)
        out = run(merged, x, unit, position)
        given = {layer: torch.from_numpy(values) for layer, values in out.items()}
        check_gradient(module, x, unit, position, given)
        for rule in RULES:
            image = torch.from_numpy(x).requires_grad_()
            for layer, values in oracle(name, module, image, rule, given).items():
                kept, places = seed(values, unit, position, is_one=rule == "gradient")
                (wanted,) = torch.autograd.grad(values, image, kept, retain_graph=True)
                same(out[f"pixels/{rule}/{layer}"], wanted, f"{rule} of {layer}")
                if rule == "deconv":
                    check_values(out, layer, kept, places)


def check_gradient(module: Any, x: np.ndarray, unit: list[int], position: list[int], given: dict[str, Tensor]) -> None:
    """Compare "gradient" with autograd of the network as it is."""
    image = torch.from_numpy(x).requires_grad_()
    with AsComputed([given[layer] for layer in LAYERS if layer not in ("pool5", "logits")], pooled_of(given)) as left:
        layers = module(image)
    assert not left.rectified
    assert not left.pooled
    for layer, values in layers.items():
        kept, _ = seed(values, unit, position, is_one=True)
        (wanted,) = torch.autograd.grad(values, image, kept, retain_graph=True)
        same(given[f"pixels/gradient/{layer}"].numpy(), wanted, f"autograd of {layer}")


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


@pytest.mark.parametrize("name", ["zfnet-64"])
def test_rows_of_a_batch_do_not_mix(name: str) -> None:
    graph = to_onnx(make(name), find_network(name))
    names = ["pixels/deconv/conv5", "pixels/guided/fc7", "value/conv5", "place/conv5"]
    graph += build_deconv(graph, 64)
    both, x = cut(graph, names), picture(5, 64, 64)
    places = firing(cut(graph, ["conv5", "fc7"], ["image"]), x, at_maximum=[True, False, False, True, False])
    feed = {"image": x, "unit": np.array(places[0]), "position": np.array(places[1])}
    together = both.run(names, feed)
    for i in range(5):
        kept = [n if n == i else (i + 1) % 5 for n in range(5)]  # the same row among others
        mixed = both.run(names, {key: values[kept] for key, values in feed.items()})
        alone = both.run(names, {key: values[[i]] for key, values in feed.items()})
        for name, rows, other, (row,) in zip(names, together, mixed, alone, strict=True):
            assert rows[i].any(), name
            np.testing.assert_array_equal(other[i], rows[i], err_msg=name)
            # One row alone is rounded differently, which may move a maximum between two nearly equal values.
            assert np.linalg.norm(row - rows[i]) <= 0.01 * np.linalg.norm(rows[i]), name


def cut(
    graph: bytes, outputs: list[str], inputs: Sequence[str] = ("image", "unit", "position")
) -> ort.InferenceSession:
    extractor = onnx.utils.Extractor(onnx.load_from_string(graph))
    return session(extractor.extract_model(list(inputs), outputs).SerializeToString())


def test_a_tile_is_a_correlation() -> None:
    back, forth, taps = matrices()
    rng = np.random.default_rng(0)
    seen, filters = rng.standard_normal(forth.shape[1]), rng.standard_normal(taps.shape[1])
    np.testing.assert_allclose(back @ (forth @ seen * (taps @ filters)), np.correlate(seen, filters), atol=1e-8)


class Imported:
    """A file as others make them: B, G, R, normalisation as operators, dilation, means."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        shapes = {
            "w1": (8, 3, 3, 3), "b1": (8,), "scale": (8,), "shift": (8,), "mean": (8,), "w2": (6, 4, 3, 3),
            "w3": (5, 6, 1, 1), "w4": (5, 4), "b4": (4,),
        }  # fmt: skip
        self.weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        self.weights["var"] = rng.uniform(0.5, 2, 8).astype(np.float32)

    def graph(self, end: str = "GlobalAveragePool") -> bytes:
        node = helper.make_node
        nodes = [
            node("Gather", ["image", "order"], ["bgr"], axis=1),
            node("Conv", ["bgr", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "scale", "shift", "mean", "var"], ["n1"], epsilon=0.01),
            node("Relu", ["n1"], ["r1"]),
            node("LRN", ["r1"], ["l1"], size=3, alpha=0.3, beta=0.6, bias=1.5),
            node("MaxPool", ["l1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
            node("Conv", ["p1", "w2"], ["c2"], dilations=[2, 2], pads=[2, 2, 2, 2], group=2),
            node("Relu", ["c2"], ["r2"]),
            node("AveragePool", ["r2"], ["a2"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["a2", "w3"], ["c3"]),
            node("Relu", ["c3"], ["r3"]),
            node(end, ["r3"], ["g"]),
            node("Flatten", ["g"], ["pool"]),
            node("MatMul", ["pool", "w4"], ["m"]),
            node("Add", ["m", "b4"], ["logits"]),
        ]
        value = helper.make_tensor_value_info
        image = value("image", TensorProto.FLOAT, ["N", 3, 22, 22])
        outputs = [value(name, TensorProto.FLOAT, None) for name in ("pool", "logits")]
        weights = [numpy_helper.from_array(values, name) for name, values in self.weights.items()]
        weights.append(numpy_helper.from_array(np.array([2, 1, 0]), "order"))
        graph = helper.make_graph(nodes, "imported", [image], outputs, weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    def layers(self, x: Tensor, rule: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
        (pooled,) = pooled_of(given)
        w = {name: torch.from_numpy(values) for name, values in self.weights.items()}
        x = functional.conv2d(x[:, [2, 1, 0]], w["w1"], w["b1"], stride=2, padding=1)
        x = functional.batch_norm(x, w["mean"], w["var"], w["scale"], w["shift"], eps=0.01)
        x = conv1 = Rectify.apply(x, given["conv1"], rule)
        normed = functional.local_response_norm(x, 3, alpha=0.3, beta=0.6, k=1.5)
        x = normed if rule == "gradient" else x + (normed - x).detach()
        x = functional.pad(Given.apply(x, pooled), (0, 1, 0, 1), value=-torch.inf)
        x = functional.max_pool2d(x, 3, stride=2)
        x = functional.conv2d(x, w["w2"], padding=2, dilation=2, groups=2)
        x = conv2 = Rectify.apply(x, given["conv2"], rule)
        x = functional.conv2d(functional.avg_pool2d(x, 2), w["w3"])
        x = conv3 = Rectify.apply(x, given["conv3"], rule)
        pool = x.mean((2, 3))
        return {"conv1": conv1, "conv2": conv2, "conv3": conv3, "pool": pool, "logits": pool @ w["w4"] + w["b4"]}


def test_files_that_others_made() -> None:
    net = Imported()
    graph = net.graph()
    layers = ["conv1", "conv2", "conv3", "pool", "logits"]
    x, activations = picture(3, 22, 22), cut(graph + build_deconv(graph, 22), layers, ["image"])
    unit, position = firing(activations, x, at_maximum=[True, False, False])
    out = run(merge(graph, 22), x, unit, position)
    given = {layer: torch.from_numpy(values) for layer, values in out.items()}
    for rule in RULES:
        image = torch.from_numpy(x).requires_grad_()
        for layer, values in net.layers(image, rule, given).items():
            kept, places = seed(values, unit, position, is_one=rule == "gradient")
            (wanted,) = torch.autograd.grad(values, image, kept, retain_graph=True)
            same(out[f"pixels/{rule}/{layer}"], wanted, f"{rule} of {layer}")
            if rule == "deconv":
                check_values(out, layer, kept, places)


def test_networks_that_have_none() -> None:
    with pytest.raises(FailedPrecondition, match="this network can have no deconvnet: Mul 'fc6' has no way back\\."):
        build_deconv(to_onnx(find_network("lenet-5").build(3).eval(), find_network("lenet-5")), 32)
    model = onnx.load_from_string(Imported().graph())
    model.opset_import[0].version = 13
    with pytest.raises(FailedPrecondition, match="version 13, but at least 16"):
        build_deconv(model.SerializeToString(), 22)
    branched = onnx.load_from_string(Imported().graph())
    relu = next(i for i, node in enumerate(branched.graph.node) if node.output[0] == "r3")
    branched.graph.node[relu].input[0] = "sum"
    branched.graph.node.insert(relu, helper.make_node("Conv", ["a2", "w3"], ["c4"]))
    branched.graph.node.insert(relu + 1, helper.make_node("Add", ["c3", "c4"], ["sum"]))
    with pytest.raises(FailedPrecondition, match="Add 'sum' joins 2 branches"):
        build_deconv(branched.SerializeToString(), 22)
    with pytest.raises(FailedPrecondition, match="GlobalMaxPool 'g' has no way back"):
        build_deconv(Imported().graph("GlobalMaxPool"), 22)


def test_a_layer_beside_the_chain_is_left_out() -> None:
    model = onnx.load_from_string(Imported().graph())
    pooled = [
        helper.make_node("GlobalMaxPool", ["r3"], ["top"]),
        helper.make_node("Concat", ["top", "g"], ["beside"], axis=1),
    ]
    for node in pooled:
        model.graph.node.append(node)
    model.graph.output.insert(0, helper.make_tensor_value_info("beside", TensorProto.FLOAT, None))
    assert [layer["name"] for layer in described(build_deconv(model.SerializeToString(), 22))] == [
        "conv1", "conv2", "conv3", "pool", "logits",
    ]  # fmt: skip


def test_the_chain_is_the_longest_whatever_the_order_of_outputs() -> None:
    model = onnx.load_from_string(Imported().graph())
    pool, logits = model.graph.output
    del model.graph.output[:]
    model.graph.output.extend([logits, pool])
    assert [layer["name"] for layer in described(build_deconv(model.SerializeToString(), 22))] == [
        "conv1", "conv2", "conv3", "pool", "logits",
    ]  # fmt: skip
    model = onnx.load_from_string(Imported().graph("GlobalMaxPool"))  # has no way back
    model.graph.output.insert(0, helper.make_tensor_value_info("r2", TensorProto.FLOAT, None))
    assert [layer["name"] for layer in described(build_deconv(model.SerializeToString(), 22))] == ["conv1", "r2"]


def described(deconv: bytes) -> list[dict[str, Any]]:
    (entry,) = onnx.load_from_string(deconv).metadata_props
    assert entry.key == "layers"
    layers: list[dict[str, Any]] = json.loads(entry.value)
    return layers


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_bundles_have_theirs(name: str) -> None:
    bundle = open_bundle(shipped_bundles()[name])
    deconv = bundle.read("deconv.onnx")
    assert deconv == build_deconv(bundle.graph(), bundle.recipe.crop_px)
    assert len(deconv) < 250_000  # nodes alone
    fields = {row.pop("name"): row for row in described(deconv)}
    assert list(fields) == LAYERS
    assert fields["fc7"] == {"channels": 1024, "map": None, "size": 64, "stride": 0, "offset": 0}
    assert fields["conv5"]["map"] == list(bundle.layers["conv5"].shape[1:])
    px = 128
    for layer in LAYERS[:5]:  # at twice the size, so that no field of a middle unit reaches over the border
        field = fields[layer]
        middle = px // 2 // field["stride"]
        merged = cut(bundle.graph() + deconv, [layer, f"pixels/gradient/{layer}"])
        position = np.full(1, middle * (px // field["stride"]) + middle)
        maps, _ = merged.run(None, {"image": picture(1, px, px), "unit": np.zeros(1, np.int64), "position": position})
        unit, x = np.argsort(-maps[0, :, middle, middle])[:9], np.repeat(picture(1, px, px), 9, axis=0)
        _, out = merged.run(None, {"image": x, "unit": unit, "position": np.repeat(position, 9)})
        rows = np.flatnonzero(np.abs(out).max(axis=(0, 1, 3)) > 1e-5 * np.abs(out).max())  # more than rounding
        first = field["offset"] + middle * field["stride"]
        assert first <= rows[0] < rows[-1] < first + field["size"]
        assert rows[-1] - rows[0] >= 0.8 * (field["size"] - 1)


def test_every_new_bundle_gets_one_where_it_can(tmp_path: Path) -> None:
    net = Imported()
    recipe = Recipe(resize_px=22, crop_px=22, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
    classes = [ClassLabel(str(i), str(i)) for i in range(4)]
    for end, has_one in (("GlobalAveragePool", True), ("GlobalMaxPool", False)):
        bundle = pack_bundle(
            BundleContents("net", net.graph(end), recipe, classes, "# net"), tmp_path / end, name="net"
        )
        assert ("deconv.onnx" in bundle.files) is has_one
