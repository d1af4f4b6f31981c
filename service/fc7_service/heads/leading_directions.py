"""The coordinates in which logistic regression works, and how rows vary along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import Scratch, on_all_cores
from fc7_service.heads.standardised_rows import StandardisedRows

# On drawn features of 1,024 numbers (bench/heads.py), 512 directions cost 1.6 points of accuracy.
_MOST_DIRECTIONS = 1024
_ROWS_PER_DIRECTION = 4


@dataclass(frozen=True, slots=True)
class LeadingDirections:
    """At most 1,024 directions, and the variance of some rows along them."""

    basis: NDArray[np.float32] | None  # (D, K), orthonormal; None: the K = D numbers of the rows themselves
    variances: NDArray[np.float32]  # (K,)
    axes: NDArray[np.float32]  # (K, K), orthonormal: column i, in these coordinates, has variance i
    n_rows: int  # that they were found in

    @property
    def serve_other_rows(self) -> bool:
        """Whether similar rows may use them: with few rows, what other rows have outside these directions is lost."""
        return self.basis is None or self.n_rows >= _ROWS_PER_DIRECTION * len(self.variances)


def find_leading_directions(rows: StandardisedRows) -> LeadingDirections:
    """Find directions of much variance by subspace iteration; with few dimensions, take all.

    References
    ----------
    Golub & Van Loan 2013, "Matrix Computations", section 8.2.4 (orthogonal iteration), 8.1.4 (Rayleigh-Ritz).
    """
    if rows.dim <= _MOST_DIRECTIONS:
        return _with_axes(None, _sum_products(rows) if rows.is_dual else rows.gram, rows.count)
    q = np.random.default_rng(0).standard_normal((len(rows.gram), min(_MOST_DIRECTIONS, len(rows.gram))))
    for _ in range(3):
        rows.check_stop()
        q = np.linalg.qr(rows.gram @ q)[0]
    image = rows.gram @ q
    del rows.gram  # up to as large as the features; computed again if another fit asks for it
    if not rows.is_dual:
        return _with_axes(q, q.T @ image, rows.count)
    # The basis is X'q R^-1, so the coordinates of the rows are X X'q R^-1, and X X' is N times the Gram matrix.
    basis, r = np.linalg.qr(rows.combine(q))
    coordinates = np.linalg.solve(r.T, image.T)
    return _with_axes(basis, coordinates @ coordinates.T * rows.count, rows.count)


def _with_axes(basis: NDArray[np.float64] | None, gram: NDArray[np.float64], n_rows: int) -> LeadingDirections:
    variances, axes = np.linalg.eigh(gram.astype(np.float32))  # exact enough to scale steps, in half the memory
    in_float32 = None if basis is None else np.ascontiguousarray(basis, np.float32)
    return LeadingDirections(in_float32, np.maximum(variances, 0), axes, n_rows)


def _sum_products(rows: StandardisedRows) -> NDArray[np.float64]:
    total = np.zeros((rows.dim, rows.dim))
    for block in rows.blocks:
        rows.check_stop()
        values = rows.weighted_block(block)
        total += values.T @ values
    return total / rows.count


class _Packed(NamedTuple):
    """Coordinates of one block: whole numbers (N, K) times a unit (K,) per direction."""

    whole: NDArray[np.int16]
    unit: NDArray[np.float32]


class Coordinates:
    """Standardised rows in the coordinates of a basis, one block at a time.

    Parameters
    ----------
    rows
        N rows of D numbers.
    basis
        float32 (D, K), orthonormal; None for the numbers of the rows themselves.
    """

    def __init__(self, rows: StandardisedRows, basis: NDArray[np.float32] | None) -> None:
        self._rows, self._scratch = rows, Scratch()
        self._packed: list[_Packed] = []  # per block
        if basis is not None:
            self._packed = list(on_all_cores(lambda b: _pack(rows.block(b) @ basis), rows.blocks, rows.check_stop))

    def block(self, i: int) -> NDArray[np.float32]:
        """Return the coordinates of block ``i`` of the rows, in an array that this thread uses again."""
        if not self._packed:
            return self._rows.block(self._rows.blocks[i])
        whole, unit = self._packed[i]
        values = self._scratch.array("coordinates", *whole.shape)
        np.copyto(values, whole)
        values *= unit
        return values


def _pack(values: NDArray[np.float32]) -> _Packed:
    """Return coordinates in 16 bits, half the memory: each keeps 1/65,000 of the range of its direction."""
    unit = np.maximum(np.abs(values).max(axis=0) / np.float32(32767), np.float32(1e-30))
    return _Packed(np.rint(values / unit).astype(np.int16), unit)
