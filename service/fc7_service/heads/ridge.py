"""Ridge regression on one-hot targets, in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.standardised_rows import StandardisedRows


def fit_ridge(rows: StandardisedRows, strengths: Sequence[float]) -> Iterator[SoftmaxLayer]:
    """Minimise |XW - (T - mean of T)|^2 / N + strength * |W|^2 over the weights W (D, C); yield a layer per strength.

    X (N, D) are the standardised rows, T (N, C) their one-hot classes. The bias is the mean of T. The Gram matrix is
    computed once; each strength costs one Cholesky factorisation.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 3.4.1, equation 3.44;
    Saunders, Gammerman & Vovk 1998, "Ridge regression learning algorithm in dual variables" (the dual form).
    """
    for strength in strengths:
        rows.check_stop()
        if rows.is_dual:
            targets = np.eye(rows.n_classes)[rows.y] - rows.class_frequencies
            weights = rows.combine(_solve(rows.gram, targets / rows.count, strength))
        else:
            weights = _solve(rows.gram, rows.class_sums, strength)
        yield rows.softmax_layer(weights, rows.class_frequencies)


def _solve(gram: NDArray[np.float64], right: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Return (gram + strength I)^-1 right, with more strength if rounding has made the matrix indefinite.

    The factor is computed in the upper triangle of ``gram``, which then gets its values back from the lower one: a
    second matrix of that size could be as large as the features.
    """
    from scipy.linalg.lapack import dpotrf, dpotrs

    diagonal = gram.diagonal().copy()
    while True:
        np.fill_diagonal(gram, diagonal + strength)
        factor, info = dpotrf(gram.T, lower=True, overwrite_a=True, clean=False)
        solution: NDArray[np.float64] | None = None if info else dpotrs(factor, right, lower=True)[0]
        for i in range(len(gram)):
            gram[i, i + 1 :] = gram[i + 1 :, i]
        np.fill_diagonal(gram, diagonal)
        if solution is not None:
            return solution
        strength *= 10
