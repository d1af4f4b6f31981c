"""The rows of a training set as every fit sees them, and the matrices that the fits share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import BLOCK, Scratch, on_all_cores, row_blocks
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.stop_check import StopCheck, never_stop

_TILE = 512  # columns of the Gram matrix that one thread computes


class StandardisedRows:
    """Rows with a known class, centred and scaled to unit average variance, one block at a time.

    Parameters
    ----------
    features
        float32 (M, D). They are read where they are: no copy of them is made.
    y
        int64 (M,): the class number of each row.
    n_classes
        C; may be larger than the number of classes in ``y``.
    check_stop
        Called between the steps of a fit.
    members
        Which N of the M rows these are, in ascending order. Defaults to all of them.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        y: NDArray[np.int64],
        n_classes: int,
        check_stop: StopCheck = never_stop,
        members: NDArray[np.intp] | None = None,
    ) -> None:
        self._features = features
        self._members = np.arange(len(features)) if members is None else members
        self.y, self.n_classes, self.check_stop = y[self._members], n_classes, check_stop
        self.count, self.dim = len(self._members), features.shape[1]
        self.is_dual = self.count < self.dim
        self.class_frequencies = np.bincount(self.y, minlength=n_classes) / self.count  # (C,)
        self.blocks, self._scratch = row_blocks(self.count), Scratch()
        self.mean, self.scale = np.zeros(self.dim, np.float32), 1.0
        sums = on_all_cores(lambda rows: self.block(rows).sum(axis=0, dtype=np.float64), self.blocks, check_stop)
        self.mean = (sum(sums, np.zeros(self.dim)) / self.count).astype(np.float32)
        squares = on_all_cores(self._sum_of_squares, self.blocks, check_stop)
        self.scale = float(np.sqrt(sum(squares) / (self.count * self.dim))) or 1.0

    def block(self, rows: slice, columns: slice = slice(None), name: str = "block") -> NDArray[np.float32]:
        """Return some rows and columns, standardised, in this thread's scratch array of that name."""
        picked = self._features[self._members[rows], columns]
        values = self._scratch.array(name, *picked.shape)
        np.subtract(picked, self.mean[columns], out=values)
        values *= np.float32(1 / self.scale)
        return values

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """The smaller of X'X/N (D, D) and its dual form XX'/N (N, N)."""
        size, along = (self.count, self.dim) if self.is_dual else (self.dim, self.count)
        gram = np.zeros((size, size))
        tiles = [slice(start, min(start + _TILE, size)) for start in range(0, size, _TILE)]

        def fill(pair: tuple[slice, slice]) -> None:
            left, right = pair
            for start in range(0, along, BLOCK):
                part = slice(start, min(start + BLOCK, along))
                if self.is_dual:
                    a = self.block(left, part, "left").T
                    b = a if left == right else self.block(right, part, "right").T
                else:
                    a = self.block(part, left, "left")
                    b = a if left == right else self.block(part, right, "right")
                gram[left, right] += np.matmul(a.T, b, out=self._scratch.array("product", a.shape[1], b.shape[1]))
            gram[left, right] /= self.count
            if left != right:
                gram[right, left] = gram[left, right].T

        pairs = [(left, right) for i, left in enumerate(tiles) for right in tiles[i:]]
        for _ in on_all_cores(fill, pairs, self.check_stop):
            pass
        return gram

    @cached_property
    def class_sums(self) -> NDArray[np.float64]:
        """The sum of each class's rows (D, C), divided by N."""
        from scipy.sparse import csr_array

        def add_up(rows: slice) -> NDArray[np.float32]:
            y, block = self.y[rows], self.block(rows)
            is_of_class = csr_array((np.ones(len(y), np.float32), (y, np.arange(len(y)))), (self.n_classes, len(y)))
            sums: NDArray[np.float32] = is_of_class @ block
            return sums

        total = np.zeros((self.n_classes, self.dim))
        for sums in on_all_cores(add_up, self.blocks, self.check_stop):
            total += sums
        return np.ascontiguousarray(total.T) / self.count

    def combine(self, factors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return X'A (D, K) for factors A (N, K)."""
        total, factors = np.zeros((self.dim, factors.shape[1])), factors.astype(np.float32)
        for part in on_all_cores(lambda rows: self.block(rows).T @ factors[rows], self.blocks, self.check_stop):
            total += part
        return total

    def softmax_layer(self, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> SoftmaxLayer:
        """Return the layer with weights (D, C) and bias (C,), and the mean and scale of these rows."""
        return SoftmaxLayer(
            mean=self.mean,
            scale=np.array([self.scale], np.float32),
            weights=np.ascontiguousarray(weights, np.float32),
            bias=np.asarray(bias, np.float32),
            temperature=np.ones(1, np.float32),
        )

    def _sum_of_squares(self, rows: slice) -> float:
        block = self.block(rows).ravel()
        return float(np.einsum("n,n->", block, block, dtype=np.float64))
