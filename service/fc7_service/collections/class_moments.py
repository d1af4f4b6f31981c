"""Sums over labelled rows, from which a linear classifier follows without reading the rows again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512  # rows of one float32 product; the sums of blocks are added in float64


class Change(NamedTuple):
    """A row whose class changed. Without a class it does not count."""

    vector: NDArray[np.floating]  # (D,)
    before: str | None
    after: str | None


class Moments(NamedTuple):
    """What is known about N labelled rows of D numbers and C classes."""

    n_rows: int  # N
    mean: NDArray[np.float64]  # (D,)
    gram: NDArray[np.float64]  # (D, D): X'X / N of the rows without their mean
    classes: tuple[str, ...]  # sorted
    class_counts: NDArray[np.int64]  # (C,): rows of each
    class_sums: NDArray[np.float64]  # (D, C): sum of each class's rows without the mean of all, / N


class ClassMoments:
    """The Gram matrix and the class sums of a set of rows that changes.

    The rows are taken without a vector near their mean, so that little is lost when the square of the mean is
    subtracted.

    Parameters
    ----------
    origin
        (D,): that vector.

    Attributes
    ----------
    count, n_removed
        Rows in the sums, and rows that were taken out of them. Each leaves a rounding error behind.
    """

    def __init__(self, origin: NDArray[np.floating]) -> None:
        self._origin = origin.astype(np.float32)
        self.count = self.n_removed = 0
        self._gram = np.zeros((len(origin), len(origin)))
        self._sums: dict[str, NDArray[np.float64]] = {}  # class -> (D,)
        self._counts: dict[str, int] = {}

    @property
    def n_bytes(self) -> int:
        """Memory that the matrix takes."""
        return self._gram.nbytes

    def apply(self, changes: Iterable[Change]) -> None:
        """Add, remove and relabel rows."""
        rest = iter(changes)
        while block := list(islice(rest, _BLOCK)):
            values = np.stack([change.vector for change in block]).astype(np.float32)
            values -= self._origin
            for row, change in zip(values, block, strict=True):
                self._count(change.before, row, -1)
                self._count(change.after, row, 1)
            self._add_product(values[[change.before is None and change.after is not None for change in block]], 1)
            self._add_product(values[[change.before is not None and change.after is None for change in block]], -1)

    def read(self) -> Moments:
        """Return the moments as of now, in new arrays."""
        classes = tuple(sorted(self._sums))
        sums = np.stack([self._sums[name] for name in classes], axis=1)  # (D, C), about the origin
        counts = np.array([self._counts[name] for name in classes])
        offset = sums.sum(axis=1) / self.count
        gram = self._gram / self.count
        for i, value in enumerate(offset):  # row by row: the product of both would be a second matrix
            gram[i] -= value * offset
        sums = (sums - np.outer(offset, counts)) / self.count
        return Moments(self.count, self._origin + offset, gram, classes, counts, sums)

    def _count(self, name: str | None, row: NDArray[np.float32], sign: int) -> None:
        if name is None:
            return
        self._counts[name] = self._counts.get(name, 0) + sign
        if not self._counts[name]:
            del self._counts[name], self._sums[name]
        elif name in self._sums:
            self._sums[name] += sign * row
        else:
            self._sums[name] = row.astype(np.float64)

    def _add_product(self, values: NDArray[np.float32], sign: int) -> None:
        from threadpoolctl import threadpool_limits

        if len(values):
            self.count += sign * len(values)
            self.n_removed += len(values) if sign < 0 else 0
            with threadpool_limits(1, user_api="blas"):  # its threads would wait for one another by spinning
                product = values.T @ values
            product *= np.float32(sign)
            self._gram += product


def mean_of(vectors: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Return the mean (D,) of some rows, which serves as an origin."""
    mean: NDArray[np.float64] = np.stack(vectors).mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)
