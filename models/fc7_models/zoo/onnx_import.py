"""Surgery on ONNX files that others made: a file is checked before it is believed, then its layers are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from fc7.errors import DataLoss, InvalidArgument, NotFound
from fc7_models.deconv.build import MIN_OPSET
from fc7_models.deconv.projection import POSITION, UNIT

MAX_FILE_BYTES = 2**30
MAX_TENSOR = 2**27  # numbers in one tensor of one picture
MAX_NODES = 20_000
INPUT = "image"
_ORDERED, _ORDER = "image.bgr", "image.order"
OPSET = 18  # that older files are brought to: their deconvnet needs it
MIN_IR = 4  # the first in which weights need not be inputs

# What an image network computes with. Nothing that loops, branches, draws at random or names a file.
_ALLOWED = """
Abs Add ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Div Dropout Elu
Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity
InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish
Mod Mul Neg Not PRelu Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape ScatterND Selu Shape
Sigmoid Sign Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
OPERATORS = frozenset(_ALLOWED.split())
_SAME = {"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Softmax", "LogSoftmax"}
_POINTWISE = {"Add", "BatchNormalization", "Clip", "Elu", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """An image network as it lies in a file."""

    model: ModelProto
    image: str  # name of the input
    size_px: int | None  # that the input is declared with; None where it is open
    layers: dict[str, str]  # layer of fc7 -> tensor, first to last


def read_onnx(path: Path) -> OnnxNetwork:
    """Read an ONNX image network and find its layers.

    Raises
    ------
    NotFound
        No such file.
    DataLoss
        It is damaged or no ONNX file.
    InvalidArgument
        Too large, data outside the file, an operator that is not allowed, no single image as input, or no
        classifying layer at its end; the message lists the candidates.
    """
    if not path.is_file():
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidArgument(f"{path.name} has {path.stat().st_size} bytes: at most {MAX_FILE_BYTES} are imported")
    try:
        model = onnx.load_from_string(path.read_bytes())
    except Exception as error:  # the parser's own error has no public name
        raise DataLoss(f"{path.name} is no ONNX file, or is damaged: {error}", name=path.name) from error
    if not model.graph.node:
        raise DataLoss(f"{path.name} is no ONNX file, or is damaged: it computes nothing", name=path.name)
    _check(model)
    image, size_px = _find_image(model.graph)
    return OnnxNetwork(model, image, size_px, _find_layers(model.graph, image))


def name_layers(found: OnnxNetwork, px: int, *, is_bgr: bool) -> bytes:
    """Return the file with its layers as outputs, the batch open, and what serves none of them left out.

    Parameters
    ----------
    found
        Of ``read_onnx``; its model is changed.
    px
        Height and width of the input.
    is_bgr
        The network wants its channels in the order B, G, R; the new file takes R, G, B.

    Raises
    ------
    InvalidArgument
        The file is declared for another size, or holds a tensor that is too large.
    """
    if found.size_px not in (None, px):
        raise InvalidArgument(
            f"the file takes pictures of {found.size_px} pixels: the recipe crops {px}", name="crop_px"
        )
    model, graph = found.model, found.model.graph
    n_convs = sum(node.op_type == "Conv" for node in graph.node)
    convolutions = [f"conv{i}" for i in range(1, n_convs + 1)]
    taken = {INPUT, _ORDERED, _ORDER, *found.layers, *convolutions, UNIT, POSITION}
    names = _Names({found.image: _ORDERED if is_bgr else INPUT}, taken)
    names.apply(graph)
    head = [helper.make_node("Gather", [INPUT, _ORDER], [_ORDERED], axis=1)] if is_bgr else []
    tail = [helper.make_node("Identity", [names.of(tensor)], [layer]) for layer, tensor in found.layers.items()]
    graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), _ORDER))
    nodes = [*head, *graph.node, *tail]
    _open_batch(graph, nodes)
    nodes = _needed(nodes, set(found.layers))
    used = {name for node in nodes for name in node.input}
    new = helper.make_graph(
        nodes,
        "imported",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, px, px])],
        [helper.make_tensor_value_info(layer, TensorProto.FLOAT, None) for layer in found.layers],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    opsets = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    made = helper.make_model(new, opset_imports=opsets, ir_version=max(model.ir_version, MIN_IR))
    _check_sizes(made)
    return bytes(_modernise(made).SerializeToString())


@dataclass(frozen=True, slots=True)
class _Names:
    """New names for tensors of the file: given ones, and another for each that bears a name of ours."""

    given: dict[str, str]
    taken: set[str]

    def of(self, name: str) -> str:
        """Return the new name of a tensor."""
        return self.given.get(name) or (f"file/{name}" if name in self.taken else name)

    def apply(self, graph: GraphProto) -> None:
        """Rename in every node and weight."""
        for node in graph.node:
            node.input[:] = [self.of(name) for name in node.input]
            node.output[:] = [self.of(name) for name in node.output]
        for tensor in graph.initializer:
            tensor.name = self.of(tensor.name)


def _check(model: ModelProto) -> None:
    graph = model.graph
    used = {node.op_type for node in graph.node if node.domain in ("", "ai.onnx")}
    custom = {f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in ("", "ai.onnx")}
    if refused := sorted((used - OPERATORS) | custom):
        raise InvalidArgument(f"the file uses operators that are not allowed: {', '.join(refused)}", name=refused[0])
    if model.functions or graph.sparse_initializer:
        raise InvalidArgument("the file holds functions or sparse tensors: export it without them")
    if len(graph.node) > MAX_NODES:
        raise InvalidArgument(f"the file has {len(graph.node)} nodes: at most {MAX_NODES} are imported")
    constants = [a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in [*graph.initializer, *constants]:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InvalidArgument(f"tensor {tensor.name!r} lies outside the file: store it as one", name=tensor.name)
        if any(n < 0 for n in tensor.dims) or np.prod([*map(float, tensor.dims)]) > MAX_FILE_BYTES / 4:
            raise InvalidArgument(f"tensor {tensor.name!r} has shape {list(tensor.dims)}", name=tensor.name)


def _find_image(graph: GraphProto) -> tuple[str, int | None]:
    """Return the one input that is no weight, and its size."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InvalidArgument(f"the file has the inputs {names}: one picture is expected", name=names)
    kind = inputs[0].type.tensor_type
    dims = [d.dim_value for d in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1] != 3 or dims[2] != dims[3]:
        raise InvalidArgument(
            f"input {inputs[0].name!r} has element type {kind.elem_type} and shape {dims} (0: open): "
            "float32 (N, 3, size, size) is expected",
            name=inputs[0].name,
        )
    return inputs[0].name, dims[2] or None


def _find_layers(graph: GraphProto, image: str) -> dict[str, str]:
    """Walk back from the output: the last product gives the logits, those before it the hidden layers.

    Layers are taken after their activation and before dropout.
    """
    makers: dict[str, NodeProto] = {}  # of the tensors that depend on the picture
    for node in graph.node:
        if any(name == image or name in makers for name in node.input):
            makers |= dict.fromkeys(node.output, node)
    if len(graph.output) != 1:
        ends = ", ".join(value.name for value in graph.output) or "none"
        raise InvalidArgument(f"the file has the outputs {ends}: one, the classes, is expected", name="output")
    tensor = logits = _skip(graph.output[0].name, makers)
    hidden: list[str] = []
    while (product := _product(tensor, makers, is_first=not hidden)) is not None:
        tensor = _skip(product.input[0], makers)
        hidden.append(tensor)
    if not hidden:
        steps = [graph.output[0].name, *(name for node in reversed(graph.node[-6:]) for name in node.output)]
        raise InvalidArgument(
            f"no layer before the classes was found: the file ends in {', '.join(dict.fromkeys(steps))}; "
            "it should end in a fully connected layer",
            name=graph.output[0].name,
        )
    *before, trunk = hidden
    n = len(before)
    names = {1: ["fc"], 2: ["fc6", "fc7"]}.get(n) or [f"fc{i + 1}" for i in range(n)]
    trunk_name = "pool5" if n == 2 else "pool"
    return {trunk_name: trunk} | dict(zip(names, reversed(before), strict=True)) | {"logits": logits}


def _skip(tensor: str, makers: dict[str, NodeProto]) -> str:
    """Follow ``tensor`` back through what changes no order of its numbers."""
    while tensor in makers and makers[tensor].op_type in _SAME:
        tensor = makers[tensor].input[0]
    return tensor


def _product(tensor: str, makers: dict[str, NodeProto], *, is_first: bool) -> NodeProto | None:
    """Return the fully connected layer that ``tensor`` is the activation of, if it is one.

    A convolution counts at the end alone, where it is the classifier (SqueezeNet).
    """
    while tensor in makers:
        node = makers[tensor]
        if node.op_type in ("Gemm", "MatMul") or (is_first and node.op_type == "Conv"):
            return node
        is_pool = is_first and node.op_type in ("GlobalAveragePool", "ReduceMean", "AveragePool")
        if node.op_type not in _POINTWISE | _SAME and not is_pool:
            return None
        made = [name for name in node.input if name in makers]
        if node.op_type == "Add" and len(made) != 1:  # a sum of two branches is no bias
            return None
        tensor = made[0] if made else ""
    return None


def _open_batch(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Let every Reshape of the picture that names a fixed batch of one take any."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    values |= {
        node.output[0]: a.t for node in nodes if node.op_type == "Constant" for a in node.attribute if a.name == "value"
    }
    depends = {INPUT}
    for i, node in enumerate(nodes):
        if depends.isdisjoint(node.input):
            continue
        depends.update(node.output)
        shape = values.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        old = next((a for a in node.attribute if a.name == "shape"), None)  # before opset 5
        wanted = list(old.ints) if old else list(numpy_helper.to_array(shape)) if shape is not None else []
        if len(wanted) < 2 or wanted[0] != 1 or node.input[0] not in depends:
            continue
        wanted[0] = 0 if -1 in wanted else -1
        for attribute in node.attribute:
            if attribute.name == "allowzero":
                attribute.i = 0  # a zero is "as before", not an empty axis
        if old:
            del old.ints[:]
            old.ints.extend(int(n) for n in wanted)
        else:
            name = f"image.shape.{i}"
            graph.initializer.append(numpy_helper.from_array(np.array(wanted, np.int64), name))
            node.input[1] = name


def _needed(nodes: list[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """Return, in order, the nodes that the wanted tensors depend on."""
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _modernise(model: ModelProto) -> ModelProto:
    """Return an old file with the operators of ``OPSET``, as it is where onnx knows no way."""
    if max(o.version for o in model.opset_import) >= MIN_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception:  # the converter's errors share no base; the file runs as it is, without a deconvnet
        return model


def _check_sizes(model: ModelProto) -> None:
    """Refuse a graph that declares huge tensors for one picture."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # as of the parser
        raise InvalidArgument(f"the file's shapes do not fit one another: {error}") from error
    for value in inferred.graph.value_info:
        dims = [max(1, d.dim_value) for d in value.type.tensor_type.shape.dim]
        if np.prod([*map(float, dims)]) > MAX_TENSOR:
            raise InvalidArgument(f"tensor {value.name!r} has shape {dims}: too large for a picture", name=value.name)
