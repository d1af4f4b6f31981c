"""Convert pixels of any kind to RGB, as the version of the recipe requires."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fc7.errors import ImageDecodeError, Reason

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr", *_GREY_16}
_BAND_PX = 2**20  # pixels converted at a time, so that a large image is not in memory twice


def check_mode(mode: str) -> None:
    """Refuse pixels if it is unknown which value is white.

    Raises
    ------
    ImageDecodeError
        The pixels are floating-point numbers, or have colours that Pillow does not convert.
    """
    if mode not in _MODES:
        kind = "floating-point numbers" if mode == "F" else f"of the unknown kind {mode!r}"
        raise ImageDecodeError(
            f"the image's pixels are {kind}. Save it with 8 or 16 bits, in grey or RGB",
            reason=Reason.UNSUPPORTED_FORMAT,
        )


def over_white(image: Image.Image, factor: int) -> Image.Image:
    """Return an image in RGB on white, averaged over squares of ``factor`` pixels (recipe version 2)."""
    if image.mode in ("RGB", "L") and not image.has_transparency_data:
        small = image.reduce(factor) if factor > 1 else image
        return small if small.mode == "RGB" else small.convert("RGB")
    width, height = image.size
    whole = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = max(1, _BAND_PX // (width * factor)) * factor
    for top in range(0, height, rows):
        band = _flat(image.crop((0, top, width, min(height, top + rows))))
        whole.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return whole


def without_alpha(image: Image.Image) -> Image.Image:
    """Return an image in RGB; transparent parts show the colour stored under them (recipe version 1)."""
    if image.mode in _GREY_16:
        image = _grey(image)
    if image.mode in ("LA", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _flat(band: Image.Image) -> Image.Image:
    if band.mode in _GREY_16:
        return _grey(band).convert("RGB")
    if not band.has_transparency_data:
        return band.convert("RGB")
    band = band.convert("RGBA")
    flat = Image.new("RGB", band.size, "white")
    flat.paste(band, mask=band)
    return flat


def _grey(image: Image.Image) -> Image.Image:
    """Return the high byte of 16-bit grey. Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    shifted = values >> 8
    grey = np.clip(shifted, 0, 255, out=shifted).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey)
