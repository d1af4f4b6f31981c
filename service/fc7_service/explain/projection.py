"""A unit at one position, and the pixels that made it fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """A unit at one position of its map."""

    unit: int
    value: float  # its activation there
    y: int  # row in the map; 0 if the layer has no maps
    x: int  # column
    box: tuple[int, int, int, int]  # left, top, right, bottom of its receptive field in px, cut at the image's edge


@dataclass(frozen=True, slots=True)
class Projection:
    """A unit at one position, and its projection to the pixels."""

    place: Place
    pixels: NDArray[np.float32]  # (P, P, 3), not scaled for display
