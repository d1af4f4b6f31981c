"""A trained head that is ready to classify."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.bundle.softmax import softmax
from fc7_service.heads.head_version import HeadVersion


@dataclass(frozen=True, slots=True)
class SoftmaxLayer:
    """A softmax layer on standardised features: everything that a classifier computes with."""

    mean: NDArray[np.float32]  # (D,)
    scale: NDArray[np.float32]  # (1,)
    weights: NDArray[np.float32]  # (D, C)
    bias: NDArray[np.float32]  # (C,)
    temperature: NDArray[np.float32]  # (1,)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, C) of features (N, D), not yet divided by the temperature."""
        standardised = (features - self.mean) / self.scale
        return np.asarray(standardised @ self.weights + self.bias, np.float32)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (N, C) of features (N, D)."""
        return softmax(self.logits(features) / self.temperature)


@dataclass(frozen=True, slots=True)
class Classifier:
    """One version of a head with its weights."""

    version: HeadVersion
    softmax: SoftmaxLayer

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each class.

        Parameters
        ----------
        features
            float32 (N, D), raw, with the head's provenance.

        Returns
        -------
        NDArray[np.float32]
            (N, C), in the order of ``version.classes``; each row sums to 1.

        Raises
        ------
        InvalidArgument
            The features do not have D numbers each.
        """
        dim = len(self.softmax.mean)
        if features.ndim != 2 or features.shape[1] != dim:
            raise InvalidArgument(
                f"head {self.version.name!r} takes features of shape (N, {dim}) (got {features.shape})",
                name="features",
            )
        return self.softmax.probabilities(features)
