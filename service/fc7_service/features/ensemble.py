"""Join the features of several networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def join(features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return one image's features (D1,), (D2,), ... from several networks as one feature (D1 + D2 + ...,).

    Each is first scaled to length 1, so that all have the same weight; a feature of zeros stays zero.
    """
    lengths = [np.linalg.norm(feature) for feature in features]
    return np.concatenate([f / length if length else f for f, length in zip(features, lengths, strict=True)])
