"""The deconvnet's graph computes what its slow twin computes, for random networks, units, positions and rules.

Weights and pictures are small whole numbers: fp32 then holds every activation exactly, so that both sides agree on
which units are on and where maxima are. Many maxima are in several places, which tests that the first one counts.
Normalisation divides, so that it stands only where nothing after it compares: behind it comes a convolution that
gives a layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fc7_models.deconv import layer_chain
from fc7_models.deconv.backward_rules import RULES
from fc7_models.deconv.build import build_deconv
from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.unpooling import Unpooling
from fc7_service.bundle.onnx_file import cut_graph
from slow import deconvnet as slow
from slow.pooling import max_pool, unpool


class Network:
    """One network in two forms: slow steps, and nodes of an ONNX file.

    Parameters
    ----------
    seed
        Of the weights.
    px
        Side of the pictures.
    """

    def __init__(self, seed: int, px: int) -> None:
        self.rng, self.px = np.random.default_rng(seed), px
        self.steps: list[slow.Step] = []
        self.layers: dict[str, list[slow.Step]] = {}
        self.outputs: dict[str, str] = {}  # layer -> tensor
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.tensor, self.shape = "image", (3, px, px)

    def name(self, layer: str) -> None:
        """Make what was added last a layer; the file finds conv1, conv2, ... by itself."""
        self.layers[layer] = list(self.steps)
        if not layer.startswith("conv"):
            self.outputs[layer] = self.tensor

    def add(self, step: slow.Step, kind: str, *weights: np.ndarray, **attributes: Any) -> None:
        """Add an operation that one node computes."""
        self.node(kind, self.tensor, *(self.constant(array.astype(np.float32)) for array in weights), **attributes)
        self.finish(step)

    def finish(self, step: slow.Step) -> None:
        """Add the slow form of the operation whose nodes were added last."""
        self.shape = step.forward(np.zeros(self.shape)).shape
        self.steps.append(step)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.tensor = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [self.tensor], **attributes))
        return self.tensor

    def constant(self, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def numbers(self, *shape: int, most: int = 2) -> np.ndarray:
        """Return random whole numbers from ``-most`` to ``most``."""
        return self.rng.integers(-most, most + 1, shape).astype(np.float64)

    def conv(self, maps: int, k: int, stride: int = 1, pad: int = 0, dilation: int = 1, group: int = 1) -> None:
        weight, bias = self.numbers(maps, self.shape[0] // group, k, k), self.numbers(maps)
        step = slow.Conv(weight, bias, {"stride": stride, "pad": pad, "dilation": dilation, "group": group})
        self.add(
            step, "Conv", weight, bias,
            strides=[stride] * 2, pads=[pad] * 4, dilations=[dilation] * 2, group=group,
        )  # fmt: skip

    def max_pool(self, taps: int, stride: int, pads: tuple[int, int], rounds_up: bool) -> None:
        self.add(
            slow.MaxPool(taps, stride, pads, rounds_up), "MaxPool", kernel_shape=[taps] * 2, strides=[stride] * 2,
            pads=[pads[0]] * 2 + [pads[1]] * 2, ceil_mode=int(rounds_up),
        )  # fmt: skip

    def grid_max_pool(self, grid: int) -> None:
        """Add the nodes that `networks.layers.GridMaxPool` is exported as: maxima of slices along each axis."""
        for axis in (2, 3):
            tensor, size, cells = self.tensor, self.shape[axis - 1], []
            for i in range(grid):
                bounds = (i * size // grid, -(-(i + 1) * size // grid), axis)
                cut = self.node("Slice", tensor, *(self.constant(np.array([n], np.int64)) for n in bounds))
                cells.append(self.node("ReduceMax", cut, self.constant(np.array([axis], np.int64)), keepdims=1))
            self.node("Concat", *cells, axis=axis)
        self.finish(slow.GridMaxPool(grid))

    def lrn(self, *, is_operator: bool) -> None:
        """Add the ONNX operator, or the nodes that `networks.layers.LocalResponseNorm` is exported as."""
        step = slow.Lrn({"n": 3, "alpha": 0.05, "beta": 0.75, "k": 2.0})
        if is_operator:
            self.add(step, "LRN", size=3, alpha=3 * 0.05, beta=0.75, bias=2.0)  # its alpha multiplies the mean
            return
        maps, x = np.arange(self.shape[0]), self.tensor
        band = 0.05 * (abs(np.subtract.outer(maps, maps)) <= 1)[:, :, None, None]
        weights = self.constant(band.astype(np.float32)), self.constant(np.full(len(maps), 2, np.float32))
        root = self.node("Sqrt", self.node("Conv", self.node("Mul", x, x), *weights))
        self.node("Div", x, self.node("Mul", root, self.node("Sqrt", root)))
        self.finish(step)

    def batch_norm(self) -> None:
        """Add one whose scales and deviations are powers of two, which keep fp32 exact."""
        maps = self.shape[0]
        scale, variance = 2.0 ** self.numbers(maps, most=1), 4.0 ** self.numbers(maps, most=1)
        shift, mean = self.numbers(maps), self.numbers(maps)
        step = slow.BatchNorm(scale, shift, mean, variance, 0.0)
        self.add(step, "BatchNormalization", scale, shift, mean, variance, epsilon=0.0)

    def dense(self, units: int, *, is_transposed: bool) -> None:
        weight, bias = self.numbers(units, self.shape[0]), self.numbers(units)
        stored = weight if is_transposed else weight.T
        self.add(slow.Dense(weight, bias), "Gemm", stored, bias, transB=int(is_transposed))

    def graph(self) -> bytes:
        """Return the ONNX file."""
        value = helper.make_tensor_value_info
        tail = [helper.make_node("Identity", [tensor], [layer]) for layer, tensor in self.outputs.items()]
        graph = helper.make_graph(
            [*self.nodes, *tail], "random", [value("image", TensorProto.FLOAT, ["N", 3, self.px, self.px])],
            [value(layer, TensorProto.FLOAT, None) for layer in self.outputs], self.weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return bytes(model.SerializeToString())


FILTERS = [(1, 1), (2, 1), (3, 1), (3, 2), (5, 1)]  # taps, dilation
# Taps, stride, padding, rounding up: ZFNet's, that of the small networks, one without overlap.
POOLS = [(3, 2, (0, 0), True), (3, 2, (1, 1), False), (2, 2, (0, 0), False)]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Draw one or two convolutions with what may follow each, then what may lead to the logits."""
    network = Network(draw(st.integers(0, 2**32 - 1)), draw(st.integers(9, 15)))
    for n in range(1, draw(st.integers(1, 2)) + 1):
        group = draw(st.sampled_from([1, 2])) if n > 1 else 1
        fitting = [(k, d) for k, d in FILTERS if (k - 1) * d < min(network.shape[1:])]
        k, dilation = draw(st.sampled_from(fitting))
        network.conv(4, k, draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, 2)), dilation, group)
        if draw(st.booleans()):
            network.batch_norm()
        network.add(slow.Relu(), "Relu")
        network.name(f"conv{n}")
        if min(network.shape[1:]) >= 4 and draw(st.booleans()):
            network.max_pool(*draw(st.sampled_from(POOLS)))
    is_exact = draw(st.booleans())
    if not is_exact:
        network.lrn(is_operator=draw(st.booleans()))
        network.conv(3, 1)
        network.name(f"conv{n + 1}")
    if is_exact and min(network.shape[1:]) >= 3 and draw(st.booleans()):
        network.grid_max_pool(draw(st.integers(1, 3)))
        network.name("pool5")
    network.add(slow.Flatten(), "Flatten")
    if is_exact and draw(st.booleans()):
        network.dense(4, is_transposed=draw(st.booleans()))
        network.add(slow.Relu(), "Relu")
        network.name("fc6")
    network.dense(3, is_transposed=draw(st.booleans()))
    network.name("logits")
    return network


@settings(deadline=None, max_examples=50)
@given(network=networks(), rule=st.sampled_from(RULES), data=st.data())
def test_a_projection_is_what_the_papers_say(network: Network, rule: slow.Rule, data: st.DataObject) -> None:
    graph = network.graph()
    graph += build_deconv(graph, network.px)
    layer = data.draw(st.sampled_from(list(network.layers)), "layer")
    steps = network.layers[layer]
    pictures = network.numbers(2, 3, network.px, network.px)
    shape = slow.run(steps, pictures[0]).shape
    is_exact = not any(isinstance(step, slow.Lrn) for step in steps)
    units = data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=2, max_size=2), "units")
    n_positions = int(np.prod(shape[1:]))
    positions = data.draw(
        st.lists(st.integers(-1 if is_exact else 0, n_positions - 1), min_size=2, max_size=2), "positions"
    )
    wanted = f"pixels/{rule}/{layer}"
    session = ort.InferenceSession(cut_graph(graph, [wanted]), providers=["CPUExecutionProvider"])
    feeds = {"image": pictures.astype(np.float32), "unit": np.array(units), "position": np.array(positions)}
    (found,) = session.run([wanted], {one.name: feeds[one.name] for one in session.get_inputs()})
    for picture, unit, position, pixels in zip(pictures, units, positions, found, strict=True):
        expected = slow.project(steps, picture, unit, position, rule)
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-4 * max(abs(expected).max(), 0.1))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    taps=st.integers(1, 3),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 2),
    pads=st.sampled_from([(0, 0), (1, 1), (0, 1)]),
    rounds_up=st.booleans(),
)
def test_unpooling_puts_values_at_their_switches(
    seed: int, taps: int, stride: int, dilation: int, pads: tuple[int, int], rounds_up: bool
) -> None:
    kernel = (taps - 1) * dilation + 1
    pads = (min(pads[0], taps - 1), min(pads[1], taps - 1))  # as ONNX demands, less than the kernel
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (2, 3, 9, 12)).astype(np.float32)  # most maxima are in several places
    pooled = [max_pool(maps, taps, stride, pads, dilation=dilation, rounds_up=rounds_up) for maps in x]
    signal = rng.integers(-9, 10, (2, *pooled[0][0].shape)).astype(np.float32)
    expected = [unpool(one, switches, maps.shape) for one, (_, switches), maps in zip(signal, pooled, x, strict=True)]
    step = layer_chain.Step("max_pool", NodeProto(), "x", "y", kernel, stride, dilation, pads, rounds_up)
    assert (step.out_size(9), step.out_size(12)) == signal.shape[2:]
    graph, value = GraphWriter(), helper.make_tensor_value_info
    graph.output("back", Unpooling(graph, step).write("x", "signal", pads[0]))
    graph.model.graph.input.extend([value(name, TensorProto.FLOAT, ["N", "C", None, None]) for name in ("x", "signal")])
    graph.model.graph.name = "unpooling"
    graph.model.ir_version = 8
    graph.model.opset_import.append(helper.make_opsetid("", 16))
    session = ort.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["back"], {"x": x, "signal": signal})
    np.testing.assert_array_equal(found, expected)
