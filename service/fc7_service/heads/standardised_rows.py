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
    weights
        (M,): how much each row counts, above 0. They are divided by their mean over the N rows. Defaults to 1.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        y: NDArray[np.int64],
        n_classes: int,
        check_stop: StopCheck = never_stop,
        members: NDArray[np.intp] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._features = features
        self._members = np.arange(len(features)) if members is None else members
        self.y, self.n_classes, self.check_stop = y[self._members], n_classes, check_stop
        self.count, self.dim = len(self._members), features.shape[1]
        self.is_dual = self.count < self.dim
        self.weights: NDArray[np.float32] | None = None  # (N,), of mean 1
        self._roots: NDArray[np.float32] | None = None
        if weights is not None:
            own = weights[self._members]
            self.weights = (own / own.mean()).astype(np.float32)
            self._roots = np.sqrt(self.weights)
        self.class_frequencies = np.bincount(self.y, self.weights, minlength=n_classes) / self.count  # (C,)
        self.blocks, self._scratch = row_blocks(self.count), Scratch()
        self.mean, self.scale = np.zeros(self.dim, np.float32), 1.0
        sums = on_all_cores(self._sum, self.blocks, check_stop)
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

    def weighted_block(self, rows: slice, columns: slice = slice(None), name: str = "block") -> NDArray[np.float32]:
        """Return what ``block`` does, each row times the root of its weight: sums of squares are weighted then."""
        values = self.block(rows, columns, name)
        if self._roots is not None:
            values *= self._roots[rows, None]
        return values

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """The smaller of X'X/N (D, D) and its dual form XX'/N (N, N), of rows times the roots of their weights."""
        size, along = (self.count, self.dim) if self.is_dual else (self.dim, self.count)
        gram = np.zeros((size, size))
        tiles = [slice(start, min(start + _TILE, size)) for start in range(0, size, _TILE)]

        def fill(pair: tuple[slice, slice]) -> None:
            left, right = pair
            for start in range(0, along, BLOCK):
                part = slice(start, min(start + BLOCK, along))
                if self.is_dual:
                    a = self.weighted_block(left, part, "left").T
                    b = a if left == right else self.weighted_block(right, part, "right").T
                else:
                    a = self.weighted_block(part, left, "left")
                    b = a if left == right else self.weighted_block(part, right, "right")
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
        """The weighted sum of each class's rows (D, C), divided by N."""
        from scipy.sparse import csr_array

        def add_up(rows: slice) -> NDArray[np.float32]:
            y, block = self.y[rows], self.block(rows)
            shares = np.ones(len(y), np.float32) if self.weights is None else self.weights[rows]
            is_of_class = csr_array((shares, (y, np.arange(len(y)))), (self.n_classes, len(y)))
            sums: NDArray[np.float32] = is_of_class @ block
            return sums

        total = np.zeros((self.n_classes, self.dim))
        for sums in on_all_cores(add_up, self.blocks, self.check_stop):
            total += sums
        return np.ascontiguousarray(total.T) / self.count

    def combine(self, factors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return X'A (D, K) for factors A (N, K), of rows times the roots of their weights."""
        total, factors = np.zeros((self.dim, factors.shape[1])), factors.astype(np.float32)

        def multiply(rows: slice) -> NDArray[np.float32]:
            product: NDArray[np.float32] = self.weighted_block(rows).T @ factors[rows]
            return product

        for part in on_all_cores(multiply, self.blocks, self.check_stop):
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

    def _sum(self, rows: slice) -> NDArray[np.float64]:
        block = self.block(rows)
        if self.weights is not None:
            block *= self.weights[rows, None]
        total: NDArray[np.float64] = block.sum(axis=0, dtype=np.float64)
        return total

    def _sum_of_squares(self, rows: slice) -> float:
        block = self.weighted_block(rows).ravel()
        return float(np.einsum("n,n->", block, block, dtype=np.float64))
