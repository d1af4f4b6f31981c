"""How good the out-of-fold predictions of a head are: five figures, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BINS = 15  # of confidence, for the calibration error
_TOP = 5
_RESAMPLES = 400
_DRAWS = 4000
_Z = 1.959964  # quantile of the normal distribution for a 95 % interval
_QUANTILES = (0.025, 0.975)
_LEAST = 1e-12  # probability, so that its logarithm is finite
_P_CLEAR = 0.05  # above, a difference between two classifiers may be chance


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measures:
    """What the out-of-fold predictions are worth, beside always answering the largest class."""

    count: int  # rows judged: all with one label
    accuracy: Estimate
    balanced_accuracy: Estimate  # mean over the classes of the share that is recognised
    top5: Estimate | None  # share of rows whose class is among the five most probable; None up to five classes
    log_loss: Estimate  # nats per row
    calibration_error: Estimate  # mean distance between the probability and the share of right answers
    majority_label: str  # largest class
    majority_accuracy: float  # of always answering it, on the same rows
    majority_p: float  # chance of a difference at least as large if both were equally good


def measure(
    probabilities: NDArray[np.float32], y: NDArray[np.int64], groups: NDArray[np.int64], classes: tuple[str, ...]
) -> Measures:
    """Measure predictions of rows that took no part in the fit that predicted them.

    Parameters
    ----------
    probabilities
        float32 (N, C).
    y
        (N,): class number of each row.
    groups
        (N,): number of the group of each row. Copies of a picture share one, and are resampled together.
    classes
        Names of the C classes.

    References
    ----------
    Wilson 1927 (interval of a share); Brodersen et al. 2010, "The balanced accuracy and its posterior distribution",
    section II; Guo et al. 2017, arXiv 1706.04599, equation 3 (calibration error); Davison & Hinkley 1997, "Bootstrap
    Methods and their Application", section 5.2 (basic bootstrap interval).
    """
    every_row = np.arange(len(y))
    answers = probabilities.argmax(axis=1)
    is_right = answers == y
    losses = -np.log(np.maximum(probabilities[every_row, y].astype(np.float64), _LEAST))
    confidences = probabilities.max(axis=1).astype(np.float64)
    n_better = np.sum(probabilities > probabilities[every_row, y][:, None], axis=1)
    majority = int(np.bincount(y, minlength=len(classes)).argmax())
    is_majority = y == majority
    return Measures(
        count=len(y),
        accuracy=_share(is_right),
        balanced_accuracy=_balanced_accuracy(is_right, y),
        top5=_share(n_better < _TOP) if len(classes) > _TOP else None,
        log_loss=_bootstrap(lambda weights: float(np.average(losses, weights=weights)), groups),
        calibration_error=_bootstrap(lambda weights: calibration_error(confidences, is_right, weights), groups),
        majority_label=classes[majority],
        majority_accuracy=float(is_majority.mean()),
        majority_p=mcnemar(int(np.sum(is_right & ~is_majority)), int(np.sum(~is_right & is_majority))),
    )


def calibration_error(
    confidences: NDArray[np.float64], is_right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """Return the expected calibration error over equally wide bins of confidence, with a weight per row."""
    bins = np.minimum((confidences * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, weights * (is_right - confidences), N_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test, given how often only one of two classifiers is right.

    References
    ----------
    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; Dietterich 1998,
    "Approximate statistical tests for comparing supervised classification learning algorithms", section 3.1.
    """
    from scipy.stats import binom

    n = n_only_first + n_only_second
    return min(1.0, 2 * float(binom.cdf(min(n_only_first, n_only_second), n, 0.5))) if n else 1.0


def warnings(measures: Measures) -> list[str]:
    """Return what the user should know before trusting the head."""
    ours, largest = measures.accuracy.value, measures.majority_accuracy
    figures = (
        f"its accuracy is {ours:.3f} on {measures.count} pictures, against {largest:.3f}. Its balanced accuracy, the "
        f"mean over the classes, is {measures.balanced_accuracy.value:.3f}"
    )
    label = measures.majority_label[:64]
    if ours <= largest:
        return [
            f"the head is no better than always answering the largest class, {label!r}: {figures}. Add pictures of the "
            "other classes"
        ]
    if measures.majority_p > _P_CLEAR:
        return [
            f"the head may be no better than always answering the largest class, {label!r}: {figures}. Such a "
            f"difference can be chance (McNemar's test: p = {measures.majority_p:.2f}). Add pictures"
        ]
    return []


def _share(is_so: NDArray[np.bool_]) -> Estimate:
    """Return a share with its Wilson interval."""
    n, share = len(is_so), float(is_so.mean())
    weight = _Z**2 / n
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * float(np.sqrt(share * (1 - share) / n + weight / (4 * n))) / (1 + weight)
    return Estimate(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def _balanced_accuracy(is_right: NDArray[np.bool_], y: NDArray[np.int64]) -> Estimate:
    """Return the mean recall; the posterior of each recall is Beta(right + 1/2, wrong + 1/2)."""
    n, right = np.bincount(y), np.bincount(y, is_right)
    n, right = n[n > 0], right[n > 0]
    random = np.random.default_rng(0)
    total = np.zeros(_DRAWS)
    for right_of_class, n_of_class in zip(right, n, strict=True):
        total += random.beta(right_of_class + 0.5, n_of_class - right_of_class + 0.5, _DRAWS)
    value = float(np.mean(right / n))
    low, high = (float(q) for q in np.quantile(total / len(n), _QUANTILES))
    return Estimate(value, min(value, low), max(value, high))


def _bootstrap(statistic: Callable[[NDArray[np.float64]], float], groups: NDArray[np.int64]) -> Estimate:
    """Return a statistic of weighted rows with its basic bootstrap interval; groups are drawn, not rows."""
    random, n_groups = np.random.default_rng(0), int(groups.max()) + 1
    value, found = statistic(np.ones(len(groups))), []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(random.integers(0, n_groups, n_groups), minlength=n_groups)
        found.append(statistic(drawn[groups].astype(np.float64)))
    low, high = (float(q) for q in np.quantile(found, _QUANTILES))
    return Estimate(value, min(value, max(0.0, 2 * value - high)), max(value, 2 * value - low))
