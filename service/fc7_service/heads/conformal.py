"""Sets of classes that hold the right one with a stated probability."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_MOST_STORED = 10_000


def calibration_scores(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the out-of-fold probability of each row's label, ascending; of many rows, 10,000 evenly spread."""
    scores = np.sort(probabilities[np.arange(len(y)), y])
    if len(scores) > _MOST_STORED:
        scores = scores[np.linspace(0, len(scores) - 1, _MOST_STORED).round().astype(int)]
    return np.asarray(scores, np.float32)


def least_probability(scores: NDArray[np.float32], coverage: float) -> float:
    """Return the probability from which a class belongs to the set; 0 if there are too few rows to be sure.

    Parameters
    ----------
    scores
        As ``calibration_scores`` returns them.
    coverage
        Share of pictures whose set shall hold the right class, between 0 and 1.

    References
    ----------
    Sadinle, Lei & Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels", section 2; Vovk
    2015, "Cross-conformal predictors" (out-of-fold scores); Angelopoulos & Bates 2021, arXiv 2107.07511, section 1 (the
    rank).
    """
    rank = math.ceil((len(scores) + 1) * coverage)  # that many rows must have their label in their set
    return float(scores[len(scores) - rank]) if rank <= len(scores) else 0.0
