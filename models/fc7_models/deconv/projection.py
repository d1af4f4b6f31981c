"""The projection of one unit of a layer, in ONNX nodes: what is kept, and the way down from it."""

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
    tensor: str  # of the model
    steps: list[Step]  # from the picture to it
    shapes: list[tuple[int, ...]]  # of each step's input, and of the layer

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) or (D,), at the recipe's size."""
        return self.shapes[-1]


@dataclass(frozen=True, slots=True)
class Projection:
    """Writes what the file gives for one layer."""

    back: BackwardWriter
    target: Target

    def write(self) -> None:
        """Write peaks, the kept activation and its three projections."""
        to, target = self.back.to, self.target
        if len(target.shape) == 3:
            flat = to.op("Reshape", target.tensor, to.constant([0, 0, -1]))
            places = to.op("ArgMax", flat, axis=2, keepdims=1)
            peaks = to.op("GatherElements", flat, places, axis=2)
            to.output(f"peaks/{target.name}", to.op("Reshape", peaks, to.constant([0, -1])))
            to.output(f"places/{target.name}", to.op("Reshape", places, to.constant([0, -1])), TensorProto.INT64)
        value, place = self._kept()
        to.output(f"value/{target.name}", to.op("Reshape", value, to.constant([-1])))
        to.output(f"place/{target.name}", to.op("Reshape", place, to.constant([-1])), TensorProto.INT64)
        for rule in RULES:
            to.output(f"pixels/{rule}/{target.name}", self._pixels(rule, value, place))

    @property
    def _is_rectified(self) -> bool:
        return self.target.steps[-1].kind == "relu"

    @property
    def _maker(self) -> Step:
        """The operation that makes the layer, its ReLU aside."""
        return self.target.steps[-2 if self._is_rectified else -1]

    @property
    def _is_filtered(self) -> bool:
        """Whether one filter alone makes a map of the layer."""
        return self._maker.kind == "conv" and self._maker.stride == self._maker.dilation == 1

    def _kept(self) -> tuple[str, str]:
        """Return the activation that is kept, float32 (N, 1), and its position, int64 (N, 1)."""
        to, column = self.back.to, self.back.to.constant([-1, 1])
        if len(self.target.shape) == 1:
            unit = to.op("Reshape", UNIT, column)
            return to.op("GatherElements", self.target.tensor, unit, axis=1), to.op("Sub", unit, unit)
        flat = to.op("Reshape", self._map(), to.constant([0, -1]))
        best = to.op("ArgMax", flat, axis=1, keepdims=1)
        wanted = to.op("Reshape", POSITION, column)
        place = to.op("Where", to.op("Less", wanted, to.constant(0)), best, wanted)
        return to.op("GatherElements", flat, place, axis=1), place

    def _map(self) -> str:
        """Return the map of the unit, (N, 1, H, W) or (N, H, W), without the others of its layer."""
        to, step = self.back.to, self._maker
        if not self._is_filtered:
            return to.op("GatherND", self.target.tensor, to.op("Reshape", UNIT, to.constant([-1, 1])), batch_dims=1)
        k = step.kernel
        by_place = to.constant([0, 0, -1])
        taps = to.op("Transpose", to.op("Reshape", self._filters(), by_place), perm=[0, 2, 1])
        products = to.op("MatMul", taps, to.op("Reshape", step.input, by_place))  # (N, k * k, H * W)
        size = to.op("Concat", to.constant([0, -1]), to.op("Shape", step.input, start=2), axis=0)
        eye = to.op("EyeLike", to.filled(to.constant([k * k, k * k])))
        shifts = to.op("Reshape", eye, to.constant([1, k * k, k, k]))
        pads = [step.pads[0]] * 2 + [step.pads[1]] * 2
        values = to.op("Conv", to.op("Reshape", products, size), shifts, pads=pads)
        if len(step.node.input) > 2:
            bias = to.op("Gather", step.node.input[2], UNIT, axis=0)
            values = to.op("Add", values, to.op("Reshape", bias, to.constant([-1, 1, 1, 1])))
        return to.op("Relu", values) if self._is_rectified else values

    def _filters(self) -> str:
        """Return the filter of the unit, (N, C, k, k), zero for the maps that its group does not see."""
        to, step = self.back.to, self._maker
        out, maps, k, _ = self.back.chain.shape(step.node.input[1])
        own = to.op("Gather", step.node.input[1], UNIT, axis=0)
        group = step.attribute("group", 1)
        if group == 1:
            return own
        which = self._one_hot(to.op("Div", UNIT, to.constant(out // group)), group)
        placed = to.op(
            "Mul",
            to.op("Reshape", which, to.constant([-1, group, 1, 1, 1])),
            to.op("Reshape", own, to.constant([-1, 1, maps, k, k])),
        )
        return to.op("Reshape", placed, to.constant([-1, group * maps, k, k]))

    def _one_hot(self, index: str, depth: int) -> str:
        to = self.back.to
        return to.op("OneHot", index, to.constant(depth), to.constant([0, 1], np.float32), axis=-1)

    def _pixels(self, rule: Rule, value: str, place: str) -> str:
        back, to, target = self.back, self.back.to, self.target
        amount = value
        if rule == "gradient":
            is_on = to.op("Cast", to.op("Greater", value, to.number(0)), to=TensorProto.FLOAT)
            amount = is_on if self._is_rectified else to.filled(to.op("Shape", value), 1.0)
        signal, n_left = self._seed(amount, place)
        for i in reversed(range(n_left)):
            signal = back.step(target.steps[i], signal, rule, target.shapes[i])
        return back.windows.whole(signal, back.chain.image, target.shapes[0])

    def _seed(self, amount: str, place: str) -> tuple[Signal, int]:
        """Return the signal of one unit of ``amount`` (N, 1) as far down as it is known at once, and the steps left."""
        back, to, target, step = self.back, self.back.to, self.target, self._maker
        n_left = target.steps.index(step)
        if step.kind == "dense":
            axis = 0 if step.attribute("transB", 0) else 1
            own = to.op("Gather", step.node.input[1], UNIT, axis=axis)
            row = own if axis == 0 else to.op("Transpose", own, perm=[1, 0])
            return Signal(to.op("Mul", row, amount)), n_left
        if len(target.shape) == 1:
            return Signal(to.op("Mul", self._one_hot(UNIT, target.shape[0]), amount)), len(target.steps)
        width = to.op("Shape", self._map(), start=-1)
        window = Window(to.op("Div", place, width), to.op("Mod", place, width))
        scale = to.op("Reshape", amount, to.constant([-1, 1, 1, 1]))
        if self._is_filtered:
            seen = Signal(to.op("Mul", self._filters(), scale), window.before(step))
            return back.windows.settle(seen, step.input, target.shapes[n_left]), n_left
        own = to.op("Reshape", self._one_hot(UNIT, target.shape[0]), to.constant([0, -1, 1, 1]))
        return Signal(to.op("Mul", own, scale), window), len(target.steps)
