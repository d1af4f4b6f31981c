"""What explanations are drawn with: patches, projections, heat maps, and rows of them on white."""

from __future__ import annotations

import colorsys
import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.errors import ImageDecodeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image, ImageFont

    from fc7.explanations import View

SIDE = 192  # px of a panel
_GAP, _MARGIN, _LINE = 12, 24, 18  # px
_TEXT, _TITLE = 13, 20  # px, font sizes
_INK, _FAINT, _RULE, _BOX = "#1f2328", "#6e7781", "#d0d7de", "#ff8c00"
_HEAT = ("#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921")  # low to high, as matplotlib's plasma
_NO_CHARACTER = "\U0010fffe"  # which no font has
_ROUNDING = 1e-5  # of a projection's peak: what a pixel outside the unit's field may hold
_QUANTILE = 0.995  # of a projection's absolute values becomes full contrast: single pixels would darken the rest


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with its caption."""

    image: Image.Image
    lines: tuple[str, ...] = ()


def draw(rows: Sequence[Sequence[Panel]], output: Path, title: str) -> None:
    """Draw rows of panels on white under a title; the suffix of ``output`` gives the format."""
    from PIL import Image, ImageDraw

    heights = [max(p.image.height + _LINE * len(p.lines) for p in row) + _GAP for row in rows]
    widths = [sum(p.image.width + _GAP for p in row) for row in rows]
    title = legible(title)
    title_width = int(font(_TITLE).getlength(title))
    top = _MARGIN + 2 * _TITLE
    sheet = Image.new("RGB", (2 * _MARGIN + max(*widths, title_width), top + sum(heights) + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, _INK, font=font(_TITLE))
    for row, height in zip(rows, heights, strict=True):
        x = _MARGIN
        for panel in row:
            sheet.paste(panel.image, (x, top))
            for i, line in enumerate(panel.lines):
                y = top + panel.image.height + 3 + i * _LINE
                pen.text((x, y), fit(line, panel.image.width), _FAINT if i else _INK, font=font(_TEXT))
            x += panel.image.width + _GAP
        top += height
    sheet.save(output)


def square(path: Path, view: View, side: int = SIDE) -> Image.Image:
    """Return the square of a file that the network saw, in the file's own sharpness.

    Raises
    ------
    ImageDecodeError
        Pillow cannot open the file here.
    """
    from PIL import Image

    try:
        image = upright(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageDecodeError(f"{str(path)!r} cannot be drawn: {error}", name=str(path)) from error
    left, top, right, bottom = view.crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def upright(path: Path) -> Image.Image:
    """Return a file's picture in RGB, turned as its EXIF says; of 16 bits the upper eight, as the network sees it."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode == "I" or image.mode.startswith("I;16"):  # convert("RGB") would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def patch(image: Image.Image, box: tuple[int, int, int, int], px: int, side: int = SIDE) -> Image.Image:
    """Return what of a view of ``px``, drawn as ``image``, lies in ``box``; its shape kept, on white."""
    from PIL import Image

    (left, right), (top, bottom) = (_drawn(low, high, px, image.width) for low, high in (box[::2], box[1::2]))
    cut = image.crop((left, top, right, bottom))
    longer = max(cut.size)
    cut = cut.resize((max(1, round(cut.width * side / longer)), max(1, round(cut.height * side / longer))))
    framed = Image.new("RGB", (side, side), "white")
    framed.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return framed


def _drawn(low: int, high: int, px: int, width: int) -> tuple[int, int]:
    """Return edges of a view of ``px`` in a drawing of ``width``, at least a pixel of it apart."""
    first = min(low * width // px, width - 1)
    return first, max(first + 1, -(-high * width // px))


def projected(pixels: NDArray[np.float32], side: int = SIDE) -> Image.Image:
    """Return a projection around grey, at full contrast."""
    import numpy as np
    from PIL import Image

    strength = np.abs(pixels)
    seen = strength > _ROUNDING * strength.max()
    most = float(np.quantile(strength[seen], _QUANTILE)) if seen.any() else 1.0
    grey = np.clip(127.5 + 127.5 * pixels / most, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)


def outlined(image: Image.Image, box: tuple[int, int, int, int], px: int) -> Image.Image:
    """Return an image of a view of ``px`` with a frame around ``box``."""
    from PIL import ImageDraw

    framed, scale = image.copy(), image.width / px
    left, top, right, bottom = (edge * scale for edge in box)
    ImageDraw.Draw(framed).rectangle((left, top, right - 1, bottom - 1), outline=_BOX, width=2)
    return framed


def heat(values: NDArray[np.float32], low: float | None = None) -> Image.Image:
    """Return a map in colours from ``low``, or its own smallest value, to its largest."""
    import numpy as np
    from PIL import Image, ImageColor

    least = float(values.min()) if low is None else low
    share = (values - least) / max(float(values.max()) - least, 1e-12)
    anchors = np.array([ImageColor.getrgb(colour) for colour in _HEAT], float)
    at = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(share, at, anchors[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colours.round().astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def veiled(image: Image.Image, values: NDArray[np.float32]) -> Image.Image:
    """Return an image seen through a map of shares: dark where they are least, as it is where they are most."""
    import numpy as np
    from PIL import Image

    least = max(float(values.min()), 0.0)  # shares that speak against it are dark too
    share = np.clip((values - least) / max(float(values.max()) - least, 1e-12), 0, 1)
    share = np.sqrt(share)  # else the strongest alone would be seen
    mask = Image.fromarray((55 + 200 * share).round().astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(image, Image.new("RGB", image.size, "black"), mask)


def coloured(numbers: NDArray[np.int64], count: int) -> Image.Image:
    """Return a map of ``count`` kinds, each in its own colour."""
    import numpy as np
    from PIL import Image

    colours = np.array(_wheel(count), np.uint8)[numbers]
    return Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def legend(labels: Sequence[str], counts: Sequence[int]) -> Image.Image:
    """Return the labels of a `coloured` map, the most frequent first, as far as they fit."""
    from PIL import Image, ImageDraw

    sheet, colours = Image.new("RGB", (SIDE, SIDE), "white"), _wheel(len(labels))
    pen = ImageDraw.Draw(sheet)
    order = sorted(range(len(labels)), key=lambda i: -counts[i])
    for row, i in enumerate(order[: SIDE // _LINE]):
        y = row * _LINE
        pen.rectangle((0, y + 2, 12, y + 14), fill=colours[i])
        pen.text((18, y), fit(f"{labels[i]} ({counts[i]})", SIDE - 18), _INK, font=font(_TEXT))
    return sheet


def _wheel(count: int) -> list[tuple[int, ...]]:
    """Return so many colours; neighbours in hue differ in strength too."""
    colours = [colorsys.hsv_to_rgb(i / count, 0.45 + 0.25 * (i % 2), 0.95 - 0.2 * (i % 3)) for i in range(count)]
    return [tuple(round(255 * part) for part in colour) for colour in colours]


def mosaic(images: Sequence[Image.Image], side: int) -> Image.Image:
    """Return at most nine images of ``side``, three in a row; the last places are left grey where there are fewer."""
    from PIL import Image

    step = side + 2
    sheet = Image.new("RGB", (3 * step - 2, 3 * step - 2), _RULE)
    for i, image in enumerate(images):
        sheet.paste(image, (i % 3 * step, i // 3 * step))
    return sheet


def legible(text: str) -> str:
    r"""Return text in characters that the font has: é as e, and those without a base letter as their number, \u65e5."""
    return "".join(map(_spelt, text))


@functools.cache
def _spelt(character: str) -> str:
    if _is_in_font(character):
        return character
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if base and all(map(_is_in_font, base)):
        return base
    return character.encode("unicode_escape").decode()


def _is_in_font(character: str) -> bool:
    """Tell a character from the box that stands for those that the font lacks."""
    shown = font(_TEXT)
    return bytes(shown.getmask(character)) != bytes(shown.getmask(_NO_CHARACTER))


def fit(text: str, width: int) -> str:
    """Cut a caption to ``width`` pixels, in characters that the font has."""
    text = legible(text)
    if font(_TEXT).getlength(text) <= width:
        return text
    while text and font(_TEXT).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
