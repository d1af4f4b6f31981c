"""One version of a head, and what it says of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.bundle.provenance import Provenance

UNREADABLE = "unreadable"  # `HeadVersion.method` in a list, where the files do not say


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """The facts of one version of a head."""

    name: str
    version: int  # from 1
    provenance: Provenance  # of the features it was trained on
    classes: tuple[str, ...]  # sorted
    count: int  # rows that it was trained on
    accuracy: float  # share of the held-out rows classified correctly
    held_out: int  # rows
    method: str  # "ridge" or "logistic"
    seconds: float  # of fitting
    weights_sha256: str  # of the weights file, hex
    created: str  # ISO 8601 in UTC
    parent_version: int  # trained before it; 0 for none
    majority_accuracy: float | None = None  # of always answering the largest class; None: trained by an earlier fc7


@dataclass(frozen=True, slots=True)
class SoftmaxLayer:
    """A softmax layer on standardised features: all that a classifier computes with."""

    mean: NDArray[np.float32]  # (D,)
    scale: NDArray[np.float32]  # (1,)
    weights: NDArray[np.float32]  # (D, C)
    bias: NDArray[np.float32]  # (C,)
    temperature: NDArray[np.float32]  # (1,)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (N, C) of features (N, D), before the temperature."""
        standardised = (features - self.mean) / self.scale
        return np.asarray(standardised @ self.weights + self.bias, np.float32)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (N, C) of features (N, D)."""
        return softmax(self.logits(features) / self.temperature)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities (N, C) of logits (N, C)."""
    powers: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


@dataclass(frozen=True, slots=True)
class Classifier:
    """A head that is ready to classify."""

    version: HeadVersion
    softmax: SoftmaxLayer

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each class.

        Parameters
        ----------
        features
            float32 (N, D), raw, of the head's provenance.

        Returns
        -------
        NDArray[np.float32]
            (N, C), in the order of ``version.classes``; each row sums to 1.

        Raises
        ------
        InvalidArgument
            Another length than D.
        """
        dim = len(self.softmax.mean)
        if features.ndim != 2 or features.shape[1] != dim:
            raise InvalidArgument(
                f"features have shape {features.shape}: head {self.version.name!r} takes (N, {dim})", name="features"
            )
        return self.softmax.probabilities(features)
