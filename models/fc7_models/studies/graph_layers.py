"""A bundle's graph taken apart: the layers inside it that the bundle does not name, and the weights behind each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from fc7_service.bundle.bundle import Bundle

_MOST = 16  # convolutions (VGG-19); a deeper network shows the layers of its bundle alone
_ACTIVATIONS = {"Clip", "Elu", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
_SAME_UNITS = _ACTIVATIONS | {"Add", "BatchNormalization", "Identity"}
_PRODUCTS = {"Conv", "Gemm", "MatMul"}


@dataclass(frozen=True, slots=True)
class GraphLayers:
    """What a graph holds."""

    graph: bytes  # ONNX, with every layer below among its outputs
    layers: dict[str, str]  # layer -> output of the graph, first to last
    weights: dict[str, NDArray[np.float32]]  # layer -> (units, ...), where a product makes it
    strides: dict[str, int]  # layer -> vertical stride of the convolution that makes it
    filters: NDArray[np.float32]  # of the first convolution, (units, channels, height, width); (0, ...) without one


def find_layers(bundle: Bundle) -> GraphLayers:
    """Find the layers of a bundle, named or not, and their weights.

    Each convolution that an activation follows is a layer after that activation: "conv1",
    "conv2", ... in the order of the graph, where the bundle does not name it itself; of those with
    the same filters, which see the picture at other sizes, the first. A network of more than 16
    such convolutions shows the layers of its bundle alone.

    Raises
    ------
    DataLoss, InvalidArgument
        See ``Bundle.graph``.
    """
    model = onnx.load_from_string(bundle.graph())
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    inner = _inner_layers(graph, bundle)
    given = {output.name for output in graph.output}
    new = [name for name in inner.values() if name not in given]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in new)
    layers = inner | {name: name for name in bundle.layers}
    products = {layer: _product(makers, output) for layer, output in layers.items()}
    found = {layer: _weights(graph, makers, node) for layer, node in products.items() if node is not None}
    return GraphLayers(
        model.SerializeToString(),
        layers,
        {layer: weights for layer, weights in found.items() if weights is not None},
        {layer: _stride(node) for layer, node in products.items() if node is not None and node.op_type == "Conv"},
        _first_filters(graph, makers),
    )


def _inner_layers(graph: GraphProto, bundle: Bundle) -> dict[str, str]:
    """Return the activated convolutions that the bundle does not name, as layer -> tensor."""
    filters: dict[str, str] = {}  # of the same filters the first: others see the picture at another size
    for node in graph.node:
        if node.op_type == "Conv":
            filters.setdefault(node.input[1], node.output[0])
    convolved = set(filters.values())
    activated = [n.output[0] for n in graph.node if n.op_type in _ACTIVATIONS and n.input[0] in convolved]
    if len(activated) > _MOST:
        return {}
    # An import names its layers by an Identity at the end.
    ends = {n.input[0] for n in graph.node if n.op_type == "Identity" and n.output[0] in bundle.layers}
    named = ends | set(bundle.layers)
    layers = {f"conv{i + 1}": tensor for i, tensor in enumerate(activated) if tensor not in named}
    return {layer: tensor for layer, tensor in layers.items() if layer not in bundle.layers}


def _product(makers: dict[str, NodeProto], tensor: str) -> NodeProto | None:
    """Return the convolution or matrix product that ``tensor`` is the activation of, if it is one."""
    while tensor in makers:
        node = makers[tensor]
        if node.op_type in _PRODUCTS:
            return node
        made = [name for name in node.input if name in makers and makers[name].op_type not in ("Cast", "Constant")]
        if node.op_type not in _SAME_UNITS or len(made) != 1:
            return None
        tensor = made[0]
    return None


def _weights(graph: GraphProto, makers: dict[str, NodeProto], product: NodeProto) -> NDArray[np.float32] | None:
    """Return the weights of a product, (units, ...), if they are written in the file."""
    values = _constant(graph, makers, product.input[1])
    is_turned = product.op_type == "Conv" or any(a.name == "transB" and a.i for a in product.attribute)
    return values if values is None or is_turned else values.T


def _stride(convolution: NodeProto) -> int:
    return next((int(a.ints[0]) for a in convolution.attribute if a.name == "strides"), 1)


def _first_filters(graph: GraphProto, makers: dict[str, NodeProto]) -> NDArray[np.float32]:
    for node in graph.node:
        values = _constant(graph, makers, node.input[1]) if node.op_type == "Conv" else None
        if values is not None and values.ndim == 4:
            return values
    return np.zeros((0, 3, 1, 1), np.float32)


def _constant(graph: GraphProto, makers: dict[str, NodeProto], name: str) -> NDArray[np.float32] | None:
    """Return a weight as float32: an initializer or a constant, also behind a Cast."""
    while name in makers and makers[name].op_type in ("Cast", "Identity"):
        name = makers[name].input[0]
    tensors: list[TensorProto] = [t for t in graph.initializer if t.name == name]
    if name in makers and makers[name].op_type == "Constant":
        tensors = [a.t for a in makers[name].attribute if a.name == "value"]
    return numpy_helper.to_array(tensors[0]).astype(np.float32) if tensors else None
