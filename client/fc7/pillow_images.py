"""Pillow images are sent so that an image gives the same feature as its file. Pillow is not imported here."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import ImageDecodeError, InvalidArgument

_ORIENTATION = 0x0112  # EXIF tag that says how to turn the picture
_TURNS = {
    2: 0,
    3: 3,
    4: 1,
    5: 5,
    6: 4,
    7: 6,
    8: 2,
}  # its values, and the PIL.Image.Transpose that turns the picture upright
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_pillow(image: Any, max_bytes: int) -> bytes | NDArray[np.uint8]:
    """Return what is sent of a Pillow image: its upright pixels uint8 (H, W, 3), or a PNG if it has transparency.

    For 16-bit grey the high byte is used, as the server does. An image that does not fit in a message is halved until
    it does, by averaging squares of four pixels, as the server does with large pictures.

    Raises
    ------
    ImageDecodeError
        Pillow cannot decode it.
    InvalidArgument
        Its pixels are floating-point numbers, which do not say what white is.
    """
    if getattr(image, "mode", "") == "F":
        raise InvalidArgument(
            "the pixels of the image are floating-point numbers. For values from 0 to 1 give "
            "(np.asarray(image) * 255).round().astype(np.uint8)",
            name="image",
        )
    try:
        turn = _TURNS.get(_orientation(image))
        image = _plain(image)
        while 3 * image.width * image.height > max_bytes:
            image = image.reduce(2)
        image = image if turn is None else image.transpose(turn)
        if image.mode == "RGB":
            return np.asarray(image)
        while len(data := _png(image)) > max_bytes:
            image = image.reduce(2)
        return data
    except Exception as error:  # Pillow decodes here, and its plug-ins raise all kinds of exceptions
        raise ImageDecodeError(f"Pillow cannot decode the image: {error}", name="image") from error


def _plain(image: Any) -> Any:
    """Return an image in RGB, or in RGBA if part of it is transparent."""
    if image.mode in _GREY_16:
        grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        image = image.convert("L")  # keeps the size and the class; the values come from ``grey``
        image.frombytes(grey.tobytes())
        image.info.pop("transparency", None)  # a value of 16 bits
    if image.mode == "La":
        image = image.convert("LA")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF: the picture is used as it is
        return 1


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
