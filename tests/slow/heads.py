"""The mathematics of heads, row by row and after the formulas."""

from __future__ import annotations

import math

import numpy as np


def standardise(x: np.ndarray) -> np.ndarray:
    """Return rows (N, D) with mean 0 per column and one scale for all numbers: the root of their mean square."""
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    return centred / (math.sqrt((centred**2).mean()) or 1.0)


def ridge(x: np.ndarray, y: list[int], n_classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (D, C) and bias (C,) of ridge regression on one-hot targets.

    Hastie, Tibshirani & Friedman 2009, equation 3.44, with N * strength as lambda. The rows are centred, so the bias is
    the mean of the targets and is not penalised.
    """
    targets = np.array([[float(c == label) for c in range(n_classes)] for label in y])
    bias = targets.mean(axis=0)
    left = x.T @ x + len(x) * strength * np.eye(x.shape[1])
    return np.linalg.inv(left) @ x.T @ (targets - bias), bias


def logistic_objective(x: np.ndarray, y: list[int], weights: np.ndarray, bias: np.ndarray, strength: float) -> float:
    """Return the mean negative log-likelihood plus strength / 2 * |W|^2 (Bishop 2006, equation 4.108)."""
    nll = 0.0
    for row, label in zip(x, y, strict=True):
        logits = [float(row @ weights[:, c] + bias[c]) for c in range(len(bias))]
        nll -= logits[label] - _log_sum_exp(logits)
    return nll / len(x) + strength / 2 * sum(float(w) ** 2 for w in weights.ravel())


def smoothed_nll(logits: np.ndarray, y: list[int], temperature: float) -> float:
    """Return the mean cross entropy at a temperature (Guo et al. 2017, section 4.2) with smoothed targets.

    Each target is one-hot, mixed with the uniform distribution at a weight of 1 / (N + 1).
    """
    n, n_classes = logits.shape
    doubt, total = 1 / (n + 1), 0.0
    for row, label in zip(logits, y, strict=True):
        scaled = [float(logit) / temperature for logit in row]
        for c in range(n_classes):
            target = (1 - doubt) * (c == label) + doubt / n_classes
            total -= target * (scaled[c] - _log_sum_exp(scaled))
    return total / n


def best_temperature(logits: np.ndarray, y: list[int]) -> float:
    """Return the temperature in exp(-9) to exp(5) with the least ``smoothed_nll``, by ternary search.

    The cross entropy is convex in 1 / T, so in log T it falls, then rises.
    """
    low, high = -9.0, 5.0
    while high - low > 1e-5:
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if smoothed_nll(logits, y, math.exp(left)) < smoothed_nll(logits, y, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp(low)


def _log_sum_exp(values: list[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def suspected_labels(probabilities: np.ndarray, y: list[int]) -> set[int]:
    """Return the rows off the diagonal of the confident joint (Northcutt et al. 2021, equations 1 and 2)."""
    n_classes = probabilities.shape[1]
    thresholds = {}
    for c in range(n_classes):
        own = [float(row[c]) for row, label in zip(probabilities, y, strict=True) if label == c]
        if own:
            thresholds[c] = sum(own) / len(own)
    found = set()
    for i, row in enumerate(probabilities):
        reached = [c for c, threshold in thresholds.items() if float(row[c]) >= threshold]
        if reached and max(reached, key=lambda c: float(row[c])) != y[i]:
            found.add(i)
    return found


def calibration_error(confidences: list[float], is_right: list[bool], n_bins: int) -> float:
    """Return the mean over the rows of their bin's |accuracy - confidence| (Guo et al. 2017, equation 3)."""
    total = 0.0
    for b in range(n_bins):
        inside = [i for i, p in enumerate(confidences) if min(int(p * n_bins), n_bins - 1) == b]
        if inside:
            accuracy = sum(is_right[i] for i in inside) / len(inside)
            confidence = sum(confidences[i] for i in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(accuracy - confidence)
    return total


def mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Return the chance that fair coins, one per picture on which two classifiers differ, fall as unevenly."""
    n = n_only_first + n_only_second
    ways = [math.comb(n, k) for k in range(n + 1)]
    uneven = sum(ways[k] for k in range(n + 1) if abs(2 * k - n) >= abs(n_only_first - n_only_second))
    return uneven / 2**n
