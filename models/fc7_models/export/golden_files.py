"""Golden files: encoded pictures whose features change if a decoder does, or what follows it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from fc7_models.export.golden_images import draw_golden_images
from fc7_service.bundle.recipe import Recipe

_GREY_PX, _LOGO_PX = 40, 64


def draw_golden_files(recipe: Recipe) -> dict[str, bytes]:
    """Draw the golden files of a recipe; return their bytes by name.

    - ``photo.jpg`` is so large that it is decoded at a reduced scale, and EXIF says to turn it.
    - ``logo.png`` has a palette with transparent and half transparent colours.
    - ``scan.png`` is grey with 16 bits.
    """
    photo, logo, scan = draw_golden_images(4 * recipe.resize_px)[0], *_small()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right
    wide = np.concatenate([photo, photo[:, : len(photo) // 8]], axis=1)
    transparency = bytes([0, 64, 128, 192] + [255] * 12)
    return {
        "photo.jpg": _encode(Image.fromarray(wide), "JPEG", quality=20, exif=exif.tobytes()),
        "logo.png": _encode(logo.quantize(16), "PNG", transparency=transparency),
        "scan.png": _encode(scan, "PNG"),
    }


def _small() -> tuple[Image.Image, Image.Image]:
    logo = Image.fromarray(draw_golden_images(_LOGO_PX)[1])
    grey = draw_golden_images(_GREY_PX)[2].mean(axis=2)
    return logo, Image.fromarray((grey * 256).astype(np.uint16) & 0xFFF0)  # its lowest bits would only take room


def _encode(image: Image.Image, fmt: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, optimize=True, **options)
    return buffer.getvalue()
