"""The learning curve of a head: its accuracy with fewer labels, and how many more would gain one point."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import logits_in_blocks
from fc7_service.heads.fit import FittedHead
from fc7_service.heads.folds import HELD_OUT_FOLD, NO_FOLD
from fc7_service.heads.methods import fit_method
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck

_SHARES = (0.125, 0.25, 0.5)  # of the labels; all of them are judged out of fold anyway
_SMALL = 1000  # rows; up to here every fold is tested, above the held-out one alone
_POINT = 0.01
_MOST_TIMES = 100  # as many labels: a forecast beyond is a guess


class CurvePoint(NamedTuple):
    """Accuracy of heads that were fitted on a part of the labels."""

    n_labels: int  # rows that a head was fitted on
    accuracy: float


def learning_curve(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    groups: Sequence[str],
    head: FittedHead,
    is_right: NDArray[np.bool_],
    check_stop: StopCheck,
) -> list[CurvePoint]:
    """Return the accuracy with an eighth, a quarter, a half and all of the labels that each fold leaves.

    Smaller parts are contained in larger ones, and every part keeps at least one picture of every class.

    Parameters
    ----------
    features, y, folds, groups
        As for the fit: float32 (N, D), class number, fold and group of each row.
    head
        The head fitted on all rows: its method and strength are used.
    is_right
        (N,): whether the out-of-fold prediction of each row is right, which is the last point.
    """
    keys = np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in groups], np.uint64)
    tested = np.unique(folds[folds != NO_FOLD]) if len(y) <= _SMALL else np.array([HELD_OUT_FOLD])
    is_tested = np.isin(folds, tested)
    points = []
    for share in _SHARES:
        counts, n_right = [], 0
        for fold in tested:
            left = np.flatnonzero((folds != fold) & (folds != NO_FOLD))
            fitted = left[_is_first(share, y[left], keys[left])]
            judged = np.flatnonzero(folds == fold)
            rows = StandardisedRows(features, y, len(head.classes), check_stop, fitted, head.weights)
            layer = next(fit_method(head.method, (head.strength,), rows, directions=head.directions))
            answers = logits_in_blocks(layer, features, judged, check_stop).argmax(axis=1)
            n_right += int(np.sum(answers == y[judged]))
            counts.append(len(fitted))
        points.append(CurvePoint(round(float(np.mean(counts))), n_right / int(is_tested.sum())))
    n_all = float(np.mean([np.sum((folds != fold) & (folds != NO_FOLD)) for fold in tested]))
    points.append(CurvePoint(round(n_all), float(is_right[is_tested].mean())))
    return points


def labels_for_one_point(points: Sequence[CurvePoint]) -> int | None:
    """Return about how many more labels raise the accuracy by one point; None if the curve does not tell.

    The error is taken to fall as a power of the number of labels: a straight line through the logarithms.

    References
    ----------
    Cortes et al. 1993, "Learning curves: asymptotic values and rate of convergence", equation 1, with asymptote 0;
    Hestness et al. 2017, arXiv 1712.00409, section 3.
    """
    used = [(count, 1 - accuracy) for count, accuracy in dict(points).items() if accuracy < 1]
    if len(used) < 3 or 1 - points[-1].accuracy <= _POINT:
        return None
    slope = float(np.polyfit(np.log([count for count, _ in used]), np.log([error for _, error in used]), 1)[0])
    error = 1 - points[-1].accuracy
    if slope >= 0:
        return None
    logarithm = np.log((error - _POINT) / error) / slope
    if logarithm > np.log(_MOST_TIMES):
        return None
    return max(1, round(points[-1].n_labels * (float(np.exp(logarithm)) - 1)))


def _is_first(share: float, y: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which rows are among the first ``share`` of their class by key, at least one per class."""
    sizes = np.bincount(y)
    order = np.lexsort((keys, y))
    ranks = np.empty(len(y), np.int64)
    ranks[order] = np.arange(len(y)) - (np.cumsum(sizes) - sizes)[y[order]]
    return np.asarray(ranks < np.maximum(1.0, share * sizes)[y])
