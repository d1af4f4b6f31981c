"""How a head is fitted: choose a method on the training rows, test it on the held-out rows, then fit all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.folds import HELD_OUT_FOLD, assign_folds
from fc7_service.heads.limits import check_size
from fc7_service.heads.logistic import fit_logistic
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck, never_stop
from fc7_service.heads.temperature import fit_temperature

# Strengths of the penalty, for features of unit average variance, strongest first.
_RIDGE_STRENGTHS = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
_LOGISTIC_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
_DEFAULT = ("ridge", 10.0)  # if every class is too small to validate
_CROSS_VALIDATED_ROWS = 1000  # up to here each fold validates in turn; above, one fold is enough
_LARGEST = 1e30  # above, float32 sums overflow


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A fitted head and how well it does."""

    softmax: SoftmaxLayer
    classes: tuple[str, ...]  # sorted
    accuracy: float  # on the held-out rows, before they joined the final fit
    majority_accuracy: float  # on the same rows, of always answering the class that is most frequent in the others
    held_out: int  # rows
    method: str  # "ridge" or "logistic"
    strength: float  # of the penalty
    nll: float  # negative log-likelihood of the held-out rows, in nats per row, after the temperature


def fit_head(
    features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str], check_stop: StopCheck = never_stop
) -> FittedHead:
    """Fit a softmax layer; the same rows always give the same layer.

    The method and the strength of the penalty are chosen without the held-out fifth of the rows, which then gives the
    accuracy and the temperature (a temperature changes no decision). The layer returned is fitted on all rows.

    Parameters
    ----------
    features
        float32 (N, D), finite.
    labels
        Class of each row.
    groups
        Content hash of each row: copies stay on one side of every split.
    check_stop
        Called every second or two, up to about 4,000 rows or dimensions. Above that, a single factorisation or
        product may take longer and cannot be interrupted.

    Raises
    ------
    InvalidArgument
        Shapes do not match, a value is not finite, or there are too few classes or images.
    ResourceExhausted
        There are more rows or classes than memory may have to hold.
    """
    import scipy.linalg  # noqa: F401  # loads its own BLAS, which the limit below must find
    from threadpoolctl import threadpool_limits

    _check_features(features, labels, groups)
    # BLAS threads wait for one another by spinning: beside one busy core, two were 25 times slower than one.
    with threadpool_limits(1, user_api="blas"):
        return _fit(features, labels, groups, check_stop)


def _fit(
    features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str], check_stop: StopCheck
) -> FittedHead:
    folds = assign_folds(labels, groups)
    classes = tuple(sorted(set(labels)))
    class_numbers = {label: i for i, label in enumerate(classes)}
    y = np.array([class_numbers[label] for label in labels])
    method, strength = _choose(features, y, folds, len(classes), check_stop)

    is_held_out = folds == HELD_OUT_FOLD
    truth = y[is_held_out]
    trial = _fit_method(
        StandardisedRows(features[~is_held_out], y[~is_held_out], len(classes), check_stop), method, strength
    )
    logits = trial.logits(features[is_held_out])
    temperature, nll = fit_temperature(logits, truth, check_stop)
    majority = np.bincount(y[~is_held_out]).argmax()
    final = _fit_method(StandardisedRows(features, y, len(classes), check_stop), method, strength)
    return FittedHead(
        softmax=replace(final, temperature=np.array([temperature], np.float32)),
        classes=classes,
        accuracy=float(np.mean(logits.argmax(axis=1) == truth)),
        majority_accuracy=float(np.mean(truth == majority)),
        held_out=len(truth),
        method=method,
        strength=strength,
        nll=nll,
    )


def _choose(
    features: NDArray[np.float32], y: NDArray[np.int64], folds: NDArray[np.int8], n_classes: int, check_stop: StopCheck
) -> tuple[str, float]:
    """Return the method and strength with the least negative log-likelihood on rows that are not held out."""
    candidates = [("ridge", strength) for strength in _RIDGE_STRENGTHS]
    candidates += [("logistic", strength) for strength in _LOGISTIC_STRENGTHS]
    logits: list[list[NDArray[np.float32]]] = [[] for _ in candidates]  # per candidate, per fold
    truth: list[NDArray[np.int64]] = []  # per fold
    for fold in _validation_folds(folds):
        is_fitted = (folds != HELD_OUT_FOLD) & (folds != fold)
        # A class of two images cannot be validated: one is held out, the other is trained on.
        is_tested = (folds == fold) & np.isin(y, y[is_fitted])
        if not is_tested.any():
            continue
        rows = StandardisedRows(features[is_fitted], y[is_fitted], n_classes, check_stop)
        layers = [fit_ridge(rows, strength) for strength in _RIDGE_STRENGTHS]
        layers += fit_logistic(rows, _LOGISTIC_STRENGTHS)
        for logits_of_candidate, layer in zip(logits, layers, strict=True):
            logits_of_candidate.append(layer.logits(features[is_tested]))
        truth.append(y[is_tested])
    if not truth:
        return _DEFAULT
    every_truth = np.concatenate(truth)
    losses = [fit_temperature(np.concatenate(of_candidate), every_truth, check_stop)[1] for of_candidate in logits]
    return candidates[int(np.argmin(losses))]


def _validation_folds(folds: NDArray[np.int8]) -> list[int]:
    """Return the folds that validate in turn: all but the held-out one, or the first of them if it is large."""
    validating = [fold for fold in range(HELD_OUT_FOLD + 1, folds.max() + 1) if np.any(folds == fold)]
    return validating[:1] if np.sum(folds != HELD_OUT_FOLD) > _CROSS_VALIDATED_ROWS else validating


def _fit_method(rows: StandardisedRows, method: str, strength: float) -> SoftmaxLayer:
    return fit_ridge(rows, strength) if method == "ridge" else next(fit_logistic(rows, (strength,)))


def _check_features(features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str]) -> None:
    if features.ndim != 2 or len(features) != len(labels) or len(labels) != len(groups):
        raise InvalidArgument(
            f"features of shape {features.shape} came with {len(labels)} labels and {len(groups)} groups: "
            "send one row, one label and one group per image",
            name="features",
        )
    check_size(len(features), features.shape[1], len(set(labels)))
    is_good = (np.abs(features) < _LARGEST).all(axis=1)  # False for NaN too
    if not is_good.all():
        raise InvalidArgument(
            f"row {int(np.argmin(is_good))} of the features has a value that is NaN, infinite or above "
            f"{_LARGEST:g}: extract that image again",
            name="features",
        )
