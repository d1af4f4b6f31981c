"""One temperature for all logits, so that probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.stop_check import StopCheck, never_stop


def fit_temperature(
    logits: NDArray[np.float32], y: NDArray[np.int64], check_stop: StopCheck = never_stop
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

    References
    ----------
    Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2 (temperature);
    Platt 1999, "Probabilistic outputs for support vector machines" (smoothed targets).
    """
    from scipy.optimize import minimize_scalar

    z = logits.astype(np.float64)
    smoothing = 1.0 / (len(z) + 1)
    target_logit = (1 - smoothing) * z[np.arange(len(z)), y] + smoothing * z.mean(axis=1)
    largest = z.max(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        check_stop()
        sharpness = np.exp(-log_temperature)
        log_sums = np.log(np.exp((z - largest) * sharpness).sum(axis=1)) + largest[:, 0] * sharpness
        return float(np.mean(log_sums - target_logit * sharpness))

    best = minimize_scalar(loss, bounds=(-9.0, 5.0), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x)), float(best.fun)
