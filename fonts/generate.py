"""Make the font that fc7 draws captions with: one small file, from two fonts of the Noto family.

    python fonts/generate.py NotoSans-Regular.ttf NotoSansCJK-Regular.ttc

Debian's packages fonts-noto-core and fonts-noto-cjk hold these two files. Latin, Greek and Cyrillic come from the
first. Symbols, kana, Hangul and Han characters come from the second, in the shapes used in mainland China. Only the
common Han characters and Hangul syllables are taken: the first level of each national standard.

The result has no hinting, no kerning and no names of glyphs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph

OUTPUT = Path(__file__).parents[1] / "client/fc7/drawing/font/fc7-sans.ttf"
EM = 1000  # units per em, in both fonts
MAX_ERROR = 2.0  # units by which a quadratic outline may differ from the cubic one: 0.04 px in a title of 20 px
CHINESE = "Noto Sans CJK SC"
BLOCKS = (
    range(0x0020, 0x0530),  # Latin, IPA, combining marks, Greek, Cyrillic
    range(0x1E00, 0x2300),  # more Latin and Greek, punctuation, currencies, letterlike symbols, arrows, mathematics
    range(0x2460, 0x2680),  # numbers in circles, boxes, geometric shapes, symbols
    range(0x3000, 0x3100),  # CJK punctuation, kana
    range(0xFF00, 0xFFF0),  # full-width and half-width forms
)
# Encoding, and the first and last row of its common characters. A row has 94.
STANDARDS = (
    ("gb2312", 16, 55),  # simplified Chinese, level 1: 3,755 characters
    ("euc_jp", 16, 47),  # JIS X 0208, level 1: 2,965 characters
    ("euc_kr", 16, 40),  # KS X 1001: 2,350 Hangul syllables
)
BIG5_LEVEL_1 = range(0xA440, 0xC67F)  # traditional Chinese: 5,401 characters


def wanted() -> set[str]:
    """Return the characters that the font should have."""
    found = {chr(code) for block in BLOCKS for code in block}
    for encoding, first, last in STANDARDS:
        codes = [bytes((0xA0 + row, 0xA0 + cell)) for row in range(first, last + 1) for cell in range(1, 95)]
        found.update(code.decode(encoding, "ignore") for code in codes)
    found.update(code.to_bytes(2, "big").decode("big5", "ignore") for code in BIG5_LEVEL_1)
    return {character for character in found if len(character) == 1}


def outline(font: TTFont, name: str) -> tuple[Glyph, int]:
    """Return a glyph in quadratic curves, without components, and its width."""
    glyphs, drawn, pen = font.getGlyphSet(), DecomposingRecordingPen(font.getGlyphSet()), TTGlyphPen(None)
    glyphs[name].draw(drawn)
    drawn.replay(Cu2QuPen(pen, MAX_ERROR, reverse_direction=True) if "CFF " in font else pen)
    return pen.glyph(), round(glyphs[name].width)


def main() -> None:
    """Write the font."""
    latin = TTFont(sys.argv[1])
    (chinese,) = (font for font in TTCollection(sys.argv[2]).fonts if font["name"].getDebugName(4) == CHINESE)
    assert latin["head"].unitsPerEm == chinese["head"].unitsPerEm == EM
    characters, outlines = {}, {".notdef": outline(latin, ".notdef")}
    for code in sorted(map(ord, wanted())):
        source = next((font for font in (latin, chinese) if code in font.getBestCmap()), None)
        if source is not None:
            characters[code] = f"u{code:04x}"
            outlines[characters[code]] = outline(source, source.getBestCmap()[code])

    font = FontBuilder(EM, isTTF=True)
    font.setupGlyphOrder(list(outlines))
    font.setupCharacterMap(characters)
    font.setupGlyf({name: glyph for name, (glyph, _) in outlines.items()})
    table = font.font["glyf"]
    font.setupHorizontalMetrics({name: (w, getattr(table[name], "xMin", 0)) for name, (_, w) in outlines.items()})
    font.setupHorizontalHeader(ascent=latin["hhea"].ascent, descent=latin["hhea"].descent)
    font.setupNameTable(
        {
            "copyright": "; ".join(source["name"].getDebugName(0) for source in (latin, chinese)),
            "familyName": "fc7 Sans",
            "styleName": "Regular",
            "licenseDescription": latin["name"].getDebugName(13),
            "licenseInfoURL": latin["name"].getDebugName(14),
        }
    )
    font.setupOS2()
    font.setupPost(keepGlyphNames=False)
    font.font.recalcTimestamp = False  # so that the same fonts give the same bytes
    font.updateHead(created=chinese["head"].created, modified=chinese["head"].modified)
    font.save(OUTPUT)


if __name__ == "__main__":
    main()
