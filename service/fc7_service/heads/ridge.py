"""Ridge regression on one-hot targets, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.standardised_rows import StandardisedRows


def fit_ridge(rows: StandardisedRows, strength: float) -> SoftmaxLayer:
    """Minimise |XW - (T - mean of T)|^2 / N + strength * |W|^2 over the weights W (D, C).

    X (N, D) are the standardised rows, T (N, C) their one-hot classes. The bias is the mean of T.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 3.4.1, equation 3.44;
    Saunders, Gammerman & Vovk 1998, "Ridge regression learning algorithm in dual variables" (the dual form).
    """
    rows.check_stop()
    targets = np.eye(rows.n_classes, dtype=np.float32)[rows.y] - rows.class_frequencies.astype(np.float32)
    if rows.is_dual:
        weights = rows.x.T @ _solve(rows.gram, targets / len(targets), strength).astype(np.float32)
    else:
        weights = _solve(rows.gram, rows.x.T @ targets / len(targets), strength)
    return rows.softmax_layer(weights, rows.class_frequencies)


def _solve(gram: NDArray[np.float64], right: NDArray[np.floating], strength: float) -> NDArray[np.float64]:
    """Return (gram + strength I)^-1 right, with more strength if rounding has made the matrix indefinite."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    while True:
        shifted = gram.copy()
        shifted[np.diag_indices_from(shifted)] += strength
        try:
            factor = cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            strength *= 10
            continue
        solution: NDArray[np.float64] = cho_solve(factor, right.astype(np.float64), check_finite=False)
        return solution
