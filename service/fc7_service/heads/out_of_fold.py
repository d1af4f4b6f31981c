"""Predictions for every row of a training set, each by a head that was fitted without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.blocks import logits_in_blocks
from fc7_service.heads.fit import FittedHead
from fc7_service.heads.folds import HELD_OUT_FOLD, NO_FOLD
from fc7_service.heads.methods import fit_method
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.temperature import fit_temperature


def predict_out_of_fold(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    fitted: FittedHead,
    check_stop: StopCheck,
) -> NDArray[np.float32]:
    """Return logits (N, C): those of each row come from a layer that was fitted on the other folds.

    The method and the strength are those of ``fitted``; its weights are not used, because they have seen every row.

    Rows without a fold are fitted by none of these layers. The one without the held-out fold predicts them.

    References
    ----------
    Stone 1974, "Cross-validatory choice and assessment of statistical predictions", section 2.
    """
    logits = np.empty((len(y), len(fitted.classes)), np.float32)
    for fold in np.unique(folds[folds != NO_FOLD]):
        others = np.flatnonzero((folds != fold) & (folds != NO_FOLD))
        judged = np.flatnonzero((folds == fold) | ((folds == NO_FOLD) & (fold == HELD_OUT_FOLD)))
        rows = StandardisedRows(features, y, len(fitted.classes), check_stop, others, fitted.weights)
        layer = next(fit_method(fitted.method, (fitted.strength,), rows, directions=fitted.directions))
        logits[judged] = logits_in_blocks(layer, features, judged, check_stop)
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
