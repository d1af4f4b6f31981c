"""Read and cut ONNX files on the wire format of protobuf: the service does not install the `onnx` package.

Serialised messages merge when they are concatenated. So a file that holds only extra nodes, appended to a network's
own file, makes a graph with both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fc7.errors import DataLoss, FailedPrecondition, Reason

# Field numbers of onnx.proto3. Names stand in field 1 of ValueInfoProto, but in field 8 of TensorProto.
_GRAPH, _METADATA = 7, 14
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _TENSOR_NAME, _INFO_NAME = 1, 2, 8, 1
_KEY, _VALUE = 1, 2
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto
# Fields that may contain a tensor: message -> field number -> kind of message in it
_HOLDERS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_VARINT, _BYTES = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # wire type -> bytes


def cut_graph(model: bytes, outputs: Sequence[str], inputs: Sequence[str] = ()) -> bytes:
    """Return the part of an ONNX file that computes ``outputs``; ONNX Runtime always computes a whole file.

    Parameters
    ----------
    model
        One file, or several that are concatenated. No node may contain another graph.
    outputs
        Names of tensors.
    inputs
        Names of tensors whose values will be given. Whatever else is needed comes from the file's own inputs: a graph
        of variable image size needs their shape.

    Raises
    ------
    FailedPrecondition
        ``outputs`` are not in the file, or do not depend on ``inputs``.
    DataLoss
        The bytes are not an ONNX file.
    """
    parts = _Parts.of(model)
    needed, kept = set(outputs), set()
    for i in range(len(parts.nodes) - 1, -1, -1):
        _, reads, writes = parts.nodes[i]
        if needed & (set(writes) - set(inputs)):
            kept.add(i)
            needed.update(reads)
    made = {name for i in kept for name in parts.nodes[i][2]}
    if missing := sorted(needed - made - parts.weights.keys() - parts.inputs.keys() - {*inputs, ""}):
        raise FailedPrecondition(f"the graph has no tensor {missing[0]!r} at which to cut it", name=missing[0])
    if inputs and not needed & set(inputs):
        raise FailedPrecondition(f"{outputs[0]!r} does not depend on {inputs[0]!r}", name=outputs[0])
    graph: list[bytes | memoryview] = [parts.nodes[i][0] for i in sorted(kept)]
    graph += [record for name, record in parts.weights.items() if name in needed]
    ends = [name for name in (*inputs, *parts.inputs) if name in needed]
    graph += [_record(_INPUT, parts.infos.get(name) or _float_info(name)) for name in ends]
    graph += [_record(_OUTPUT, parts.infos.get(name) or _record(_INFO_NAME, name.encode())) for name in outputs]
    head = _write(_GRAPH << 3 | _BYTES) + _write(sum(map(len, graph)))
    return b"".join([*dict.fromkeys(parts.rest), head, *graph])  # at once: the weights are large


def read_metadata(model: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX file."""
    pairs = [value for number, value, _ in _read(memoryview(model)) if number == _METADATA]
    return {_name(pair, _KEY): _name(pair, _VALUE) for pair in pairs}


def has_external_data(model: bytes) -> bool:
    """Tell whether any tensor of an ONNX file is stored in another file.

    Raises
    ------
    DataLoss
        The bytes are not an ONNX file.
    """
    todo = [("model", memoryview(model))]
    while todo:
        kind, message = todo.pop()
        for number, value, record in _read(message):
            if kind != "tensor":
                if number in _HOLDERS[kind]:
                    todo.append((_HOLDERS[kind][number], value))
            elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and _number(record)):
                return True
    return False


@dataclass(slots=True)
class _Parts:
    """The parts of a file's graph, as bytes."""

    nodes: list[tuple[memoryview, list[str], list[str]]] = field(default_factory=list)  # record, inputs, outputs
    weights: dict[str, memoryview] = field(default_factory=dict)
    inputs: dict[str, bytes] = field(default_factory=dict)
    infos: dict[str, bytes] = field(default_factory=dict)  # of inputs, outputs and the tensors between them
    rest: list[memoryview] = field(default_factory=list)  # versions and operator sets

    @classmethod
    def of(cls, model: bytes) -> _Parts:
        """Read a file."""
        parts = cls()
        for number, value, record in _read(memoryview(model)):
            if number == _GRAPH:
                parts._take(value)
            elif number != _METADATA:
                parts.rest.append(record)
        return parts

    def _take(self, graph: memoryview) -> None:
        for number, value, record in _read(graph):
            if number == _NODE:
                names = [(n, _text(name)) for n, name, _ in _read(value) if n in (_NODE_INPUT, _NODE_OUTPUT)]
                reads = [name for n, name in names if n == _NODE_INPUT]
                self.nodes.append((record, reads, [name for n, name in names if n == _NODE_OUTPUT]))
            elif number == _INITIALIZER:
                self.weights[_name(value, _TENSOR_NAME)] = record
            elif number in (_INPUT, _OUTPUT, _VALUE_INFO):
                name = _name(value, _INFO_NAME)
                self.infos.setdefault(name, bytes(value))
                if number == _INPUT:
                    self.inputs[name] = bytes(value)


def _name(message: memoryview, number: int) -> str:
    return next((_text(value) for n, value, _ in _read(message) if n == number), "")


def _text(value: memoryview) -> str:
    return bytes(value).decode(errors="replace")


def _read(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield for each field its number, the bytes of its value (none if it is a number), and all its bytes."""
    at = 0
    try:
        while at < len(message):
            start = at
            key, at = _varint(message, at)
            kind, value = key & 7, message[:0]
            if kind == _VARINT:
                _, at = _varint(message, at)
            elif kind == _BYTES:
                size, at = _varint(message, at)
                value, at = message[at : at + size], at + size
            else:
                at += _FIXED[kind]
            if at > len(message) or key >= 2**32:  # protobuf would drop the higher bits and read another field
                raise IndexError
            yield key >> 3, value, message[start:at]
    except (IndexError, KeyError) as error:
        raise DataLoss("the bytes are not an ONNX file", reason=Reason.BUNDLE_DAMAGED) from error


def _number(record: memoryview) -> int:
    """Return the value of a field that holds a number."""
    return _varint(record, _varint(record, 0)[1])[0]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at ``at``, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at


def _record(number: int, value: bytes) -> bytes:
    """Return a field of bytes."""
    return _write(number << 3 | _BYTES) + _write(len(value)) + value


def _write(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _float_info(name: str) -> bytes:
    """Return the ValueInfoProto of a float32 tensor of any shape."""
    tensor_type = _write(1 << 3) + _write(1)  # elem_type: FLOAT
    return _record(_INFO_NAME, name.encode()) + _record(2, _record(1, tensor_type))
