"""A part of an image, in fractions of its width and height."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fc7.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image of which only a part counts.

    Raises
    ------
    InvalidArgument
        The part is empty, or reaches beyond the image.
    """

    image: bytes | NDArray[Any]  # an encoded file, or pixels uint8 (H, W, 3) in RGB
    left: float  # fractions, 0 to 1, of the upright image
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise InvalidArgument(
                "a crop is left, top, right, bottom, in fractions of the image from 0 to 1, with left < right and "
                f"top < bottom (got {self.left:g}, {self.top:g}, {self.right:g}, {self.bottom:g})",
                name="crop",
            )

    @property
    def nbytes(self) -> int:
        """Size of the image as it was sent."""
        return len(self.image) if isinstance(self.image, bytes) else self.image.nbytes

    def smallest_side(self) -> float:
        """Return the smaller of the part's width and height, as a fraction of the image's."""
        return min(self.right - self.left, self.bottom - self.top)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in whole pixels of an image: all pixels that the part touches."""
        # A fraction such as 1/3 is not exact: what is off by less than a thousandth of a pixel touches no further one.
        left, top = (math.floor(edge + 1e-3) for edge in (self.left * width, self.top * height))
        right, bottom = (math.ceil(edge - 1e-3) for edge in (self.right * width, self.bottom * height))
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)
