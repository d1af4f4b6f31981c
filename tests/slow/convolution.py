"""Convolution, its transpose, batch normalisation folded into it, and what its units see.

- Convolution and transpose: Zeiler & Fergus 2013, section 2.1 ("transposed versions of the same filters").
- Batch normalisation: Ioffe & Szegedy 2015, algorithm 2 (inference).
- Receptive field: the set of input lines that one output line can read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: int = 1, pad: int = 0, dilation: int = 1,
    group: int = 1,
) -> np.ndarray:  # fmt: skip
    """Return the maps that ``weight`` (M, C / group, k, k) makes of ``x`` (C, H, W), zero-padded."""
    maps, channels, k, _ = weight.shape
    height, width = ((size + 2 * pad - (k - 1) * dilation - 1) // stride + 1 for size in x.shape[1:])
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    y = np.zeros((maps, height, width))
    for m, i, j in np.ndindex(*y.shape):
        seen = _seen(padded, m // (maps // group) * channels, channels, i * stride, j * stride, k, dilation)
        y[m, i, j] = bias[m] + (weight[m] * seen).sum()
    return y


def convolve_back(
    signal: np.ndarray, weight: np.ndarray, shape: tuple[int, ...], *, stride: int = 1, pad: int = 0,
    dilation: int = 1, group: int = 1,
) -> np.ndarray:  # fmt: skip
    """Return maps of ``shape`` (C, H, W): each value of ``signal`` (M, H', W') spread by its filter, overlaps added."""
    maps, channels, k, _ = weight.shape
    padded = np.zeros((shape[0], shape[1] + 2 * pad, shape[2] + 2 * pad))
    for m, i, j in np.ndindex(*signal.shape):
        seen = _seen(padded, m // (maps // group) * channels, channels, i * stride, j * stride, k, dilation)
        seen += weight[m] * signal[m, i, j]
    return padded[:, pad : pad + shape[1], pad : pad + shape[2]]


def _seen(
    padded: np.ndarray, first: int, channels: int, row: int, column: int, k: int, dilation: int
) -> np.ndarray:  # fmt: skip
    """Return the part (channels, k, k) that a filter covers: the maps of its group, from ``row`` and ``column`` on."""
    reach = (k - 1) * dilation + 1
    return padded[first : first + channels, row : row + reach : dilation, column : column + reach : dilation]


def batch_norm(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> np.ndarray:
    """Return ``x`` (C, ...) normalised map by map with stored statistics."""
    y = np.zeros(x.shape)
    for c in range(len(x)):
        y[c] = (x[c] - mean[c]) / np.sqrt(variance[c] + epsilon) * scale[c] + shift[c]
    return y


def lines_seen(steps: Sequence[tuple[int, int, int]], line: int) -> set[int]:
    """Return the lines of the picture, those of the padding included, that one line of the last map reads.

    Each step is (kernel, stride, padding before the first line), first step first.
    """
    lines = {line}
    for kernel, stride, pad in reversed(steps):
        lines = {i * stride - pad + tap for i in lines for tap in range(kernel)}
    return lines
