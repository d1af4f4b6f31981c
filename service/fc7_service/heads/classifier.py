"""A trained head that is ready to classify."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7_service.bundle.softmax import softmax
from fc7_service.heads.conformal import least_probability
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.unknown_rule import UnknownRule
from fc7_service.heads.unknown_scores import known_scores


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
    calibration: NDArray[np.float32] | None = None  # (M,): see `calibration_scores`; None before release 0.3
    known_rows: NDArray[np.float16] | None = None  # (K, D): see `known_scores`; None where the rule does not use them

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
        self._check_shape(features)
        return self.softmax.probabilities(features)

    def check_unknown_rule(self) -> UnknownRule:
        """Return the rule by which the head refuses pictures of none of its classes.

        Raises
        ------
        FailedPrecondition
            It has none.
        """
        if self.version.unknown is None:
            raise FailedPrecondition(
                f"version {self.version.version} of head {self.version.name!r} cannot refuse unknown pictures: that "
                "takes at least three classes, and a training by fc7 0.3 or newer that is not instant",
                name=self.version.name,
                reason=Reason.HEAD_WITHOUT_RULE,
            )
        return self.version.unknown

    def are_unknown(self, features: NDArray[np.float32], n_views: int = 1) -> NDArray[np.bool_]:
        """Return which pictures are of none of the classes.

        Parameters
        ----------
        features
            float32 (N * V, D): the views of each picture one after the other. Their scores are averaged.
        n_views
            V.

        Raises
        ------
        FailedPrecondition
            The head has no rule for that.
        """
        rule = self.check_unknown_rule()
        self._check_shape(features)
        scores = known_scores(rule.score, self.softmax, features, self.known_rows)
        return np.asarray(scores.reshape(-1, n_views).mean(axis=1) < rule.threshold)

    def least_probability(self, coverage: float) -> float:
        """Return the probability from which a class is in the set of a picture; see `least_probability`.

        Raises
        ------
        FailedPrecondition
            The head was trained before release 0.3.
        """
        if self.calibration is None:
            raise FailedPrecondition(
                f"version {self.version.version} of head {self.version.name!r} has no sets of classes, because an "
                "older fc7 trained it: train the head again",
                name=self.version.name,
                reason=Reason.HEAD_WITHOUT_REPORT,
            )
        return least_probability(self.calibration, coverage)

    def _check_shape(self, features: NDArray[np.float32]) -> None:
        dim = len(self.softmax.mean)
        if features.ndim != 2 or features.shape[1] != dim:
            raise InvalidArgument(
                f"head {self.version.name!r} takes features of shape (N, {dim}) (got {features.shape})",
                name="features",
            )
