"""Multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import Scratch, on_all_cores
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.lbfgs import minimise
from fc7_service.heads.leading_directions import Coordinates, LeadingDirections, find_leading_directions
from fc7_service.heads.standardised_rows import StandardisedRows


def fit_logistic(
    rows: StandardisedRows,
    strengths: Sequence[float],
    start: SoftmaxLayer | None = None,
    tolerance: float = 1e-6,
    directions: LeadingDirections | None = None,
) -> Iterator[SoftmaxLayer]:
    """Minimise the (weighted) mean negative log-likelihood + strength / 2 * |W|^2; yield one layer per strength.

    Each fit starts from the solution of the one before, the first from ``start``, a layer fitted on similar rows. In
    more than 1,024 dimensions the weights are confined to the leading directions of the rows. A fit ends when the next
    step promises to lower the objective by less than ``tolerance``. ``directions`` spares finding them: those of
    similar rows do.

    References
    ----------
    Bishop 2006, "Pattern Recognition and Machine Learning", section 4.3.4 (the likelihood and its gradient).
    """
    objective = _Objective(rows, directions or find_leading_directions(rows))
    point = objective.first_point(start)
    for strength in strengths:
        objective.begin(strength)
        point = minimise(objective.evaluate, point, objective.precondition, tolerance)
        yield objective.layer(point)


class _Objective:
    """The objective at a point (K + 1, C): weights in the coordinates of the rows and, in the last line, biases."""

    def __init__(self, rows: StandardisedRows, directions: LeadingDirections) -> None:
        self._rows, self._directions, self._scratch = rows, directions, Scratch()
        self._coordinates = Coordinates(rows, directions.basis)
        self._strength = 0.0
        self._curvature: NDArray[np.float64] | None = None  # (C,), at the first point of a fit

    def begin(self, strength: float) -> None:
        """Begin another fit."""
        self._strength, self._curvature = strength, None

    def first_point(self, start: SoftmaxLayer | None) -> NDArray[np.float64]:
        """Return where to begin: at ``start``, or at the frequencies of the classes."""
        rows, basis = self._rows, self._directions.basis
        point = np.zeros((len(self._directions.variances) + 1, rows.n_classes))
        if start is None:
            point[-1] = np.log(np.maximum(rows.class_frequencies, 1 / (rows.count + 1)))
        else:
            weights = start.weights / start.scale.astype(np.float64)  # for features that are not scaled
            point[-1] = start.bias + (rows.mean - start.mean) @ weights
            point[:-1] = (weights if basis is None else basis.T @ weights) * rows.scale
        return point

    def layer(self, point: NDArray[np.float64]) -> SoftmaxLayer:
        """Return the softmax layer of a point."""
        basis = self._directions.basis
        return self._rows.softmax_layer(point[:-1] if basis is None else basis @ point[:-1], point[-1])

    def evaluate(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient; the first time, keep the curvature too."""
        rows, with_curvature = self._rows, self._curvature is None
        weights, bias = point[:-1].astype(np.float32), point[-1].astype(np.float32)
        total, gradient, curvature = 0.0, np.zeros(point.shape), np.zeros(rows.n_classes)

        def part(i: int) -> tuple[float, NDArray[np.float32], NDArray[np.float64], NDArray[np.float32] | float]:
            """Return the sums over one block."""
            z, nlls, p = self._probabilities(i, weights, bias)
            shares = None if rows.weights is None else rows.weights[rows.blocks[i], None]
            curvatures = np.sum(p * (1 - p) * (1 if shares is None else shares), axis=0) if with_curvature else 0.0
            p[np.arange(len(z)), rows.y[rows.blocks[i]]] -= 1
            if shares is not None:
                p *= shares
                nlls *= shares[:, 0]
            return float(np.sum(nlls, dtype=np.float64)), z.T @ p, p.sum(axis=0, dtype=np.float64), curvatures

        for nll, weight_sums, bias_sums, curvatures in on_all_cores(part, range(len(rows.blocks)), rows.check_stop):
            total += nll
            gradient[:-1] += weight_sums
            gradient[-1] += bias_sums
            curvature += curvatures
        if with_curvature:
            self._curvature = np.maximum(curvature / rows.count, 1e-6)
        gradient /= rows.count
        gradient[:-1] += self._strength * point[:-1]
        return total / rows.count + self._strength / 2 * float(np.vdot(point[:-1], point[:-1])), gradient

    def precondition(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply by the inverse of the Hessian matrix, of which only the blocks of each class are kept.

        The block of class c is taken for h_c * gram + strength * I, with h_c the mean of p (1 - p) at the first point.
        This is after Boehning 1992, "Multinomial logistic regression algorithm", who bounds h_c by a half.
        """
        curvature, axes = self._curvature, self._directions.axes
        assert curvature is not None
        result = np.empty_like(gradient)
        turned = axes.T @ gradient[:-1].astype(np.float32)
        turned /= self._directions.variances[:, None] * curvature.astype(np.float32) + np.float32(self._strength)
        result[:-1] = axes @ turned
        result[-1] = gradient[-1] / curvature
        return result

    def _probabilities(
        self, i: int, weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the coordinates of a block, the negative log-likelihoods of its rows and its probabilities."""
        z, y = self._coordinates.block(i), self._rows.y[self._rows.blocks[i]]
        logits = np.matmul(z, weights, out=self._scratch.array("logits", len(z), len(bias)))
        logits += bias
        logits -= logits.max(axis=1, keepdims=True)
        logits_of_truth = logits[np.arange(len(z)), y]
        powers = np.exp(logits, out=logits)
        sums = powers.sum(axis=1, keepdims=True)
        return z, np.log(sums[:, 0]) - logits_of_truth, np.divide(powers, sums, out=powers)
