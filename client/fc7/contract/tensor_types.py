"""The number types that tensors have on the wire."""

from __future__ import annotations

WIRE_DTYPES = {"float32": "<f4", "float16": "<f2", "uint8": "u1"}
"""NumPy's little-endian type for each value of `Tensor.dtype`."""
