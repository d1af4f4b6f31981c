"""One temperature for all logits, so that probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import BLOCK
from fc7_service.heads.stop_check import StopCheck, never_stop

_LOG_BOUNDS = (-9.0, 5.0)  # of the temperature


def fit_temperature(
    logits: NDArray[np.float32],
    y: NDArray[np.int64],
    check_stop: StopCheck = never_stop,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Return the temperature with the least negative log-likelihood, and that likelihood in nats per row.

    The targets are smoothed by 1 / (N + 1): a few rows that are all classified correctly do not justify certainty.

    Parameters
    ----------
    logits
        float32 (N, C), of rows that were not trained on.
    y
        int64 (N,): the class number of each row.
    check_stop
        Called before each evaluation.
    weights
        (N,): how much each row counts. Defaults to 1.

    References
    ----------
    Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2 (temperature);
    Platt 1999, "Probabilistic outputs for support vector machines" (smoothed targets).
    """
    smoothing = 1.0 / (len(logits) + 1)
    largest = logits.max(axis=1)
    of_truth = logits[np.arange(len(logits)), y].astype(np.float64)
    shares = np.full(len(logits), 1 / len(logits)) if weights is None else weights / weights.sum()
    target = shares @ ((1 - smoothing) * of_truth + smoothing * logits.mean(axis=1, dtype=np.float64))

    def evaluate(sharpness: float) -> tuple[float, float, float]:
        """Return the loss at 1 / temperature, where it is convex, and its first two derivatives."""
        check_stop()
        sums = np.zeros(3)
        for start in range(0, len(logits), BLOCK):
            below = logits[start : start + BLOCK].astype(np.float64)
            top, share = largest[start : start + BLOCK], shares[start : start + BLOCK]
            below -= top[:, None]
            powers = np.exp(below * sharpness)
            norm = powers.sum(axis=1)
            mean = np.einsum("nc,nc->n", powers, below) / norm
            below *= below
            square = np.einsum("nc,nc->n", powers, below) / norm
            sums += share @ (np.log(norm) + top * sharpness), share @ (mean + top), share @ (square - mean**2)
        value, slope, curvature = sums
        return float(value - target * sharpness), float(slope - target), float(curvature)

    # Newton's method in log T, between bounds that close in.
    low, high = _LOG_BOUNDS
    log_temperature = 0.0
    for _ in range(60):
        sharpness = np.exp(-log_temperature)
        loss, slope, curvature = evaluate(sharpness)
        falling, bending = -slope * sharpness, curvature * sharpness**2 + slope * sharpness  # derivatives by log T
        low, high = (log_temperature, high) if falling < 0 else (low, log_temperature)
        newton = log_temperature - falling / bending if bending > 0 else np.inf
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - log_temperature) < 1e-5:
            break
        log_temperature = following
    return float(1 / sharpness), loss
