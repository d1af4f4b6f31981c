"""Questions that every reader of an ONNX graph asks: what makes a tensor, what depends on it, what is constant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


class OnnxGraph:
    """An ONNX model, indexed by tensor. The model must not change while the index is in use.

    Attributes
    ----------
    makers
        Tensor -> the node that computes it.
    weights
        Initializers by name.
    inputs, outputs
        Names in the order of the file. Initializers that an old file lists as inputs are left out.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.nodes = list(graph.node)
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.weights]
        self.outputs = [value.name for value in graph.output]

    def has(self, tensor: str) -> bool:
        """Return whether the graph has a tensor of this name."""
        return tensor in self.makers or tensor in self.weights or tensor in self.inputs

    def stored(self, tensor: str) -> TensorProto | None:
        """Return a tensor as the file stores it, or None if the graph computes it.

        Bundles store fp32 weights as fp16 or int8 behind a Cast.
        """
        node = self.makers.get(tensor)
        if node is None:
            return self.weights.get(tensor)
        if node.op_type in ("Cast", "Identity"):
            return self.stored(node.input[0])
        return attribute(node, "value", None) if node.op_type == "Constant" else None

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Return the value of a tensor, in the stored dtype, or None if the graph computes it."""
        stored = self.stored(tensor)
        return None if stored is None else numpy_helper.to_array(stored)


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node, or ``default`` if the node does not set it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def descendants(nodes: Iterable[NodeProto], tensor: str) -> set[str]:
    """Return ``tensor`` and all tensors computed from it. Nodes are in the order of execution, as in every file."""
    found = {tensor}
    for node in nodes:
        if not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def ancestors(nodes: Iterable[NodeProto], tensors: Iterable[str]) -> list[NodeProto]:
    """Return the nodes that ``tensors`` are computed by, in the order given, which is that of execution."""
    wanted, found = set(tensors), []
    for node in reversed(list(nodes)):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]
