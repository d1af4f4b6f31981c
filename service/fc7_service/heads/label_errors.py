"""Confident learning: which labels the out-of-fold predictions contradict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_label_errors(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows whose labels are probably wrong, most suspicious first.

    A class's threshold is the mean probability of that class over the rows that carry its label. A row counts as
    confidently of the most probable class among those whose threshold it reaches. It is suspected if that is not its
    label. The order is that of the normalised margin: probability of the label minus that of the best other class.

    Parameters
    ----------
    probabilities
        float32 (N, C), out of fold.
    y
        (N,): class number of each row's label.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", arXiv 1911.00068:
    equations 1 and 2 (confident joint), section 3.2 (its off-diagonal entries as label errors, normalised margin).
    """
    every_row = np.arange(len(y))
    n_classes = probabilities.shape[1]
    own = probabilities[every_row, y].astype(np.float64)
    n_labels = np.bincount(y, minlength=n_classes)
    sums = np.bincount(y, own, n_classes)
    thresholds = np.divide(sums, n_labels, out=np.full(n_classes, np.inf), where=n_labels > 0)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident = reached.argmax(axis=1)
    is_suspected = (reached.max(axis=1) >= 0) & (confident != y)
    others = probabilities.copy()
    others[every_row, y] = -1
    margins = own - others.max(axis=1)
    suspected = np.flatnonzero(is_suspected)
    return suspected[np.argsort(margins[suspected], kind="stable")]
