"""Predictions for every row of a training set, each by a head that was fitted without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.folds import HELD_OUT_FOLD, NO_FOLD
from fc7_service.heads.logistic import fit_logistic
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.temperature import fit_temperature


def fit_method(rows: StandardisedRows, method: str, strength: float) -> SoftmaxLayer:
    """Fit one layer with a method ("ridge" or "logistic") and a strength that were chosen before."""
    return fit_ridge(rows, strength) if method == "ridge" else next(fit_logistic(rows, (strength,)))


def predict_out_of_fold(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    n_classes: int,
    method: str,
    strength: float,
    check_stop: StopCheck,
) -> NDArray[np.float32]:
    """Return logits (N, C): those of each row come from a layer that was fitted on the other folds.

    Rows without a fold are fitted by none of these layers. The one without the held-out fold predicts them.

    References
    ----------
    Stone 1974, "Cross-validatory choice and assessment of statistical predictions", section 2.
    """
    logits = np.empty((len(y), n_classes), np.float32)
    for fold in np.unique(folds[folds != NO_FOLD]):
        is_fitted = (folds != fold) & (folds != NO_FOLD)
        is_judged = (folds == fold) | ((folds == NO_FOLD) & (fold == HELD_OUT_FOLD))
        rows = StandardisedRows(features[is_fitted], y[is_fitted], n_classes, check_stop)
        logits[is_judged] = fit_method(rows, method, strength).logits(features[is_judged])
    return logits


def calibrate_out_of_fold(
    logits: NDArray[np.float32], y: NDArray[np.int64], folds: NDArray[np.int8], check_stop: StopCheck
) -> NDArray[np.float32]:
    """Return probabilities (N, C): the temperature of each fold is fitted on the logits of the others."""
    probabilities = np.empty_like(logits)
    for fold in np.unique(folds):
        others = (folds != fold) & (folds != NO_FOLD)
        temperature, _ = fit_temperature(logits[others], y[others], check_stop)
        probabilities[folds == fold] = softmax(logits[folds == fold] / np.float32(temperature))
    return probabilities
