"""Find the layers of a bundle's graph, including those that the bundle does not name, and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from fc7_service.bundle.bundle import Bundle

_MAX_CONVOLUTIONS = 16  # as VGG-19 has; of a deeper network only the bundle's own layers are used
_ACTIVATIONS = {"Clip", "Elu", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
_SAME_UNITS = _ACTIVATIONS | {"Add", "BatchNormalization", "Identity"}
_PRODUCTS = {"Conv", "Gemm", "MatMul"}


@dataclass(frozen=True, slots=True)
class GraphLayers:
    """The layers of a graph."""

    graph: bytes  # ONNX; every layer below is one of its outputs
    layers: dict[str, str]  # layer -> output of the graph, first to last
    weights: dict[str, NDArray[np.float32]]  # layer -> (units, ...), if a convolution or product computes it
    strides: dict[str, int]  # layer -> vertical stride of its convolution
    filters: NDArray[np.float32]  # of the first convolution, (units, channels, height, width), or (0, ...)


def find_layers(bundle: Bundle) -> GraphLayers:
    """Find the layers of a bundle, named or not, and their weights.

    Each convolution that is followed by an activation is a layer, read after that activation. If the bundle does not
    name it, it is called "conv1", "conv2", ... in the order of the graph. Convolutions with the same filters see the
    picture at different sizes; only the first counts. If there are more than 16, only the bundle's own layers are
    returned.

    Raises
    ------
    DataLoss, InvalidArgument
        See ``Bundle.graph``.
    """
    model = onnx.load_from_string(bundle.graph())
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    inner = _inner_layers(graph, bundle)
    given = {output.name for output in graph.output}
    new = [name for name in inner.values() if name not in given]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in new)
    layers = inner | {name: name for name in bundle.layers}
    products = {layer: _product(producers, output) for layer, output in layers.items()}
    all_weights = {layer: _weights(graph, producers, node) for layer, node in products.items() if node is not None}
    return GraphLayers(
        model.SerializeToString(),
        layers,
        {layer: weights for layer, weights in all_weights.items() if weights is not None},
        {layer: _stride(node) for layer, node in products.items() if node is not None and node.op_type == "Conv"},
        _first_filters(graph, producers),
    )


def _inner_layers(graph: GraphProto, bundle: Bundle) -> dict[str, str]:
    """Return the convolutions with an activation that the bundle does not name: layer -> tensor."""
    filters: dict[str, str] = {}  # filters -> their first convolution
    for node in graph.node:
        if node.op_type == "Conv":
            filters.setdefault(node.input[1], node.output[0])
    convolved = set(filters.values())
    activated = [n.output[0] for n in graph.node if n.op_type in _ACTIVATIONS and n.input[0] in convolved]
    if len(activated) > _MAX_CONVOLUTIONS:
        return {}
    # In imported networks, an Identity at the end names a layer.
    ends = {n.input[0] for n in graph.node if n.op_type == "Identity" and n.output[0] in bundle.layers}
    named = ends | set(bundle.layers)
    layers = {f"conv{i + 1}": tensor for i, tensor in enumerate(activated) if tensor not in named}
    return {layer: tensor for layer, tensor in layers.items() if layer not in bundle.layers}


def _product(producers: dict[str, NodeProto], tensor: str) -> NodeProto | None:
    """Return the convolution or matrix product whose activation ``tensor`` is, or None."""
    while tensor in producers:
        node = producers[tensor]
        if node.op_type in _PRODUCTS:
            return node
        made = [
            name for name in node.input if name in producers and producers[name].op_type not in ("Cast", "Constant")
        ]
        if node.op_type not in _SAME_UNITS or len(made) != 1:
            return None
        tensor = made[0]
    return None


def _weights(graph: GraphProto, producers: dict[str, NodeProto], product: NodeProto) -> NDArray[np.float32] | None:
    """Return the weights of a convolution or product, (units, ...), if the file holds them."""
    values = _constant(graph, producers, product.input[1])
    is_units_first = product.op_type == "Conv" or any(a.name == "transB" and a.i for a in product.attribute)
    return values if values is None or is_units_first else values.T


def _stride(convolution: NodeProto) -> int:
    return next((int(a.ints[0]) for a in convolution.attribute if a.name == "strides"), 1)


def _first_filters(graph: GraphProto, producers: dict[str, NodeProto]) -> NDArray[np.float32]:
    for node in graph.node:
        values = _constant(graph, producers, node.input[1]) if node.op_type == "Conv" else None
        if values is not None and values.ndim == 4:
            return values
    return np.zeros((0, 3, 1, 1), np.float32)


def _constant(graph: GraphProto, producers: dict[str, NodeProto], name: str) -> NDArray[np.float32] | None:
    """Return a weight as float32: an initializer or a constant, possibly behind a Cast; otherwise None."""
    while name in producers and producers[name].op_type in ("Cast", "Identity"):
        name = producers[name].input[0]
    tensors: list[TensorProto] = [t for t in graph.initializer if t.name == name]
    if name in producers and producers[name].op_type == "Constant":
        tensors = [a.t for a in producers[name].attribute if a.name == "value"]
    return numpy_helper.to_array(tensors[0]).astype(np.float32) if tensors else None
