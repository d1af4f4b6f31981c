"""Read a network as a chain of steps: convolution, ReLU, pooling, ... from a layer down to the picture.

A new kind of step needs a name in ``Kind``, a branch in ``LayerChain._read``, and its way back in ``backward_rules``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, NodeProto

from fc7.errors import FailedPrecondition
from fc7_models.deconv.onnx_graph import OnnxGraph, attribute, descendants

Kind = Literal[
    "conv",
    "relu",
    "max_pool",
    "mean_pool",
    "global_pool",  # the mean of a whole map
    "grid_max_pool",  # the maximum of each cell of a fixed grid, whatever the size of the map
    "lrn",  # local response normalisation
    "batch_norm",
    "dense",
    "flatten",
    "permute",  # a new order of the channels
]
_SIGNAL_UNCHANGED = ("Identity", "Dropout", "Add")  # operators that pass a signal back as it is


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on one tensor.

    Kernel, stride, dilation and padding belong to "conv", "max_pool" and "mean_pool"; both axes have the same.
    """

    kind: Kind
    node: NodeProto  # the last one, if several nodes make up the operation
    input: str
    output: str
    kernel: int = 1  # rows covered: with a dilation more than there are weights in a column
    stride: int = 1
    dilation: int = 1
    pads: tuple[int, int] = (0, 0)  # before the first row and column, after the last ones
    rounds_up: bool = False
    inner: tuple[NodeProto, ...] = ()  # the other nodes of the operation that its way back reads

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the node, or ``default`` if the node does not set it."""
        return attribute(self.node, name, default)

    def out_size(self, size: int) -> int:
        """Return the number of output rows for an input of ``size`` rows."""
        free = size + sum(self.pads) - self.kernel
        out = (free + (self.stride - 1 if self.rounds_up else 0)) // self.stride + 1
        return out - 1 if self.rounds_up and (out - 1) * self.stride >= size + self.pads[0] else out


class LayerChain(OnnxGraph):
    """An ONNX network in which a single path leads from the picture to each layer.

    Parameters
    ----------
    model
        Its first input is the picture, its outputs are layers.

    Raises
    ------
    FailedPrecondition
        From the methods: the network branches, or uses an operator that has no way back here.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__(model)
        self.image = self.inputs[0]
        self._from_image = descendants(self.nodes, self.image)

    def walk(self, tensor: str) -> list[Step]:
        """Return the steps from ``tensor`` back to the picture, the last step of the network first."""
        steps: list[Step] = []
        while tensor != self.image:
            node = self.makers.get(tensor)
            if node is None or tensor not in self._from_image:
                raise no_deconvnet(f"tensor {tensor!r} does not depend on the picture")
            if node.op_type in _SIGNAL_UNCHANGED:
                tensor = self._image_input(node)
                continue
            steps.append(self._read(node))
            tensor = steps[-1].input
        return steps

    def shapes(self, steps: Sequence[Step], px: int) -> list[tuple[int, ...]]:
        """Return the shape of each step's input, (C, H, W) or (D,), and that of the last output.

        Parameters
        ----------
        steps
            First step first.
        px
            Height and width of the picture.
        """
        shapes: list[tuple[int, ...]] = [(3, px, px)]
        for step in steps:
            shapes.append(self._out_shape(step, shapes[-1]))
            if min(shapes[-1]) < 1:
                raise no_deconvnet(f"tensor {step.output!r} is empty for a picture of {px} pixels")
        return shapes

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight.

        Raises
        ------
        FailedPrecondition
            The file does not store it: the graph computes it.
        """
        weight = self.stored(name)
        if weight is None:
            raise no_deconvnet(f"weight {name!r} is computed, not stored in the file")
        return tuple(weight.dims)

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

    def _image_input(self, node: NodeProto) -> str:
        """Return the one input of a node that depends on the picture."""
        found = [name for name in node.input if name in self._from_image]
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
        if op == "LRN" and attribute(node, "size", 5) % 2:
            return Step("lrn", node, x, y)
        if op == "BatchNormalization":
            return Step("batch_norm", node, x, y)
        if op == "GlobalAveragePool" or (op == "ReduceMean" and self._reduced_axes(node) == {2, 3}):
            return Step("global_pool", node, x, y)
        if op in ("Gemm", "MatMul"):
            return self._dense(node)
        if op in ("Flatten", "Squeeze") or (op == "Reshape" and self._is_flattening(node)):
            return Step("flatten", node, x, y)
        if op == "Gather" and attribute(node, "axis", 0) == 1:
            return self._permutation(node)
        step = self._recognise_lrn(node) if op == "Div" else self._recognise_grid(node) if op == "Concat" else None
        if step is None:
            raise no_deconvnet(f"{op} {y!r} has no way back")
        return step

    def _spatial(self, kind: Kind, node: NodeProto, kernel: Sequence[int]) -> Step:
        stride = attribute(node, "strides", [1, 1])
        dilation = attribute(node, "dilations", [1, 1])
        pads = attribute(node, "pads", [0, 0, 0, 0])
        pairs = (kernel, stride, dilation, pads[:2], pads[2:])
        if any(len(pair) != 2 or pair[0] != pair[1] for pair in pairs):
            raise no_deconvnet(
                f"{node.op_type} {node.output[0]!r} is not square: kernel {list(kernel)}, pads {list(pads)}"
            )
        if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise no_deconvnet(f"{node.op_type} {node.output[0]!r} uses auto_pad instead of explicit padding")
        extent = (kernel[0] - 1) * dilation[0] + 1
        return Step(
            kind, node, node.input[0], node.output[0],
            kernel=extent, stride=stride[0], dilation=dilation[0], pads=(pads[0], pads[2]),
            rounds_up=bool(attribute(node, "ceil_mode", 0)),
        )  # fmt: skip

    def _pool(self, node: NodeProto) -> Step:
        step = self._spatial(
            "max_pool" if node.op_type == "MaxPool" else "mean_pool", node, attribute(node, "kernel_shape", [])
        )
        if step.kind == "mean_pool" and (any(step.pads) or step.rounds_up or step.dilation > 1):
            raise no_deconvnet(f"AveragePool {step.output!r} averages over padding")
        return step

    def _dense(self, node: NodeProto) -> Step:
        plain = all(attribute(node, name, default) == default for name, default in (("alpha", 1.0), ("transA", 0)))
        if not plain or node.input[1] in self._from_image or len(self.shape(node.input[1])) != 2:
            raise no_deconvnet(f"{node.op_type} {node.output[0]!r} is not a plain fully connected layer")
        return Step("dense", node, node.input[0], node.output[0])

    def _permutation(self, node: NodeProto) -> Step:
        order = self.constant(node.input[1])
        if order is None or not np.array_equal(np.sort(order.ravel()), np.arange(order.size)) or order.ndim != 1:
            raise no_deconvnet(f"Gather {node.output[0]!r} is not a permutation of the channels")
        return Step("permute", node, node.input[0], node.output[0])

    def _reduced_axes(self, node: NodeProto) -> set[int]:
        given = self.constant(node.input[1]) if len(node.input) > 1 else attribute(node, "axes", None)
        return {int(axis) % 4 for axis in given} if given is not None else set()

    def _is_flattening(self, node: NodeProto) -> bool:
        target = self.constant(node.input[1])
        return target is not None and len(target) == 2

    def _recognise_lrn(self, node: NodeProto) -> Step | None:
        """Recognise local response normalisation in the form that ``networks.layers`` exports."""
        power = self.makers.get(node.input[1])
        roots = [self.makers.get(name) for name in power.input] if power is not None else []
        root = next((r for r in roots if r is not None and r.op_type == "Sqrt"), None)
        band = self.makers.get(root.input[0]) if root is not None else None
        square = self.makers.get(band.input[0]) if band is not None and band.op_type == "Conv" else None
        if power is None or root is None or band is None or square is None or len(band.input) < 3:
            return None
        inner = self.makers.get(power.input[1])
        is_power = power.op_type == "Mul" and power.input[0] == root.output[0]
        is_power &= inner is not None and inner.op_type == "Sqrt" and inner.input[0] == root.output[0]
        is_square = square.op_type == "Mul" and list(square.input) == [node.input[0]] * 2
        weight = self.constant(band.input[1])
        is_band = weight is not None and weight.shape[2:] == (1, 1) and np.array_equal(weight, weight.swapaxes(0, 1))
        return (
            Step("lrn", node, node.input[0], node.output[0], inner=(band,)) if is_power & is_square & is_band else None
        )

    def _recognise_grid(self, node: NodeProto) -> Step | None:
        """Recognise the maximum of each cell of a grid in the form that ``networks.layers`` exports."""
        columns = self._cells(node, 3)
        if columns is None:
            return None
        between = self.makers.get(columns[0].input[0])
        rows = self._cells(between, 2) if between is not None else None
        if rows is None or len(rows) != len(columns):
            return None
        return Step("grid_max_pool", node, rows[0].input[0], node.output[0], inner=(*rows, *columns))

    def _cells(self, node: NodeProto, axis: int) -> list[NodeProto] | None:
        """Return the slices along ``axis`` whose maxima a Concat joins, or None if it does not."""
        slices: list[NodeProto] = []
        if node.op_type != "Concat" or attribute(node, "axis", 0) != axis:
            return None
        for name in node.input:
            top = self.makers.get(name)
            cut = self.makers.get(top.input[0]) if top is not None and top.op_type == "ReduceMax" else None
            if top is None or cut is None or cut.op_type != "Slice" or self._reduced_axes(top) != {axis}:
                return None
            along = self.constant(cut.input[3]) if len(cut.input) > 3 else None
            if along is None or along.tolist() != [axis] or cut.input[0] != (slices or [cut])[0].input[0]:
                return None
            slices.append(cut)
        return slices


def no_deconvnet(why: str) -> FailedPrecondition:
    """Return the error that says why a network has no deconvnet."""
    return FailedPrecondition(
        f"this network can have no deconvnet: {why}. `fc7 explain occlude` works with every network"
    )
