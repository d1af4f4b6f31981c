"""Write the ONNX nodes that project one unit of a layer: which activation is kept, and its way back to the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from fc7_models.deconv.backward_rules import RULES, BackwardWriter, Rule
from fc7_models.deconv.layer_chain import Step
from fc7_models.deconv.signal_window import Signal, Window

UNIT, POSITION = "unit", "position"


@dataclass(frozen=True, slots=True)
class Target:
    """A layer whose units are explained."""

    name: str
    tensor: str  # its tensor in the model
    steps: list[Step]  # from the picture to the layer
    shapes: list[tuple[int, ...]]  # of the input of each step, then of the layer

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer, (C, H, W) or (D,), at the recipe's size."""
        return self.shapes[-1]


@dataclass(frozen=True, slots=True)
class Projection:
    """Writes all outputs of one layer."""

    back: BackwardWriter
    target: Target

    def write(self) -> None:
        """Write the peaks, the kept activation and its three projections."""
        graph, target = self.back.graph, self.target
        if len(target.shape) == 3:
            flat = graph.op("Reshape", target.tensor, graph.constant([0, 0, -1]))
            places = graph.op("ArgMax", flat, axis=2, keepdims=1)
            peaks = graph.op("GatherElements", flat, places, axis=2)
            graph.output(f"peaks/{target.name}", graph.op("Reshape", peaks, graph.constant([0, -1])))
            graph.output(
                f"places/{target.name}", graph.op("Reshape", places, graph.constant([0, -1])), TensorProto.INT64
            )
        value, place = self._kept()
        graph.output(f"value/{target.name}", graph.op("Reshape", value, graph.constant([-1])))
        graph.output(f"place/{target.name}", graph.op("Reshape", place, graph.constant([-1])), TensorProto.INT64)
        for rule in RULES:
            graph.output(f"pixels/{rule}/{target.name}", self._pixels(rule, value, place))

    @property
    def _is_rectified(self) -> bool:
        return self.target.steps[-1].kind == "relu"

    @property
    def _maker(self) -> Step:
        """The operation that makes the layer, without its ReLU."""
        return self.target.steps[-2 if self._is_rectified else -1]

    @property
    def _is_filtered(self) -> bool:
        """Whether one filter, applied at every pixel, makes each map of the layer."""
        return self._maker.kind == "conv" and self._maker.stride == self._maker.dilation == 1

    def _kept(self) -> tuple[str, str]:
        """Return the activation that is kept, float32 (N, 1), and its position, int64 (N, 1)."""
        graph, column = self.back.graph, self.back.graph.constant([-1, 1])
        if len(self.target.shape) == 1:
            unit = graph.op("Reshape", UNIT, column)
            return graph.op("GatherElements", self.target.tensor, unit, axis=1), graph.op("Sub", unit, unit)
        flat = graph.op("Reshape", self._map(), graph.constant([0, -1]))
        best = graph.op("ArgMax", flat, axis=1, keepdims=1)
        wanted = graph.op("Reshape", POSITION, column)
        place = graph.op("Where", graph.op("Less", wanted, graph.constant(0)), best, wanted)
        return graph.op("GatherElements", flat, place, axis=1), place

    def _map(self) -> str:
        """Return the map of the unit, (N, 1, H, W) or (N, H, W), without computing the other maps if possible."""
        graph, step = self.back.graph, self._maker
        if not self._is_filtered:
            return graph.op(
                "GatherND", self.target.tensor, graph.op("Reshape", UNIT, graph.constant([-1, 1])), batch_dims=1
            )
        k = step.kernel
        by_place = graph.constant([0, 0, -1])
        taps = graph.op("Transpose", graph.op("Reshape", self._filters(), by_place), perm=[0, 2, 1])
        products = graph.op("MatMul", taps, graph.op("Reshape", step.input, by_place))  # (N, k * k, H * W)
        size = graph.op("Concat", graph.constant([0, -1]), graph.op("Shape", step.input, start=2), axis=0)
        eye = graph.op("EyeLike", graph.filled(graph.constant([k * k, k * k])))
        shifts = graph.op("Reshape", eye, graph.constant([1, k * k, k, k]))
        pads = [step.pads[0]] * 2 + [step.pads[1]] * 2
        values = graph.op("Conv", graph.op("Reshape", products, size), shifts, pads=pads)
        if len(step.node.input) > 2:
            bias = graph.op("Gather", step.node.input[2], UNIT, axis=0)
            values = graph.op("Add", values, graph.op("Reshape", bias, graph.constant([-1, 1, 1, 1])))
        return graph.op("Relu", values) if self._is_rectified else values

    def _filters(self) -> str:
        """Return the filter of the unit, (N, C, k, k), with zeros for the maps outside its group."""
        graph, step = self.back.graph, self._maker
        out, maps, k, _ = self.back.chain.shape(step.node.input[1])
        own = graph.op("Gather", step.node.input[1], UNIT, axis=0)
        group = step.attribute("group", 1)
        if group == 1:
            return own
        which = self._one_hot(graph.op("Div", UNIT, graph.constant(out // group)), group)
        placed = graph.op(
            "Mul",
            graph.op("Reshape", which, graph.constant([-1, group, 1, 1, 1])),
            graph.op("Reshape", own, graph.constant([-1, 1, maps, k, k])),
        )
        return graph.op("Reshape", placed, graph.constant([-1, group * maps, k, k]))

    def _one_hot(self, index: str, depth: int) -> str:
        graph = self.back.graph
        return graph.op("OneHot", index, graph.constant(depth), graph.constant([0, 1], np.float32), axis=-1)

    def _pixels(self, rule: Rule, value: str, place: str) -> str:
        back, graph, target = self.back, self.back.graph, self.target
        amount = value
        if rule == "gradient":
            is_on = graph.op("Cast", graph.op("Greater", value, graph.number(0)), to=TensorProto.FLOAT)
            amount = is_on if self._is_rectified else graph.filled(graph.op("Shape", value), 1.0)
        signal, n_left = self._seed(amount, place)
        for i in reversed(range(n_left)):
            signal = back.step(target.steps[i], signal, rule, target.shapes[i])
        return back.windows.whole(signal, back.chain.image, target.shapes[0])

    def _seed(self, amount: str, place: str) -> tuple[Signal, int]:
        """Return the signal that starts with ``amount`` (N, 1) at one unit, and how many steps back are left.

        The step that makes the layer needs only the weights of the unit, so it is done at once.
        """
        back, graph, target, step = self.back, self.back.graph, self.target, self._maker
        n_left = target.steps.index(step)
        if step.kind == "dense":
            axis = 0 if step.attribute("transB", 0) else 1
            own = graph.op("Gather", step.node.input[1], UNIT, axis=axis)
            row = own if axis == 0 else graph.op("Transpose", own, perm=[1, 0])
            return Signal(graph.op("Mul", row, amount)), n_left
        if len(target.shape) == 1:
            return Signal(graph.op("Mul", self._one_hot(UNIT, target.shape[0]), amount)), len(target.steps)
        width = graph.op("Shape", self._map(), start=-1)
        window = Window(graph.op("Div", place, width), graph.op("Mod", place, width))
        scale = graph.op("Reshape", amount, graph.constant([-1, 1, 1, 1]))
        if self._is_filtered:
            seen = Signal(graph.op("Mul", self._filters(), scale), window.before(step))
            return back.windows.settle(seen, step.input, target.shapes[n_left]), n_left
        own = graph.op("Reshape", self._one_hot(UNIT, target.shape[0]), graph.constant([0, -1, 1, 1]))
        return Signal(graph.op("Mul", own, scale), window), len(target.steps)
