"""The layout of every drawing: rows of captioned pictures on white, under a title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.text import fit, legible, load_font
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

PANEL_PX = 192  # side of a picture in an explanation
LINE_PX = 18  # height of a line of caption
TEXT_PX = 13  # size of the font in captions
INK = "#1f2328"
RULE = "#d0d7de"
_GAP_PX, _ROW_GAP_PX, _MARGIN_PX = 14, 20, 24  # between panels; between rows; around the page
_TITLE_PX = 20
_FAINT = "#6e7781"
_FRAME_PX = 3


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with its caption."""

    image: Image.Image
    caption: tuple[str, ...] = ()  # lines; the first in black, the others in grey
    frame: str = ""  # colour; empty for none
    has_rule: bool = False  # a vertical line on its left


def check_format(output: Path) -> None:
    """Refuse a file whose suffix names no image format.

    Raises
    ------
    InvalidArgument
        Pillow writes no format with that suffix.
    """
    from PIL import Image

    known = Image.registered_extensions()
    if known.get(output.suffix.lower()) not in Image.SAVE:
        raise InvalidArgument(
            f"{str(output)!r} cannot be drawn: no format has that suffix. Use .png, for example", name=str(output)
        )


def draw_page(rows: Sequence[Sequence[Panel]], output: Path, title: str = "") -> None:
    """Draw rows of panels.

    Parameters
    ----------
    rows
        At least one row, each with at least one panel.
    output
        File to write. Its suffix names the format: see `check_format`.
    title
        One line above everything; empty for none.
    """
    from PIL import Image, ImageDraw

    heights = [max(panel.image.height + LINE_PX * len(panel.caption) for panel in row) + _ROW_GAP_PX for row in rows]
    widths = [sum(panel.image.width + _gap(panel) for panel in row) - _gap(row[0]) for row in rows]
    title = legible(title)
    top = _MARGIN_PX + (2 * _TITLE_PX if title else 0)
    width = 2 * _MARGIN_PX + max(*widths, int(load_font(_TITLE_PX).getlength(title)))
    page = Image.new("RGB", (width, top + sum(heights) + _MARGIN_PX - _ROW_GAP_PX), "white")
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN_PX, _MARGIN_PX), title, INK, font=load_font(_TITLE_PX))
    for row, height in zip(rows, heights, strict=True):
        left = _MARGIN_PX - _gap(row[0])
        for panel in row:
            left += _gap(panel)
            if panel.has_rule:
                x = left - _GAP_PX
                pen.line((x, top, x, top + height - _ROW_GAP_PX), RULE)
            _draw_panel(page, pen, panel, left, top)
            left += panel.image.width
        top += height
    page.save(output)


def _gap(panel: Panel) -> int:
    """Return the space on a panel's left."""
    return 2 * _GAP_PX if panel.has_rule else _GAP_PX


def _draw_panel(page: Image.Image, pen: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    width, height = panel.image.size
    page.paste(panel.image, (left, top))
    if panel.frame:
        box = (left - _FRAME_PX, top - _FRAME_PX, left + width + _FRAME_PX - 1, top + height + _FRAME_PX - 1)
        pen.rectangle(box, outline=panel.frame, width=_FRAME_PX)
    for i, line in enumerate(panel.caption):
        place = (left, top + height + 3 + i * LINE_PX)
        pen.text(place, fit(line, width, TEXT_PX), _FAINT if i else INK, font=load_font(TEXT_PX))
