"""Read ONNX files that others made: check a file before trusting it, find its layers, rewrite it as fc7 needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from fc7.errors import DataLoss, InvalidArgument, NotFound
from fc7_models.deconv.build import MIN_OPSET
from fc7_models.deconv.onnx_graph import OnnxGraph, ancestors, descendants
from fc7_models.deconv.projection import POSITION, UNIT

MAX_FILE_BYTES = 2**30
MAX_TENSOR = 2**27  # numbers that a tensor may hold for one picture
MAX_NODES = 20_000
INPUT = "image"
_BGR_IMAGE, _CHANNEL_ORDER = "image.bgr", "image.order"
OPSET = 18  # older files are converted to it, because their deconvnet needs it
MIN_IR = 4  # the first version in which weights need not be inputs as well

# The operators of image networks: none loops, branches, draws random numbers or names a file.
_ALLOWED = """
Abs Add ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Div Dropout Elu
Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity
InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish
Mod Mul Neg Not PRelu Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape ScatterND Selu Shape
Sigmoid Sign Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
OPERATORS = frozenset(_ALLOWED.split())
_SAME_VALUES = {"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Softmax", "LogSoftmax"}
_POINTWISE = {"Add", "BatchNormalization", "Clip", "Elu", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """An image network as read from a file."""

    model: ModelProto
    image: str  # name of the input
    size_px: int | None  # height and width that the file declares; None if it takes any
    layers: dict[str, str]  # layer of fc7 -> tensor, first to last


def read_onnx(path: Path) -> OnnxNetwork:
    """Read an ONNX image network and find its layers.

    Raises
    ------
    NotFound
        No such file.
    DataLoss
        The file is damaged, or it is not an ONNX file.
    InvalidArgument
        The file is too large, keeps data in other files, uses an operator that is not allowed, does not take exactly
        one picture, or does not end in a layer that classifies.
    """
    if not path.is_file():
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidArgument(f"{path.name!r} has {path.stat().st_size} bytes, but the limit is {MAX_FILE_BYTES}")
    try:
        model = onnx.load_from_string(path.read_bytes())
    except Exception as error:  # the parser's error class has no public name
        raise DataLoss(f"{path.name!r} is damaged or not an ONNX file: {error}", name=path.name) from error
    if not model.graph.node:
        raise DataLoss(f"{path.name!r} is damaged or not an ONNX file: it holds no operators", name=path.name)
    _check(model)
    image, size_px = _find_image(model)
    return OnnxNetwork(model, image, size_px, _find_layers(model, image))


def name_layers(found: OnnxNetwork, px: int, *, is_bgr: bool) -> bytes:
    """Return an ONNX file whose outputs are the layers, for batches of any size. Unused nodes are removed.

    Parameters
    ----------
    found
        From ``read_onnx``. Its model is changed.
    px
        Height and width of the input.
    is_bgr
        The network takes its channels in the order B, G, R. The new file takes R, G, B.

    Raises
    ------
    InvalidArgument
        The file declares another picture size, or computes a tensor that is too large.
    """
    if found.size_px not in (None, px):
        raise InvalidArgument(
            f"the file takes pictures of {found.size_px} pixels, but the recipe crops {px}", name="crop_px"
        )
    model, graph = found.model, found.model.graph
    n_convs = sum(node.op_type == "Conv" for node in graph.node)
    convolutions = [f"conv{i}" for i in range(1, n_convs + 1)]
    taken = {INPUT, _BGR_IMAGE, _CHANNEL_ORDER, *found.layers, *convolutions, UNIT, POSITION}
    names = _Names({found.image: _BGR_IMAGE if is_bgr else INPUT}, taken)
    names.apply(graph)
    head = [helper.make_node("Gather", [INPUT, _CHANNEL_ORDER], [_BGR_IMAGE], axis=1)] if is_bgr else []
    tail = [helper.make_node("Identity", [names.of(tensor)], [layer]) for layer, tensor in found.layers.items()]
    graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), _CHANNEL_ORDER))
    nodes = [*head, *graph.node, *tail]
    _take_any_batch(model, nodes)
    nodes = ancestors(nodes, found.layers)
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
    return bytes(_convert_opset(made).SerializeToString())


@dataclass(frozen=True, slots=True)
class _Names:
    """New names for the tensors of a file, so that none has a name that fc7 gives to another."""

    given: dict[str, str]  # old name -> new name
    taken: set[str]  # names that fc7 uses

    def of(self, name: str) -> str:
        """Return the new name of a tensor."""
        return self.given.get(name) or (f"file/{name}" if name in self.taken else name)

    def apply(self, graph: GraphProto) -> None:
        """Rename the tensors of every node and weight."""
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
        raise InvalidArgument("the file holds functions or sparse tensors. Export it without them")
    if len(graph.node) > MAX_NODES:
        raise InvalidArgument(f"the file has {len(graph.node)} nodes, but the limit is {MAX_NODES}")
    constants = [a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in [*graph.initializer, *constants]:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InvalidArgument(
                f"tensor {tensor.name!r} is stored outside the file. Export the network as a single file",
                name=tensor.name,
            )
        if any(n < 0 for n in tensor.dims) or np.prod([*map(float, tensor.dims)]) > MAX_FILE_BYTES / 4:
            raise InvalidArgument(
                f"tensor {tensor.name!r} has an impossible or too large shape: {list(tensor.dims)}", name=tensor.name
            )


def _find_image(model: ModelProto) -> tuple[str, int | None]:
    """Return the name and the size of the one input."""
    names = OnnxGraph(model).inputs
    if len(names) != 1:
        listed = ", ".join(names) or "none"
        raise InvalidArgument(f"the file must take one input, a picture (it takes: {listed})", name=listed)
    kind = next(value for value in model.graph.input if value.name == names[0]).type.tensor_type
    dims = [d.dim_value for d in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1] != 3 or dims[2] != dims[3]:
        raise InvalidArgument(
            f"input {names[0]!r} must be float32 (N, 3, size, size). It has element type {kind.elem_type} and shape "
            f"{dims}, where 0 means any size",
            name=names[0],
        )
    return names[0], dims[2] or None


def _find_layers(model: ModelProto, image: str) -> dict[str, str]:
    """Walk back from the output: the last product gives the logits, those before it give the hidden layers.

    Layers are taken after their activation and before dropout.
    """
    graph = OnnxGraph(model)
    from_image = descendants(graph.nodes, image)
    makers = {tensor: node for tensor, node in graph.makers.items() if tensor in from_image}
    if len(graph.outputs) != 1:
        ends = ", ".join(graph.outputs) or "none"
        raise InvalidArgument(f"the file must have one output, the classes (it has: {ends})", name="output")
    tensor = logits = _skip_same_values(graph.outputs[0], makers)
    hidden: list[str] = []
    while (product := _product(tensor, makers, is_first=not hidden)) is not None:
        tensor = _skip_same_values(product.input[0], makers)
        hidden.append(tensor)
    if not hidden:
        last = [graph.outputs[0], *(name for node in reversed(graph.nodes[-6:]) for name in node.output)]
        raise InvalidArgument(
            "the file must end in a fully connected layer, so that the layer before it can be found. "
            f"Its last tensors are {', '.join(dict.fromkeys(last))}",
            name=graph.outputs[0],
        )
    *before, trunk = hidden
    n = len(before)
    names = {1: ["fc"], 2: ["fc6", "fc7"]}.get(n) or [f"fc{i + 1}" for i in range(n)]
    trunk_name = "pool5" if n == 2 else "pool"
    return {trunk_name: trunk} | dict(zip(names, reversed(before), strict=True)) | {"logits": logits}


def _skip_same_values(tensor: str, makers: dict[str, NodeProto]) -> str:
    """Return the tensor that ``tensor`` is a reshaped copy, or the softmax, of."""
    while tensor in makers and makers[tensor].op_type in _SAME_VALUES:
        tensor = makers[tensor].input[0]
    return tensor


def _product(tensor: str, makers: dict[str, NodeProto], *, is_first: bool) -> NodeProto | None:
    """Return the fully connected layer whose activation ``tensor`` is, or None.

    A convolution counts only at the end of the network, where it is the classifier (SqueezeNet).
    """
    while tensor in makers:
        node = makers[tensor]
        if node.op_type in ("Gemm", "MatMul") or (is_first and node.op_type == "Conv"):
            return node
        is_pool = is_first and node.op_type in ("GlobalAveragePool", "ReduceMean", "AveragePool")
        if node.op_type not in _POINTWISE | _SAME_VALUES and not is_pool:
            return None
        made = [name for name in node.input if name in makers]
        if node.op_type == "Add" and len(made) != 1:  # a sum of two branches, not a bias
            return None
        tensor = made[0] if made else ""
    return None


def _take_any_batch(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Rewrite every Reshape of the picture that states a batch of one, so that it takes any batch."""
    constants, from_image = OnnxGraph(model), descendants(nodes, INPUT)
    for i, node in enumerate(nodes):
        if node.op_type != "Reshape" or node.input[0] not in from_image:
            continue
        shape = constants.constant(node.input[1]) if len(node.input) > 1 else None
        old = next((a for a in node.attribute if a.name == "shape"), None)  # before opset 5
        wanted = list(old.ints) if old else list(shape) if shape is not None else []
        if len(wanted) < 2 or wanted[0] != 1:
            continue
        wanted[0] = 0 if -1 in wanted else -1
        for attribute in node.attribute:
            if attribute.name == "allowzero":
                attribute.i = 0  # a zero then means "as in the input", not an empty axis
        if old:
            del old.ints[:]
            old.ints.extend(int(n) for n in wanted)
        else:
            name = f"image.shape.{i}"
            model.graph.initializer.append(numpy_helper.from_array(np.array(wanted, np.int64), name))
            node.input[1] = name


def _convert_opset(model: ModelProto) -> ModelProto:
    """Return an old file converted to ``OPSET``, or unchanged if onnx cannot convert it."""
    if max(o.version for o in model.opset_import) >= MIN_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception:  # the converter's errors share no base; the file still runs, without a deconvnet
        return model


def _check_sizes(model: ModelProto) -> None:
    """Refuse a graph that computes a huge tensor from one picture."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # as above, no public name
        raise InvalidArgument(f"the shapes in the file contradict each other: {error}") from error
    for value in inferred.graph.value_info:
        dims = [max(1, d.dim_value) for d in value.type.tensor_type.shape.dim]
        if np.prod([*map(float, dims)]) > MAX_TENSOR:
            raise InvalidArgument(f"tensor {value.name!r} is too large for one picture: shape {dims}", name=value.name)
