"""Picture files of every format that fc7 reads, and how to damage them."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from fc7.contract.formats import READ
from pictures import HEIC, HEIC_TURNED, encode, exif, scene

SMALL, OTHER = scene((60, 44)), scene((60, 44), seed=1)
GREY_16 = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
FILES = [
    encode(SMALL, "JPEG", exif=exif()),
    encode(SMALL, "JPEG", progressive=True),
    encode(SMALL, "MPO", save_all=True, append_images=[OTHER]),
    encode(SMALL, "PNG", exif=exif()[6:]),
    encode(SMALL.quantize(16), "PNG", transparency=3),
    encode(SMALL, "PNG", save_all=True, append_images=[OTHER]),
    encode(GREY_16, "PNG"),
    encode(SMALL.quantize(16), "GIF", save_all=True, append_images=[OTHER.quantize(16)]),
    encode(SMALL, "BMP"),
    encode(SMALL.quantize(16), "BMP"),
    encode(SMALL, "WEBP", exif=exif()),
    encode(SMALL.convert("RGBA"), "WEBP", lossless=True),
    encode(SMALL, "AVIF", exif=exif()),
    encode(SMALL, "TIFF"),
    encode(GREY_16, "TIFF"),
    *(encode(SMALL, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
    *((HEIC, HEIC_TURNED) if ".heic" in READ else ()),
]
EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xd8", b"\xff\xda"]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a few places, most often near the beginning, where formats say how large they are."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(rng.choice([len(data), 200])) % max(1, len(changed))
        n = rng.randrange(1, 9)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            del changed[at : at + n]
        elif kind == 2:
            changed[at:at] = rng.randbytes(n)
        else:
            changed[at : at + 4] = rng.choice(EXTREMES)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.15 else changed)
