"""The rows of a training set as every fit sees them, and the matrices that the fits share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.stop_check import StopCheck, never_stop

_BASIS = 512  # directions in which logistic regression works
_BLOCK = 1024  # rows per float32 product, which cannot be interrupted; blocks are added in float64


class StandardisedRows:
    """Rows with a known class, centred and scaled to unit average variance.

    Parameters
    ----------
    features
        float32 (N, D).
    y
        int64 (N,): the class number of each row.
    n_classes
        C; may be larger than the number of classes in ``y``.
    check_stop
        Called between the steps of a fit.
    """

    def __init__(
        self, features: NDArray[np.float32], y: NDArray[np.int64], n_classes: int, check_stop: StopCheck = never_stop
    ) -> None:
        self.y, self.n_classes, self.check_stop = y, n_classes, check_stop
        self.mean: NDArray[np.float32] = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.x = features - self.mean
        self.scale = np.sqrt(np.einsum("nd,nd->", self.x, self.x, dtype=np.float64) / self.x.size) or 1.0
        self.x /= np.float32(self.scale)
        self.class_frequencies = np.bincount(y, minlength=n_classes) / len(y)  # (C,)
        self.is_dual = len(self.x) < self.x.shape[1]

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """The smaller of X'X/N (D, D) and its dual form XX'/N (N, N)."""
        x = self.x.T if self.is_dual else self.x
        total = np.zeros((x.shape[1],) * 2)
        for start in range(0, len(x), _BLOCK):
            self.check_stop()
            block = x[start : start + _BLOCK]
            total += block.T @ block
        return total / len(self.x)

    @cached_property
    def basis(self) -> NDArray[np.float32] | None:
        """The leading directions (D, K), found by subspace iteration; None if D is small enough to use all."""
        if self.x.shape[1] <= _BASIS:
            return None
        q = np.random.default_rng(0).standard_normal((len(self.gram), min(_BASIS, len(self.gram))))
        for _ in range(3):
            self.check_stop()
            q = np.linalg.qr(self.gram @ q)[0]
        directions: NDArray[np.float32] = q.astype(np.float32)
        return np.linalg.qr(self.x.T @ directions)[0] if self.is_dual else directions

    def softmax_layer(self, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> SoftmaxLayer:
        """Return the layer with weights (D, C) and bias (C,), and the mean and scale of these rows."""
        return SoftmaxLayer(
            mean=self.mean,
            scale=np.array([self.scale], np.float32),
            weights=np.ascontiguousarray(weights, np.float32),
            bias=np.asarray(bias, np.float32),
            temperature=np.ones(1, np.float32),
        )
