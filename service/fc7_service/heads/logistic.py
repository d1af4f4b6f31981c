"""Multinomial logistic regression with an L2 penalty, by L-BFGS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.standardised_rows import StandardisedRows


def fit_logistic(rows: StandardisedRows, strengths: Sequence[float]) -> Iterator[SoftmaxLayer]:
    """Minimise the mean negative log-likelihood + strength / 2 * |W|^2; yield one layer per strength.

    Each fit starts from the solution of the one before. In more than 512 dimensions the weights are confined to the
    leading directions of the rows.

    References
    ----------
    Bishop 2006, "Pattern Recognition and Machine Learning", section 4.3.4 (the likelihood and its gradient).
    """
    from scipy.optimize import minimize

    z = rows.x if rows.basis is None else rows.x @ rows.basis  # (N, K)
    shape, every_row = (z.shape[1] + 1, rows.n_classes), np.arange(len(z))  # the last row of a solution is the bias

    def loss(flat: NDArray[np.float64], strength: float) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient."""
        rows.check_stop()
        layer = flat.reshape(shape)
        logits = z @ layer[:-1].astype(np.float32) + layer[-1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        logits_of_truth = logits[every_row, rows.y]
        powers = np.exp(logits, out=logits)  # in place: logits and residuals are as large as the rows
        sums = powers.sum(axis=1, keepdims=True)
        residuals = np.divide(powers, sums, out=powers)
        residuals[every_row, rows.y] -= 1
        gradient = np.empty(shape)
        gradient[:-1] = z.T @ residuals / len(z) + strength * layer[:-1]
        gradient[-1] = residuals.mean(axis=0, dtype=np.float64)
        nll = np.mean(np.log(sums[:, 0]) - logits_of_truth, dtype=np.float64)
        return float(nll + strength / 2 * np.sum(layer[:-1] ** 2)), gradient.ravel()

    layer = np.zeros(shape)
    layer[-1] = np.log(np.maximum(rows.class_frequencies, 1 / (len(z) + 1)))
    for strength in strengths:
        options = {"maxiter": 300, "ftol": 1e-7, "gtol": 1e-5}
        layer = minimize(loss, layer.ravel(), (strength,), "L-BFGS-B", jac=True, options=options).x.reshape(shape)
        yield rows.softmax_layer(layer[:-1] if rows.basis is None else rows.basis @ layer[:-1], layer[-1])
