"""An image, prepared for a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.recipe import Recipe

ImageInput = bytes | NDArray[Any]  # an encoded file, or pixels, uint8 (H, W, 3) in RGB


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """The square of an image that the recipe cuts out."""

    pixels: NDArray[np.uint8]  # (P, P, 3), RGB
    tensor: NDArray[np.float32]  # (3, P, P): the network's input
    crop: tuple[float, float, float, float]  # left, top, right, bottom as fractions of the upright image

    @property
    def px(self) -> int:
        """Side of the square in pixels."""
        return len(self.pixels)


PrepareImage = Callable[[ImageInput, Recipe], PreparedImage]
