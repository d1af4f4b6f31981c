"""How a head is fitted: choose a method on the training rows, test it on the held-out rows, then fit all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.heads.blocks import logits_in_blocks, row_blocks
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.folds import HELD_OUT_FOLD, assign_folds
from fc7_service.heads.leading_directions import LeadingDirections, find_leading_directions
from fc7_service.heads.limits import check_size
from fc7_service.heads.methods import CLOSELY, fit_method
from fc7_service.heads.row_weights import row_weights
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck, never_stop
from fc7_service.heads.temperature import fit_temperature

# Strengths of the penalty, for features of unit average variance, strongest first.
STRENGTHS = {"ridge": (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4), "logistic": (1e-1, 1e-2, 1e-3, 1e-4)}
_ROUGHLY, _EXACTLY = 1e-2, 1e-3  # see CLOSELY: to compare strengths, and for the head
_CROSS_VALIDATED_ROWS = 1000  # up to here each fold validates in turn; above, one fold is enough
_LARGEST = np.float32(1e30)  # above, float32 sums overflow


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
    folds: NDArray[np.int8]  # (N,): see `assign_folds`
    directions: LeadingDirections | None  # that further fits to these rows may use
    weights: NDArray[np.float64] | None = None  # (N,): how much each row counted; None for equal weights


def fit_head(
    features: NDArray[np.float32],
    labels: Sequence[str],
    groups: Sequence[str],
    check_stop: StopCheck = never_stop,
    *,
    weights: Sequence[float] = (),
    balanced: bool = False,
    earlier: Mapping[str, int] | None = None,
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
    weights
        How much each row counts in the fit and in the choice; the accuracy counts pictures. Defaults to 1.
    balanced
        Let every class count as much as any other, however many rows it has.
    earlier
        As for ``assign_folds``.

    Raises
    ------
    InvalidArgument
        Shapes do not match, a value is not finite, a weight is not between 1e-6 and 1e6, or there are too few classes
        or images.
    ResourceExhausted
        There are more rows or classes than memory may have to hold.
    """
    import scipy.linalg  # noqa: F401  # loads its own BLAS, which the limit below must find
    from threadpoolctl import threadpool_limits

    _check_features(features, labels, groups)
    # One thread in each of ours: see on_all_cores.
    with threadpool_limits(1, user_api="blas"):
        folds = assign_folds(labels, groups, earlier)
        return _fit(features, labels, folds, check_stop, row_weights(labels, weights, balanced))


def _fit(
    features: NDArray[np.float32],
    labels: Sequence[str],
    folds: NDArray[np.int8],
    check_stop: StopCheck,
    weights: NDArray[np.float64] | None,
) -> FittedHead:
    classes = tuple(sorted(set(labels)))
    class_numbers = {label: i for i, label in enumerate(classes)}
    y = np.array([class_numbers[label] for label in labels])
    choice = _choose(features, y, folds, len(classes), check_stop, weights)

    known, held_out = np.flatnonzero(folds != HELD_OUT_FOLD), np.flatnonzero(folds == HELD_OUT_FOLD)
    truth = y[held_out]
    method, strengths = choice.method, (choice.strength,)
    rows = StandardisedRows(features, y, len(classes), check_stop, known, weights)
    trial = next(fit_method(method, strengths, rows, CLOSELY, choice.layer, choice.directions))
    logits = logits_in_blocks(trial, features, held_out, check_stop)
    temperature, nll = fit_temperature(logits, truth, check_stop, None if weights is None else weights[held_out])
    is_right = logits.argmax(axis=1) == truth
    del logits
    rows = StandardisedRows(features, y, len(classes), check_stop, weights=weights)
    final = next(fit_method(method, strengths, rows, _EXACTLY, trial, choice.directions))
    return FittedHead(
        softmax=replace(final, temperature=np.array([temperature], np.float32)),
        classes=classes,
        accuracy=float(np.mean(is_right)),
        majority_accuracy=float(np.mean(truth == np.bincount(y[known]).argmax())),
        held_out=len(truth),
        method=method,
        strength=choice.strength,
        nll=nll,
        folds=folds,
        directions=choice.directions,
        weights=weights,
    )


class _Choice(NamedTuple):
    """A method and a strength, and the layer that they gave on some of the rows."""

    method: str
    strength: float
    layer: SoftmaxLayer | None = None
    directions: LeadingDirections | None = None  # of those rows, if fits to other rows may use them


_DEFAULT = _Choice("ridge", 10.0)  # if every class is too small to validate


class _Validation(NamedTuple):
    """Rows to fit, and other rows to compare the fits on."""

    fitted: StandardisedRows
    tested: NDArray[np.intp]


def _choose(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    n_classes: int,
    check_stop: StopCheck,
    weights: NDArray[np.float64] | None,
) -> _Choice:
    """Return the method and strength with the least negative log-likelihood on rows that are not held out.

    Each method goes from its greatest strength to smaller ones until the likelihood falls: the fits that would follow
    take longest.
    """
    validations = []
    for fold in _validation_folds(folds):
        fitted = np.flatnonzero((folds != HELD_OUT_FOLD) & (folds != fold))
        # A class of two images cannot be validated: one is held out, the other is trained on.
        tested = np.flatnonzero((folds == fold) & np.isin(y, y[fitted]))
        if len(tested):
            rows = StandardisedRows(features, y, n_classes, check_stop, fitted, weights)
            validations.append(_Validation(rows, tested))
    if not validations:
        return _DEFAULT
    tested = np.concatenate([validation.tested for validation in validations])
    truth, its_weights = y[tested], None if weights is None else weights[tested]

    best, best_loss = _DEFAULT, np.inf
    for method, strengths in STRENGTHS.items():
        last_loss = np.inf
        # Every method before has ended: finding the directions drops the Gram matrices.
        directions = [find_leading_directions(v.fitted) if method == "logistic" else None for v in validations]
        fits = [
            fit_method(method, strengths, validation.fitted, _ROUGHLY, directions=its_directions)
            for validation, its_directions in zip(validations, directions, strict=True)
        ]
        for strength, layers in zip(strengths, zip(*fits, strict=True), strict=True):
            logits = [
                logits_in_blocks(layer, features, validation.tested, check_stop)
                for layer, validation in zip(layers, validations, strict=True)
            ]
            loss = fit_temperature(np.concatenate(logits), truth, check_stop, its_weights)[1]
            if loss < best_loss:
                found = directions[0]
                shared = found if found is not None and found.serve_other_rows else None
                best, best_loss = _Choice(method, strength, layers[0], shared), loss
            if loss > last_loss:
                break
            last_loss = loss
    return best


def _validation_folds(folds: NDArray[np.int8]) -> list[int]:
    """Return the folds that validate in turn: all but the held-out one, or the first of them if it is large."""
    validating = [fold for fold in range(HELD_OUT_FOLD + 1, folds.max() + 1) if np.any(folds == fold)]
    return validating[:1] if np.sum(folds != HELD_OUT_FOLD) > _CROSS_VALIDATED_ROWS else validating


def _check_features(features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str]) -> None:
    if features.ndim != 2 or len(features) != len(labels) or len(labels) != len(groups):
        raise InvalidArgument(
            f"features of shape {features.shape} came with {len(labels)} labels and {len(groups)} groups: "
            "send one row, one label and one group per image",
            name="features",
        )
    check_size(len(features), features.shape[1], len(set(labels)))
    for rows in row_blocks(len(features)):
        is_good = (np.abs(features[rows]) < _LARGEST).all(axis=1)  # False for NaN too
        if not is_good.all():
            raise InvalidArgument(
                f"row {rows.start + int(np.argmin(is_good))} of the features has a value that is NaN, infinite or "
                f"above {_LARGEST:g}: extract that image again",
                name="features",
            )
