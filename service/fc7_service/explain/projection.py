"""A unit at one position, and the pixels that made it fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """A unit at one position."""

    unit: int
    value: float  # activation there
    y: int  # in the map; 0 where the layer has none
    x: int
    box: tuple[int, int, int, int]  # left, top, right, bottom of its receptive field in the view, cut at its edge


@dataclass(frozen=True, slots=True)
class Projection:
    """A unit at one position and the pixels that made it fire."""

    place: Place
    pixels: NDArray[np.float32]  # (P, P, 3), unscaled
