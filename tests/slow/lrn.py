"""Local response normalisation.

Krizhevsky, Sutskever & Hinton 2012, section 3.3: every activation is divided by the energy of the maps around it.
"""

from __future__ import annotations

import numpy as np


def lrn(a: np.ndarray, *, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> np.ndarray:
    """Return ``b[i] = a[i] / (k + alpha * sum_j a[j] ** 2) ** beta`` for maps ``a`` (C, H, W)."""
    b = np.zeros(a.shape)
    for i in range(len(a)):
        b[i] = a[i] / _divisor(a, i, n, alpha, k) ** beta
    return b


def lrn_gradient(a: np.ndarray, signal: np.ndarray, *, n: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """Return the gradient at ``a`` of a loss whose gradient at ``lrn(a)`` is ``signal``.

    Each output ``b[i]`` depends on its own activation directly, and on every ``a[j]`` near it through the divisor.
    """
    gradient = np.zeros(a.shape)
    for i in range(len(a)):
        s = _divisor(a, i, n, alpha, k)
        gradient[i] += signal[i] * s**-beta
        for j in _neighbours(a, i, n):
            gradient[j] += signal[i] * a[i] * -beta * s ** (-beta - 1) * 2 * alpha * a[j]
    return gradient


def _divisor(a: np.ndarray, i: int, n: int, alpha: float, k: float) -> np.ndarray:
    s = np.full(a.shape[1:], k, np.float64)
    for j in _neighbours(a, i, n):
        s += alpha * a[j].astype(np.float64) ** 2
    return s


def _neighbours(a: np.ndarray, i: int, n: int) -> range:
    return range(max(0, i - n // 2), min(len(a) - 1, i + n // 2) + 1)
