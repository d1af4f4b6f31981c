"""What drawings are made of: pictures of sixteen bits, narrow patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fc7.drawing.contact_sheet import Row, Tile, draw
from fc7.drawing.pictures import Panel, legible, patch, square
from fc7.drawing.pictures import draw as draw_figure
from fc7.explanations import View
from fc7_service.features.preprocess import preprocess_with_crop
from tiny import PX, RECIPE


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A picture of sixteen bits, from black to white."""
    path = tmp_path / "deep.png"
    ramp = np.linspace(0, 2**16 - 1, PX * PX).reshape(PX, PX).astype(np.uint16)
    Image.fromarray(ramp).save(path)
    return path


def test_sixteen_bits_are_drawn_as_the_network_sees_them(deep: Path, tmp_path: Path) -> None:
    pixels, _, crop = preprocess_with_crop(deep.read_bytes(), RECIPE)
    drawn = np.asarray(square(deep, View(pixels, crop), PX))
    assert np.ptp(pixels) > 200
    np.testing.assert_allclose(drawn.astype(int), pixels, atol=2)  # another filter
    draw([Row(Tile(deep, ()), ())], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert {(level, level, level) for level in (32, 96, 160)} <= {
            colour for _, colour in sheet.getcolors(2**16) or ()
        }


@pytest.mark.parametrize(
    ("box", "first"), [((2, 0, 3, 4), 1), ((7, 0, 8, 8), 3), ((0, 0, 0, 1), 0), ((8, 0, 8, 8), 3), ((0, 0, 8, 8), 0)]
)
def test_a_patch_is_a_pixel_at_least(box: tuple[int, int, int, int], first: int) -> None:
    """A view of 8 px is drawn 4 wide: red tells the column."""
    columns = np.zeros((4, 4, 3), np.uint8)
    columns[..., 0] = 10 * np.arange(4)
    drawn = np.asarray(patch(Image.fromarray(columns), box, 8, 16))
    inside = drawn[(drawn[..., 1] == 0) & (drawn[..., 2] == 0)]
    assert drawn.shape == (16, 16, 3)
    assert inside[:, 0].min() == 10 * first


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("plain [text]…", "plain [text]…"),
        ("café Ångström", "cafe Angstrom"),
        ("日本", r"\u65e5\u672c"),
        ("cat 😀", r"cat \U0001f600"),
        ("Жук ß", r"\u0416\u0443\u043a \xdf"),
        ("e\u0301", r"e\u0301"),
    ],
)
def test_what_the_font_lacks_is_spelt(text: str, drawn: str) -> None:
    assert legible(text) == drawn


def test_no_caption_is_drawn_as_boxes(tmp_path: Path) -> None:
    def drawn(caption: str) -> bytes:
        draw([Row(Tile(None, (caption,)), [])], tmp_path / "sheet.png", title=caption)
        draw_figure([[Panel(Image.new("RGB", (200, 20)), (caption,))]], tmp_path / "figure.png", caption)
        return b"".join((tmp_path / name).read_bytes() for name in ("sheet.png", "figure.png"))

    assert drawn("日本") == drawn(r"\u65e5\u672c")
    assert drawn("日本") != drawn("日曜")
