"""Several networks as one: what is made of their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def join(features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return one image's features (D1,), (D2,), ... of several networks as one (D1 + D2 + ...,).

    Each is brought to length 1 first, so that all weigh the same; one that is all zero stays so.
    """
    lengths = [np.linalg.norm(feature) for feature in features]
    return np.concatenate([f / length if length else f for f, length in zip(features, lengths, strict=True)])
