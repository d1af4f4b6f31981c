"""A network read as a chain: one step after another from a layer down to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from fc7.errors import FailedPrecondition

Kind = Literal[
    "conv",
    "relu",
    "max_pool",
    "mean_pool",
    "global_pool",
    "grid_max_pool",
    "lrn",
    "batch_norm",
    "dense",
    "flatten",
    "permute",
]
_PASSED = ("Identity", "Dropout", "Add")  # what changes no signal on its way back


@dataclass(frozen=True, slots=True)
class Step:
    """An operation that one tensor goes through.

    The geometry (of "conv", "max" and "mean") is the same along both axes.
    """

    kind: Kind
    node: NodeProto  # of a pattern, its last
    input: str
    output: str
    kernel: int = 1  # its extent: dilation counted in
    stride: int = 1
    dilation: int = 1
    pads: tuple[int, int] = (0, 0)  # at the upper left, at the lower right
    rounds_up: bool = False
    inner: tuple[NodeProto, ...] = ()  # of a pattern, what was recognised

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the node."""
        return _attribute(self.node, name, default)

    def out_size(self, size: int) -> int:
        """Return the height of the map that this step makes of one of height ``size``."""
        free = size + sum(self.pads) - self.kernel
        out = (free + (self.stride - 1 if self.rounds_up else 0)) // self.stride + 1
        return out - 1 if self.rounds_up and (out - 1) * self.stride >= size + self.pads[0] else out


class LayerChain:
    """An ONNX network whose every layer is reached from the picture by one path.

    Parameters
    ----------
    model
        Its first input that is no weight is the picture; its outputs are layers.

    Raises
    ------
    FailedPrecondition
        While it is read: it branches, or uses an operator that has no way back here.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self.image: str = next(value.name for value in graph.input if value.name not in self._weights)
        self.outputs = [value.name for value in graph.output]
        self._seen = {self.image}  # tensors that depend on the picture
        for node in graph.node:
            if not self._seen.isdisjoint(node.input):
                self._seen.update(node.output)

    def walk(self, tensor: str) -> list[Step]:
        """Return the steps between ``tensor`` and the picture, that of ``tensor`` first."""
        steps: list[Step] = []
        while tensor != self.image:
            node = self._makers.get(tensor)
            if node is None or tensor not in self._seen:
                raise no_deconvnet(f"tensor {tensor!r} is not made of the picture")
            if node.op_type in _PASSED:
                tensor = self._only(node)
                continue
            steps.append(self._read(node))
            tensor = steps[-1].input
        return steps

    def shapes(self, steps: Sequence[Step], px: int) -> list[tuple[int, ...]]:
        """Return the shape of each step's input, (C, H, W) or (D,), for a picture of ``px`` pixels.

        ``steps`` and shapes run from the picture on; the last shape is that of the last step's output.
        """
        shapes: list[tuple[int, ...]] = [(3, px, px)]
        for step in steps:
            shapes.append(self._out_shape(step, shapes[-1]))
            if min(shapes[-1]) < 1:
                raise no_deconvnet(f"tensor {step.output!r} is empty for a picture of {px} pixels")
        return shapes

    def has(self, tensor: str) -> bool:
        """Whether a tensor bears this name."""
        return tensor in self._makers or tensor in self._weights or tensor == self.image

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the value of a tensor that is written in the file, else None."""
        if name in self._weights:
            return numpy_helper.to_array(self._weights[name])
        node = self._makers.get(name)
        if node is None or node.op_type not in ("Cast", "Constant"):
            return None
        if node.op_type == "Cast":
            return self.constant(node.input[0])
        return next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), None)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight.

        Raises
        ------
        FailedPrecondition
            It is computed, not written in the file.
        """
        if name in self._weights:
            return tuple(self._weights[name].dims)
        node = self._makers.get(name)
        if node is not None and node.op_type == "Cast":
            return self.shape(node.input[0])
        value = self.constant(name)
        if value is None:
            raise no_deconvnet(f"weight {name!r} is not written in the file")
        return value.shape

    def _out_shape(self, step: Step, shape: tuple[int, ...]) -> tuple[int, ...]:
        is_map = len(shape) == 3
        if is_map == (step.kind == "dense") and step.kind not in ("relu", "batch_norm", "flatten"):
            raise no_deconvnet(f"{step.node.op_type} {step.output!r} takes {'a map' if is_map else 'a vector'}")
        if step.kind in ("conv", "max_pool", "mean_pool"):
            size = step.out_size(shape[1])
            return (self.shape(step.node.input[1])[0] if step.kind == "conv" else shape[0], size, size)
        if step.kind == "grid_max_pool":
            return (shape[0], len(step.inner) // 2, len(step.inner) // 2)
        if step.kind == "global_pool":
            return (shape[0], 1, 1) if step.attribute("keepdims", 1) else shape[:1]
        if step.kind == "dense":
            return (self.shape(step.node.input[1])[0 if step.attribute("transB", 0) else 1],)
        return (int(np.prod(shape)),) if step.kind == "flatten" else shape

    def _only(self, node: NodeProto) -> str:
        """Return the one input that depends on the picture."""
        found = [name for name in node.input if name in self._seen]
        if len(found) != 1:
            raise no_deconvnet(f"{node.op_type} {node.output[0]!r} joins {len(found)} branches")
        return found[0]

    def _read(self, node: NodeProto) -> Step:
        op, x, y = node.op_type, node.input[0], node.output[0]
        if op == "Conv":
            return self._spatial("conv", node, self.shape(node.input[1])[2:])
        if op in ("MaxPool", "AveragePool"):
            return self._pool(node)
        if op == "Relu":
            return Step("relu", node, x, y)
        if op == "LRN" and _attribute(node, "size", 5) % 2:
            return Step("lrn", node, x, y)
        if op == "BatchNormalization":
            return Step("batch_norm", node, x, y)
        if op == "GlobalAveragePool" or (op == "ReduceMean" and self._axes(node) == {2, 3}):
            return Step("global_pool", node, x, y)
        if op in ("Gemm", "MatMul"):
            return self._dense(node)
        if op in ("Flatten", "Squeeze") or (op == "Reshape" and self._is_flat(node)):
            return Step("flatten", node, x, y)
        if op == "Gather" and _attribute(node, "axis", 0) == 1:
            return self._order(node)
        step = self._norm(node) if op == "Div" else self._grid(node) if op == "Concat" else None
        if step is None:
            raise no_deconvnet(f"{op} {y!r} has no way back")
        return step

    def _spatial(self, kind: Kind, node: NodeProto, kernel: Sequence[int]) -> Step:
        stride = _attribute(node, "strides", [1, 1])
        dilation = _attribute(node, "dilations", [1, 1])
        pads = _attribute(node, "pads", [0, 0, 0, 0])
        pairs = (kernel, stride, dilation, pads[:2], pads[2:])
        if any(len(pair) != 2 or pair[0] != pair[1] for pair in pairs):
            raise no_deconvnet(
                f"{node.op_type} {node.output[0]!r} is not square: kernel {list(kernel)}, pads {list(pads)}"
            )
        if _attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise no_deconvnet(f"{node.op_type} {node.output[0]!r} pads by itself")
        extent = (kernel[0] - 1) * dilation[0] + 1
        return Step(
            kind, node, node.input[0], node.output[0],
            kernel=extent, stride=stride[0], dilation=dilation[0], pads=(pads[0], pads[2]),
            rounds_up=bool(_attribute(node, "ceil_mode", 0)),
        )  # fmt: skip

    def _pool(self, node: NodeProto) -> Step:
        step = self._spatial(
            "max_pool" if node.op_type == "MaxPool" else "mean_pool", node, _attribute(node, "kernel_shape", [])
        )
        if step.kind == "mean_pool" and (any(step.pads) or step.rounds_up or step.dilation > 1):
            raise no_deconvnet(f"AveragePool {step.output!r} reaches over the border")
        return step

    def _dense(self, node: NodeProto) -> Step:
        plain = all(_attribute(node, name, default) == default for name, default in (("alpha", 1.0), ("transA", 0)))
        if not plain or node.input[1] in self._seen or len(self.shape(node.input[1])) != 2:
            raise no_deconvnet(f"{node.op_type} {node.output[0]!r} is no fully connected layer")
        return Step("dense", node, node.input[0], node.output[0])

    def _order(self, node: NodeProto) -> Step:
        order = self.constant(node.input[1])
        if order is None or not np.array_equal(np.sort(order.ravel()), np.arange(order.size)) or order.ndim != 1:
            raise no_deconvnet(f"Gather {node.output[0]!r} is no order of channels")
        return Step("permute", node, node.input[0], node.output[0])

    def _axes(self, node: NodeProto) -> set[int]:
        given = self.constant(node.input[1]) if len(node.input) > 1 else _attribute(node, "axes", None)
        return {int(axis) % 4 for axis in given} if given is not None else set()

    def _is_flat(self, node: NodeProto) -> bool:
        target = self.constant(node.input[1])
        return target is not None and len(target) == 2

    def _norm(self, node: NodeProto) -> Step | None:
        """Recognise local response normalisation as ``networks.layers`` writes it."""
        power = self._makers.get(node.input[1])
        roots = [self._makers.get(name) for name in power.input] if power is not None else []
        root = next((r for r in roots if r is not None and r.op_type == "Sqrt"), None)
        band = self._makers.get(root.input[0]) if root is not None else None
        square = self._makers.get(band.input[0]) if band is not None and band.op_type == "Conv" else None
        if power is None or root is None or band is None or square is None or len(band.input) < 3:
            return None
        inner = self._makers.get(power.input[1])
        is_power = power.op_type == "Mul" and power.input[0] == root.output[0]
        is_power &= inner is not None and inner.op_type == "Sqrt" and inner.input[0] == root.output[0]
        is_square = square.op_type == "Mul" and list(square.input) == [node.input[0]] * 2
        weight = self.constant(band.input[1])
        is_band = weight is not None and weight.shape[2:] == (1, 1) and np.array_equal(weight, weight.swapaxes(0, 1))
        return (
            Step("lrn", node, node.input[0], node.output[0], inner=(band,)) if is_power & is_square & is_band else None
        )

    def _grid(self, node: NodeProto) -> Step | None:
        """Recognise the maximum over the cells of a grid as ``networks.layers`` writes it."""
        columns = self._cells(node, 3)
        if columns is None:
            return None
        between = self._makers.get(columns[0].input[0])
        rows = self._cells(between, 2) if between is not None else None
        if rows is None or len(rows) != len(columns):
            return None
        return Step("grid_max_pool", node, rows[0].input[0], node.output[0], inner=(*rows, *columns))

    def _cells(self, node: NodeProto, axis: int) -> list[NodeProto] | None:
        """Return the slices whose maxima along ``axis`` a Concat joins."""
        slices: list[NodeProto] = []
        if node.op_type != "Concat" or _attribute(node, "axis", 0) != axis:
            return None
        for name in node.input:
            top = self._makers.get(name)
            cut = self._makers.get(top.input[0]) if top is not None and top.op_type == "ReduceMax" else None
            if top is None or cut is None or cut.op_type != "Slice" or self._axes(top) != {axis}:
                return None
            along = self.constant(cut.input[3]) if len(cut.input) > 3 else None
            if along is None or along.tolist() != [axis] or cut.input[0] != (slices or [cut])[0].input[0]:
                return None
            slices.append(cut)
        return slices


def no_deconvnet(why: str) -> FailedPrecondition:
    """Return the error of a network that has no deconvnet."""
    return FailedPrecondition(f"no deconvnet for this network: {why}; occlusion explains any network")


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
