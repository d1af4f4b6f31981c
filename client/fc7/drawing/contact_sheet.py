"""A sheet: queries and their neighbours, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.pictures import font, legible, upright
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

TILE = 160  # px, side of a picture
_GAP, _MARGIN, _LINE = 14, 28, 19  # px, between tiles; around everything; a line of caption
_TEXT, _TITLE = 14, 22  # px, font sizes
_INK, _FAINT, _ABSENT, _RULE = "#1f2328", "#6e7781", "#e4e7eb", "#d0d7de"


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with its caption."""

    path: Path | None
    lines: tuple[str, ...]
    frame: str = ""  # colour; empty for none


@dataclass(frozen=True, slots=True)
class Row:
    """A query and its neighbours, best first."""

    query: Tile
    hits: Sequence[Tile]


def check_format(output: Path) -> None:
    """Refuse a file whose suffix names no format.

    Raises
    ------
    InvalidArgument
        It does not.
    """
    from PIL import Image

    known = Image.registered_extensions()
    if known.get(output.suffix.lower()) not in Image.SAVE:
        raise InvalidArgument(f"cannot draw {str(output)!r}: no format has that suffix; try .png", name=str(output))


def draw(rows: Sequence[Row], output: Path, *, columns: int = 5, title: str = "") -> None:
    """Draw the rows on white; a picture that is absent or unreadable becomes a grey tile that says so.

    Parameters
    ----------
    rows
        At least one.
    output
        File to write; its suffix gives the format, which `check_format` knows.
    columns
        Neighbours side by side before a new line begins.
    title
        One line above everything; empty for none.
    """
    from PIL import Image, ImageDraw

    lines = max(len(tile.lines) for row in rows for tile in (row.query, *row.hits))
    step_x, step_y = TILE + _GAP, TILE + lines * _LINE + _GAP
    heights = [max(1, -(-len(row.hits) // columns)) * step_y for row in rows]
    top = _MARGIN + (2 * _TITLE if title else 0)
    width = 2 * _MARGIN + (columns + 1) * step_x + _GAP
    sheet = Image.new("RGB", (width, top + sum(heights) + _GAP * (len(rows) - 1) + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((_MARGIN, _MARGIN), legible(title), _INK, font=font(_TITLE))
    for row, height in zip(rows, heights, strict=True):
        _paste(sheet, pen, row.query, _MARGIN, top)
        x = _MARGIN + step_x
        pen.line((x, top, x, top + height - _GAP), _RULE, 1)
        for i, hit in enumerate(row.hits):
            _paste(sheet, pen, hit, x + _GAP + i % columns * step_x, top + i // columns * step_y)
        top += height + _GAP
    sheet.save(output)


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, x: int, y: int) -> None:
    picture, why = _picture(tile.path)
    if picture is None:
        pen.rectangle((x, y, x + TILE - 1, y + TILE - 1), _ABSENT)
        pen.text((x + TILE // 2, y + TILE // 2), why, _FAINT, font=font(_TEXT), anchor="mm")
    else:
        sheet.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
    if tile.frame:
        pen.rectangle((x - 3, y - 3, x + TILE + 2, y + TILE + 2), outline=tile.frame, width=3)
    for i, line in enumerate(tile.lines):
        pen.text((x, y + TILE + 5 + i * _LINE), _shorten(line), _FAINT if i else _INK, font=font(_TEXT))


def _picture(path: Path | None) -> tuple[Image.Image | None, str]:
    """Return the picture at tile size; else None and what to write in its place."""
    from PIL import Image, ImageOps

    if path is None:
        return None, "no picture stored"
    try:
        return ImageOps.contain(upright(path), (TILE, TILE)), ""
    except FileNotFoundError:
        return None, "picture is gone"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None, "unreadable picture"


def _shorten(text: str) -> str:
    """Cut a caption to the width of a tile; of a path the end tells more than the beginning."""
    text = legible(text)
    if font(_TEXT).getlength(text) <= TILE:
        return text
    while text and font(_TEXT).getlength(f"…{text}") > TILE:
        text = text[1:]
    return f"…{text}"
