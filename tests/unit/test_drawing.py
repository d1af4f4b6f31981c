"""The drawings: their parts, their captions and the font."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from fc7.drawing.contact_sheet import TILE_PX, QueryRow, Tile, draw_contact_sheet
from fc7.drawing.page import Panel, check_format, draw_page
from fc7.drawing.pictures import cut_out, open_view, spotlight
from fc7.drawing.text import FONT_FILE, fit, legible, load_font
from fc7.errors import ImageDecodeError, InvalidArgument
from fc7.explanations import View
from fc7_service.features.preprocess import preprocess_with_crop
from tiny import PX, RECIPE

NO_CHARACTER = "\U0010fffe"


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A picture of sixteen bits, from black to white."""
    path = tmp_path / "deep.png"
    ramp = np.linspace(0, 2**16 - 1, PX * PX).reshape(PX, PX).astype(np.uint16)
    Image.fromarray(ramp).save(path)
    return path


# Pictures


def test_sixteen_bits_are_drawn_as_the_network_sees_them(deep: Path, tmp_path: Path) -> None:
    pixels, _, crop = preprocess_with_crop(deep.read_bytes(), RECIPE)
    drawn = np.asarray(open_view(deep, View(pixels, crop), PX))
    assert np.ptp(pixels) > 200
    np.testing.assert_allclose(drawn.astype(int), pixels, atol=2)  # another filter
    draw_contact_sheet([QueryRow(Tile(deep, ()), ())], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert {(level, level, level) for level in (32, 96, 160)} <= {
            colour for _, colour in sheet.getcolors(2**16) or ()
        }


def test_a_picture_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(ImageDecodeError, match=r"bad\.png' cannot be drawn"):
        open_view(tmp_path / "bad.png", View(np.zeros((8, 8, 3), np.uint8), (0, 0, 1, 1)))


@pytest.mark.parametrize(
    ("box", "first"), [((2, 0, 3, 4), 1), ((7, 0, 8, 8), 3), ((0, 0, 0, 1), 0), ((8, 0, 8, 8), 3), ((0, 0, 8, 8), 0)]
)
def test_a_part_is_at_least_one_pixel(box: tuple[int, int, int, int], first: int) -> None:
    """A view of 8 px is drawn 4 wide: red tells the column."""
    columns = np.zeros((4, 4, 3), np.uint8)
    columns[..., 0] = 10 * np.arange(4)
    drawn = np.asarray(cut_out(Image.fromarray(columns), box, 8, 16))
    inside = drawn[(drawn[..., 1] == 0) & (drawn[..., 2] == 0)]
    assert drawn.shape == (16, 16, 3)
    assert inside[:, 0].min() == 10 * first


def test_the_spotlight_falls_on_the_largest_share() -> None:
    shares = np.array([[-1.0, 0.0], [0.25, 1.0]], np.float32)
    lit = np.asarray(spotlight(Image.new("RGB", (2, 2), "white"), shares))[..., 0]
    assert lit[0, 0] == lit[0, 1] < lit[1, 0] < lit[1, 1] == 255


# The font


@pytest.mark.parametrize(
    "text", ["é ü Å ő ş ạ Ł", "ж Ж Ї Ђ", "λ Ω ά ἀ", "日本 图像 圖像", "かな カナ", "한국", "… → × ≤"]
)
def test_the_font_has_these_characters(text: str) -> None:
    assert legible(text) == text
    font = load_font(20)
    shapes = [bytes(font.getmask(character)) for character in text.replace(" ", "")]
    assert all(any(shape) for shape in shapes)
    assert bytes(font.getmask(NO_CHARACTER)) not in shapes


def test_the_common_characters_of_each_language_are_in_the_font() -> None:
    """The first level of JIS X 0208 and of GB 2312, and the Hangul syllables of KS X 1001."""
    for encoding, first, last in (("euc_jp", 16, 46), ("gb2312", 16, 54), ("euc_kr", 16, 40)):
        rows = [bytes((0xA0 + row, 0xA0 + cell)).decode(encoding) for row in range(first, last) for cell in (1, 47, 94)]
        assert legible("".join(rows)) == "".join(rows)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("plain [text]…", "plain [text]…"),
        ("e\u0301", "é"),
        ("\N{MATHEMATICAL BOLD CAPITAL A}", "A"),
        ("cat 😀", r"cat \U0001f600"),
        ("قط", r"\u0642\u0637"),
        ("two\nlines", r"two\nlines"),
    ],
)
def test_other_characters_are_written_as_their_base_or_their_code(text: str, drawn: str) -> None:
    assert legible(text) == drawn


def test_no_caption_is_drawn_as_empty_boxes(tmp_path: Path) -> None:
    def drawn(caption: str) -> bytes:
        draw_contact_sheet([QueryRow(Tile(None, (caption,)), [])], tmp_path / "sheet.png", title=caption)
        draw_page([[Panel(Image.new("RGB", (200, 20)), (caption,))]], tmp_path / "page.png", caption)
        return b"".join((tmp_path / name).read_bytes() for name in ("sheet.png", "page.png"))

    assert drawn("日本") != drawn("日曜")
    assert drawn("قط") == drawn(r"\u0642\u0637")


def test_the_licence_and_both_owners_stand_beside_the_font() -> None:
    licence = (FONT_FILE.parent / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE" in licence
    assert "Copyright 2015 Google LLC" in licence
    assert "2014-2021 Adobe" in licence
    assert ImageFont.truetype(FONT_FILE).getname() == ("fc7 Sans", "Regular")  # "Source" is a reserved name
    assert FONT_FILE.stat().st_size < 3e6


@pytest.mark.parametrize("text", ["x" * 400, "日" * 90, "holiday/" * 30 + "001.jpg", "w"])
def test_a_caption_fits_its_panel_and_keeps_both_ends(text: str) -> None:
    shown = fit(text, 160, 13)
    assert load_font(13).getlength(shown) <= 160
    first, mark, last = shown.partition("…")
    assert bool(mark) == (len(text) > 1)
    assert text.startswith(first)
    assert text.endswith(last)
    assert abs(len(first) - len(last)) <= 1


def test_where_nothing_fits_an_ellipsis_is_left() -> None:
    assert fit("wide", 1, 13) == "…"


# The page and the contact sheet


def test_a_sheet_shows_pictures_and_says_what_is_missing(tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), (200, 30, 30)).save(tmp_path / "red.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    tiles = [Tile(tmp_path / name, (name, "0.9")) for name in ("red.png", "bad.png", "gone.png")]
    query = Tile(tmp_path / "red.png", ("query",), frame="#00ff00")
    out = tmp_path / "sheet.png"
    draw_contact_sheet([QueryRow(query, [*tiles, Tile(None, ("none",))])], out, columns=3)
    with Image.open(out) as sheet:
        assert 4 * TILE_PX < sheet.width < 5 * TILE_PX
        assert 2 * TILE_PX < sheet.height < 3 * TILE_PX  # the fourth hit is on a line of its own
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(2**20) or ()}
    assert {(255, 255, 255), (200, 30, 30), (0, 255, 0), (0xE4, 0xE7, 0xEB), (0xD0, 0xD7, 0xDE)} <= colours


def test_captions_keep_to_their_tile(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    draw_contact_sheet([QueryRow(Tile(None, ("x" * 400,)), [])], out)
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels[24 + TILE_PX :, 24 : 24 + TILE_PX].min() < 128
    assert pixels[24 + TILE_PX :, 24 + TILE_PX + 1 :].min() == 255


def test_a_page_is_as_wide_as_its_title(tmp_path: Path) -> None:
    draw_page([[Panel(Image.new("RGB", (8, 8)))]], tmp_path / "page.png", "wide " * 40)
    with Image.open(tmp_path / "page.png") as page:
        right = np.asarray(page.convert("L"))[:, -24:]
        assert page.width > 40 * 40
    assert right.min() == 255


def test_a_drawing_of_no_known_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"sheet\.xyz"):
        check_format(tmp_path / "sheet.xyz")
    check_format(tmp_path / "sheet.JPG")
