"""Small copies of pictures, for people to look at."""

from __future__ import annotations

import io

from PIL import Image

from fc7_service.bundle.recipe import Recipe
from fc7_service.features.decode import Picture

THUMBNAIL_SIZE = 256  # pixels of the longer side of those that collections keep
_QUALITY = 80  # of WebP


def make_thumbnail(data: bytes, size: int) -> bytes:
    """Return a picture as WebP, upright and in RGB, whose longer side has at most ``size`` pixels.

    Raises
    ------
    ImageDecodeError
        The bytes are no picture that fc7 reads.
    """
    recipe = Recipe(size, size, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # only its size counts here
    image = Picture(data, recipe).upright()
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WebP", quality=_QUALITY)
    return buffer.getvalue()
