"""fp16: what it can hold, and conversions much faster than NumPy's, which take one number at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHIFT = 13  # float32 has 23 bits of fraction, fp16 has 10
_BIAS = np.float32(2.0**112)  # exponents begin at -127 in float32, and at -15 in fp16
_KEPT_BITS = np.int32(-0x70000001)  # the sign, and what was shifted; not the copies of the sign between them
_LARGEST, _SMALLEST = 65504.0, 2.0**-14  # of the normal numbers
_MOST_ERROR = 1e-3  # relative; rounding to fp16 stays below it, overflow and underflow do not
_ROWS_AT_ONCE = 128  # they stay in the cache of the processor


def widen(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return finite float16 values as float32, exactly; values of another type by NumPy's conversion."""
    if values.dtype != np.float16:
        return values.astype(np.float32)
    bits = np.ascontiguousarray(values).view(np.int16).astype(np.int32)
    bits <<= _SHIFT
    bits &= _KEPT_BITS
    wide = bits.view(np.float32)
    wide *= _BIAS
    return wide


def narrow(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return float32 values of at most 65504 as float16, rounded to the nearest, of two to the even one."""
    bits = (values / _BIAS).view(np.uint32)
    signs = bits >> 16
    signs &= 0x8000
    bits &= 0x7FFFFFFF
    odd = bits >> _SHIFT
    odd &= 1
    bits += odd
    bits += 2 ** (_SHIFT - 1) - 1
    bits >>= _SHIFT
    bits |= signs
    halves = bits.astype(np.uint16).view(np.float16)
    size = np.abs(values)
    is_tiny = (size < _SMALLEST) & (size > 0)  # they were rounded once too often
    if is_tiny.any():
        halves[is_tiny] = values[is_tiny]
    return halves


def compact(vectors: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
    """Return each finite vector (D,) as fp16, or as fp32 if fp16 cannot hold it."""
    found: list[NDArray[Any]] = []
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = np.stack(vectors[start : start + _ROWS_AT_ONCE])
        is_large = np.maximum(rows.max(axis=1), -rows.min(axis=1)) > _LARGEST
        squares = np.einsum("nd,nd->n", rows, rows)
        lost = rows.shape[1] * _SMALLEST**2 * 2.0**-22  # at most, squared, of numbers below the normal ones
        is_doubtful = is_large | ~(squares * _MOST_ERROR**2 / 2 > lost)
        halves = narrow(np.where(is_doubtful[:, None], 0, rows) if is_doubtful.any() else rows)
        doubts = is_doubtful.tolist()
        found += [_compact_one(row) if doubts[i] else halves[i] for i, row in enumerate(rows)]
    return found


def _compact_one(vector: NDArray[np.float32]) -> NDArray[Any]:
    with np.errstate(over="ignore", under="ignore"):
        half = vector.astype("<f2")
    wide = vector.astype(np.float64)
    if np.isfinite(half).all() and np.linalg.norm(half - wide) <= _MOST_ERROR * np.linalg.norm(wide):
        return half
    return vector.astype("<f4")
