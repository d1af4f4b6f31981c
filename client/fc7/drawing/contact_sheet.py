"""Contact sheets: each query and its hits, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.page import TEXT_PX, Panel, draw_page
from fc7.drawing.pictures import open_upright
from fc7.drawing.text import load_font

if TYPE_CHECKING:
    from PIL import Image

TILE_PX = 160  # side of a picture
_GREY, _INK = "#e4e7eb", "#6e7781"  # of a tile without a picture


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture of the sheet, with its caption."""

    path: Path | None  # None: the item names no file
    caption: tuple[str, ...]
    frame: str = ""  # colour; empty for none


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query and its hits, best first."""

    query: Tile
    hits: Sequence[Tile]


def draw_contact_sheet(rows: Sequence[QueryRow], output: Path, *, columns: int = 5, title: str = "") -> None:
    """Draw queries and their hits. A grey tile stands for a picture that is missing or cannot be read.

    Parameters
    ----------
    rows
        At least one.
    output
        File to write. Its suffix names the format.
    columns
        Hits side by side before a new line begins.
    title
        One line above everything; empty for none.
    """
    from PIL import Image

    empty = Panel(Image.new("RGB", (TILE_PX, TILE_PX), "white"))
    lines = []
    for row in rows:
        hits = [_panel(tile, has_rule=i % columns == 0) for i, tile in enumerate(row.hits)]
        for start in range(0, max(1, len(hits)), columns):
            first = empty if start else _panel(row.query)
            lines.append([first, *hits[start : start + columns]])
    draw_page(lines, output, title)


def _panel(tile: Tile, *, has_rule: bool = False) -> Panel:
    return Panel(_picture(tile.path), tile.caption, tile.frame, has_rule)


def _picture(path: Path | None) -> Image.Image:
    """Return the whole picture, centred in a tile."""
    from PIL import Image, ImageOps

    if path is None:
        return _notice("no file named")
    try:
        picture = ImageOps.contain(open_upright(path), (TILE_PX, TILE_PX))
    except FileNotFoundError:
        return _notice("file is missing")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return _notice("file cannot be read")
    tile = Image.new("RGB", (TILE_PX, TILE_PX), "white")
    tile.paste(picture, ((TILE_PX - picture.width) // 2, (TILE_PX - picture.height) // 2))
    return tile


def _notice(text: str) -> Image.Image:
    """Return a grey tile that says why there is no picture."""
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (TILE_PX, TILE_PX), _GREY)
    ImageDraw.Draw(tile).text((TILE_PX // 2, TILE_PX // 2), text, _INK, font=load_font(TEXT_PX), anchor="mm")
    return tile
