"""Ridge regression on one-hot targets, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.standardised_rows import StandardisedRows

T = TypeVar("T")
Real = TypeVar("Real", np.float32, np.float64)


def fit_ridge(rows: StandardisedRows, strengths: Sequence[float]) -> Iterator[SoftmaxLayer]:
    """Minimise |XW - (T - mean of T)|^2 / N + strength * |W|^2 over W (D, C); yield a layer per strength.

    X (N, D) are the standardised rows, T (N, C) their one-hot classes. The bias is the mean of T. Rows with
    weights count as often as their weights say. The Gram matrix is computed once; each strength costs one Cholesky
    factorisation.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 3.4.1, equation 3.44;
    Saunders, Gammerman & Vovk 1998, "Ridge regression learning algorithm in dual variables" (the dual form).
    """
    for strength in strengths:
        rows.check_stop()
        if rows.is_dual:
            targets = np.eye(rows.n_classes)[rows.y] - rows.class_frequencies
            if rows.weights is not None:
                targets *= np.sqrt(rows.weights)[:, None]
            weights = rows.combine(_solve(rows.gram, targets / rows.count, strength))
        else:
            weights = _solve(rows.gram, rows.class_sums, strength)
        yield rows.softmax_layer(weights, rows.class_frequencies)


def solve_with_leverages(
    gram: NDArray[np.float32],
    right: NDArray[np.float32],
    rows: NDArray[np.float32],
    strength: float,
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (gram + strength I)^-1 right, and the share (S,) that each of some rows (S, D) has in its own prediction.

    The Gram matrix is that of ``count`` centred rows, these among them, divided by their number.

    References
    ----------
    Hoaglin & Welsch 1978, "The hat matrix in regression and ANOVA", section 2; 1 / count is the part of the intercept.
    """
    from scipy.linalg.lapack import spotrs, strtrs

    def use(factor: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        halfway = strtrs(factor, rows.T, lower=True)[0]
        return spotrs(factor, right, lower=True)[0], (1 + np.einsum("ds,ds->s", halfway, halfway)) / np.float32(count)

    return _with_factor(gram, strength, use)


def _solve(gram: NDArray[np.float64], right: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Return (gram + strength I)^-1 right."""
    from scipy.linalg.lapack import dpotrs

    def use(factor: NDArray[np.float64]) -> NDArray[np.float64]:
        solution: NDArray[np.float64] = dpotrs(factor, right, lower=True)[0]
        return solution

    return _with_factor(gram, strength, use)


def _with_factor(gram: NDArray[Real], strength: float, use: Callable[[NDArray[Real]], T]) -> T:
    """Return what ``use`` makes of the Cholesky factor of gram + strength I, which is its only during the call.

    Where rounding has made the matrix indefinite, the strength grows. The factor is computed in the upper triangle of
    ``gram``, which then gets its values back from the lower one: a second matrix of that size could be as large as the
    features.
    """
    from scipy.linalg.lapack import dpotrf, spotrf

    factorise = spotrf if gram.dtype == np.float32 else dpotrf
    diagonal = gram.diagonal().copy()
    while True:
        np.fill_diagonal(gram, diagonal + strength)
        factor, info = factorise(gram.T, lower=True, overwrite_a=True, clean=False)
        found = None if info else use(factor)
        for i in range(len(gram)):
            gram[i, i + 1 :] = gram[i + 1 :, i]
        np.fill_diagonal(gram, diagonal)
        if found is not None:
            return found
        strength *= 10
