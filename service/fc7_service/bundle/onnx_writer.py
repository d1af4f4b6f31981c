"""Write nodes and weights in the format of ONNX: the service does not install the `onnx` package.

Appended to a network's own file, what `write_fragment` returns makes a graph with both (see ``onnx_file``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Field numbers of onnx.proto3
_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_DIMS, _DATA_TYPE, _TENSOR_NAME, _RAW_DATA = 1, 2, 8, 9
_FLOAT = 1  # a data type
_SIZED = 2  # a wire type


class Node(NamedTuple):
    """An operator, the tensors that it reads, and the one that it writes."""

    operator: str
    inputs: Sequence[str]
    output: str


def write_fragment(nodes: Sequence[Node], weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return a file of nodes and weights alone. Nodes have no attributes: operators work as they do by default."""
    graph = b"".join(_field(_NODE, _node(node)) for node in nodes)
    graph += b"".join(_field(_INITIALIZER, _tensor(name, values)) for name, values in weights.items())
    return _field(_GRAPH, graph)


def _node(node: Node) -> bytes:
    reads = b"".join(_field(_NODE_INPUT, name.encode()) for name in node.inputs)
    writes = _field(_NODE_OUTPUT, node.output.encode())
    return reads + writes + _field(_NODE_OPERATOR, node.operator.encode())


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_number(_DIMS, n) for n in values.shape)
    data = np.ascontiguousarray(values, "<f4").tobytes()
    return dims + _number(_DATA_TYPE, _FLOAT) + _field(_TENSOR_NAME, name.encode()) + _field(_RAW_DATA, data)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _SIZED) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
