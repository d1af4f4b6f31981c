"""What a network saw of an image, and where a unit looks in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.recipe import Recipe

ImageInput = bytes | NDArray[Any]  # an encoded file, or pixels uint8 (H, W, 3) in RGB


@dataclass(frozen=True, slots=True)
class View:
    """The square of an image that the recipe cuts out."""

    pixels: NDArray[np.uint8]  # (P, P, 3), RGB
    tensor: NDArray[np.float32]  # (3, P, P): what the network is given
    crop: tuple[float, float, float, float]  # left, top, right, bottom as shares of the upright image

    @property
    def px(self) -> int:
        """Side of the square."""
        return len(self.pixels)


Look = Callable[[ImageInput, Recipe], View]


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
