"""Pictures from files, and the parts of them that an explanation shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fc7.drawing.page import PANEL_PX, RULE
from fc7.errors import ImageDecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from fc7.explanations import View

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the view
_FRAME = "#ff8c00"
_DARKEST = 55  # of 255: what a picture keeps of its light where its share is least


def open_upright(path: Path) -> Image.Image:
    """Return a file's picture in RGB, turned as its EXIF data says.

    Of 16-bit pictures the upper eight bits are taken, as the network does.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode == "I" or image.mode.startswith("I;16"):  # convert("RGB") would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def open_view(path: Path, view: View, side_px: int = PANEL_PX) -> Image.Image:
    """Return the square of a file that the network saw, but as sharp as the file is.

    Raises
    ------
    ImageDecodeError
        Pillow cannot open the file here.
    """
    from PIL import Image

    try:
        image = open_upright(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageDecodeError(f"{str(path)!r} cannot be drawn: {error}", name=str(path)) from error
    left, top, right, bottom = view.crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS, box=box)


def cut_out(image: Image.Image, box: Box, view_px: int, side_px: int = PANEL_PX) -> Image.Image:
    """Return the part of an image in ``box``, enlarged to a square; a narrow part is centred on white.

    Parameters
    ----------
    image
        Drawing of a whole view, in any size.
    box
        In pixels of the view.
    view_px
        Side of the view.
    side_px
        Side of the result.
    """
    from PIL import Image

    (left, right), (top, bottom) = (_edges(low, high, view_px, image.width) for low, high in (box[::2], box[1::2]))
    part = image.crop((left, top, right, bottom))
    longer = max(part.size)
    part = part.resize((max(1, round(part.width * side_px / longer)), max(1, round(part.height * side_px / longer))))
    square = Image.new("RGB", (side_px, side_px), "white")
    square.paste(part, ((side_px - part.width) // 2, (side_px - part.height) // 2))
    return square


def _edges(low: int, high: int, view_px: int, drawn_px: int) -> tuple[int, int]:
    """Return two edges of a view where they lie in its drawing, at least a pixel apart."""
    first = min(low * drawn_px // view_px, drawn_px - 1)
    return first, max(first + 1, -(-high * drawn_px // view_px))


def outline(image: Image.Image, box: Box, view_px: int) -> Image.Image:
    """Return the drawing of a view of ``view_px`` with a frame around ``box``."""
    from PIL import ImageDraw

    framed, scale = image.copy(), image.width / view_px
    left, top, right, bottom = (edge * scale for edge in box)
    ImageDraw.Draw(framed).rectangle((left, top, right - 1, bottom - 1), outline=_FRAME, width=2)
    return framed


def spotlight(image: Image.Image, shares: NDArray[np.float32]) -> Image.Image:
    """Return an image that is bright where ``shares``, (h, w), are large and dark where they are small.

    Brightness follows the square root of a share: otherwise only the largest would be seen.
    """
    from PIL import Image

    least = max(float(shares.min()), 0.0)  # negative shares are as dark as none
    relative = np.sqrt(np.clip((shares - least) / max(float(shares.max()) - least, 1e-12), 0, 1))
    light = Image.fromarray((_DARKEST + (255 - _DARKEST) * relative).round().astype(np.uint8))
    light = light.resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(image, Image.new("RGB", image.size, "black"), light)


def block_of_nine(images: Sequence[Image.Image], side_px: int) -> Image.Image:
    """Return at most nine images of side ``side_px``, three in a row; places left over are grey."""
    from PIL import Image

    step = side_px + 2
    block = Image.new("RGB", (3 * step - 2, 3 * step - 2), RULE)
    for i, image in enumerate(images):
        block.paste(image, (i % 3 * step, i // 3 * step))
    return block
