"""How much each row counts in a fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument

_LEAST, _MOST = 1e-6, 1e6  # a wider range leaves nothing of the lighter rows in float32


def row_weights(labels: Sequence[str], weights: Sequence[float], balanced: bool) -> NDArray[np.float64] | None:
    """Return how much each row counts (N,), or None if all count the same.

    Parameters
    ----------
    labels
        Class of each row.
    weights
        Weight of each row; empty for 1.
    balanced
        Scale the weights of each class, so that all classes have the same sum.

    Raises
    ------
    InvalidArgument
        There is not one weight per row, or one is not between 1e-6 and 1e6.
    """
    check_weights(weights, len(labels))
    if not balanced and len(set(weights)) < 2:
        return None
    values = np.array(weights, np.float64) if len(weights) else np.ones(len(labels))
    if balanced:
        classes, y = np.unique(labels, return_inverse=True)
        values *= len(labels) / len(classes) / np.bincount(y, values)[y]
    return values


def check_weights(weights: Sequence[float], n_rows: int) -> None:
    """Refuse weights that are not one per row, or not between 1e-6 and 1e6; an empty list stands for none."""
    if len(weights) not in (0, n_rows):
        raise InvalidArgument(
            f"send one weight per label, or none (got {len(weights)} weights and {n_rows} labels)", name="weights"
        )
    for weight in weights:
        if not _LEAST <= weight <= _MOST:
            raise InvalidArgument(f"a weight must be between {_LEAST:g} and {_MOST:g} (got {weight:g})", name="weights")
