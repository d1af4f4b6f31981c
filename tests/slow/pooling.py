"""Max-pooling, its switches, and the pooled layers for photographs.

- Overlapping max-pooling: Krizhevsky, Sutskever & Hinton 2012, section 3.4.
- Switches and unpooling: Zeiler & Fergus 2013, section 2.1.
- Maxima of the cells of a fixed grid: He et al. 2014, section 2.2, one level of the pyramid.
- Generalised mean: Radenovic, Tolias & Chum 2018, equation 3.
- Whitening: Jegou & Chum 2012, section 2; Babenko & Lempitsky 2015, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np


def out_size(size: int, kernel: int, stride: int, pads: tuple[int, int], *, rounds_up: bool = False) -> int:
    """Return how many windows of ``kernel`` lines fit on ``size`` lines, padding included.

    When the count is rounded up, the last window must still begin on a real line or in the padding before it.
    """
    free = size + pads[0] + pads[1] - kernel
    if not rounds_up:
        return free // stride + 1
    count = math.ceil(free / stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count


def max_pool(
    x: np.ndarray,
    taps: int,
    stride: int,
    pads: tuple[int, int] = (0, 0),
    *,
    dilation: int = 1,
    rounds_up: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maxima of ``x`` (C, H, W) and their switches: the row and column of each, (C, H', W', 2).

    Of equal maxima the first in row order counts.
    """
    kernel = (taps - 1) * dilation + 1
    height, width = (out_size(size, kernel, stride, pads, rounds_up=rounds_up) for size in x.shape[1:])
    values = np.full((len(x), height, width), -np.inf)
    switches = np.zeros((len(x), height, width, 2), int)
    for c in range(len(x)):
        for i in range(height):
            for j in range(width):
                for row in range(i * stride - pads[0], i * stride - pads[0] + kernel, dilation):
                    for column in range(j * stride - pads[0], j * stride - pads[0] + kernel, dilation):
                        is_inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
                        if is_inside and x[c, row, column] > values[c, i, j]:
                            values[c, i, j] = x[c, row, column]
                            switches[c, i, j] = row, column
    return values, switches


def unpool(signal: np.ndarray, switches: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return maps of ``shape`` with each value of ``signal`` (C, H', W') at its switch; values that meet add up."""
    out = np.zeros(shape)
    for c, i, j in np.ndindex(*signal.shape):
        row, column = switches[c, i, j]
        out[c, row, column] += signal[c, i, j]
    return out


def grid_max_pool(x: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of ``x`` (C, H, W) in each cell of a ``grid`` x ``grid``, and the switches.

    Cell i covers the lines from ``floor(i * size / grid)`` up to, and without, ``ceil((i + 1) * size / grid)``.
    """
    values = np.full((len(x), grid, grid), -np.inf)
    switches = np.zeros((len(x), grid, grid, 2), int)
    for c, i, j in np.ndindex(*values.shape):
        for row in _cell(i, x.shape[1], grid):
            for column in _cell(j, x.shape[2], grid):
                if x[c, row, column] > values[c, i, j]:
                    values[c, i, j] = x[c, row, column]
                    switches[c, i, j] = row, column
    return values, switches


def _cell(i: int, size: int, grid: int) -> range:
    return range(math.floor(i * size / grid), math.ceil((i + 1) * size / grid))


def generalised_mean(x: np.ndarray, power: float, least: float) -> np.ndarray:
    """Return the root of order ``power`` of the mean of that power of each map of ``x`` (C, H, W).

    Values below ``least`` count as ``least``.
    """
    means = np.zeros(len(x))
    for c, row, column in np.ndindex(*x.shape):
        means[c] += max(float(x[c, row, column]), least) ** power / (x.shape[1] * x.shape[2])
    return means ** (1 / power)


def gem_of_sizes(sizes: Iterable[np.ndarray], power: float, least: float) -> np.ndarray:
    """Return the generalised means of maps (C, H, W) at several sizes, each of length one, joined."""
    means = [generalised_mean(maps, power, least) for maps in sizes]
    return np.concatenate([one / math.sqrt(sum(one**2)) for one in means])


def whiten(features: np.ndarray, dim: int, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (D,) and the directions (min(dim, N - 1, D), D) that whiten ``features`` (N, D).

    A direction of variance v is divided by ``sqrt(v + shrink * mean variance)``.
    """
    n, d = features.shape
    mean = sum(features) / n
    covariance = np.zeros((d, d))
    for row in features:
        covariance += np.outer(row - mean, row - mean) / (n - 1)
    variances, vectors = np.linalg.eigh(covariance)  # ascending; a vector is a column
    added = shrink * variances.sum() / d
    directions = [vectors[:, -1 - i] / np.sqrt(variances[-1 - i] + added) for i in range(min(dim, n - 1, d))]
    return mean, np.array(directions)
