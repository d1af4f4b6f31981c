r"""The font of all captions, and how text is made to fit.

The font is a subset of Noto Sans and Noto Sans CJK, made by `fonts/generate.py` and shipped under the SIL Open Font
License. It has Latin, Greek and Cyrillic, kana, Hangul syllables, and the common Chinese and Japanese characters.
A character that it lacks, such as an emoji or an Arabic letter, is written as its code point: ``\u0627``.
"""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

FONT_FILE = Path(__file__).parent / "font" / "fc7-sans.ttf"
_NO_CHARACTER = "\U0010fffe"  # no font has it
_ANY_SIZE = 13  # px


@functools.cache
def load_font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return the font in one size."""
    from PIL import ImageFont

    return ImageFont.truetype(FONT_FILE, size_px, layout_engine=ImageFont.Layout.BASIC)


def legible(text: str) -> str:
    r"""Return text in characters that the font has.

    Letters and their accents are joined where Unicode has a character for both. Where the font lacks a character, its
    base letters stand for it, or otherwise its code point, as in \u0627.
    """
    return "".join(map(_legible_character, unicodedata.normalize("NFC", text)))


@functools.cache
def _legible_character(character: str) -> str:
    if _is_in_font(character):
        return character
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if base and all(map(_is_in_font, base)):
        return base
    return character.encode("unicode_escape").decode()


def _is_in_font(character: str) -> bool:
    """Tell a character from the empty box that fonts draw for characters that they lack."""
    font = load_font(_ANY_SIZE)
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def fit(text: str, width_px: int, size_px: int) -> str:
    """Return text in characters that the font has, with its middle cut out where it is wider than ``width_px``.

    Of a path, both the first folder and the name of the file stay readable.
    """
    text, font = legible(text), load_font(size_px)
    if font.getlength(text) <= width_px:
        return text
    kept = len(text) - 1
    while kept and font.getlength(shortened := _without_middle(text, kept)) > width_px:
        kept -= 1
    return shortened if kept else "…"


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
