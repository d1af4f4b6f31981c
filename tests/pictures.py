"""Pictures of every kind that people have: sound ones, and ones that viewers show though something in them is wrong."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageDraw

SIZE = (240, 180)


def scene(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """A picture with large shapes and some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def logo(kind: str, background: str) -> bytes:
    """Black lines on white, or on transparent black: the colours of the two are the same."""
    clear = background == "transparent"
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0) if clear else (255, 255, 255, 255))
    draw = ImageDraw.Draw(image)
    if kind == "bars":
        for x in range(20, 200, 40):
            draw.rectangle((x, 20, x + 15, 180), fill=(0, 0, 0, 255))
    else:
        draw.ellipse((30, 30, 170, 170), outline=(0, 0, 0, 255), width=12)
    return encode(image if clear else image.convert("RGB"), "PNG")


def exif(*others: tuple[int, int, bytes], orientation: int = 6) -> bytes:
    """An EXIF block with an orientation and other tags: number, type, value of up to 4 bytes."""
    tags = sorted([(0x0112, 3, struct.pack("<H", orientation)), *others])
    entries = b"".join(
        struct.pack("<HHL", tag, kind, len(value) if kind == 2 else 1) + value.ljust(4, b"\0")
        for tag, kind, value in tags
    )
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A chunk of a PNG."""
    sound = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", sound if crc is None else crc)


def png_with(extra: bytes) -> bytes:
    """The scene as a PNG, with a chunk behind its header."""
    data = encode(scene(), "PNG")
    return data[:33] + extra + data[33:]


# Four squares of 32 x 24 pixels, lossy: red, green; blue, white. libheif wrote it. The second one is turned to the
# right, and says so in a box of HEIF and in EXIF.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j"
    "AAAAAERAAAEAAQAAAAABogABAAAAAAAAANUAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/mlw"
    "cnAAAADeaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAA"
    "AwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAA"
    "AEAAAABAAAAAKGNsYXAAAABAAAAAAQAAADAAAAABAAAAAAAAAAL////wAAAAAgAAABBwaXhpAAAAAAMICAgAAAAYaXBtYQAAAAAAAAABAAEF"
    "gQIDBYQAAADdbWRhdAAAANEoAa8J4CM4R//gn3/9/hofaQ28VXflN7/1fTu9q9/+bxlPlPXhqYfJvP/V///b7s7ltKxzTHZYK9S0+WRTX9l5"
    "eqIboU0SdmIcnd+GumXnIe0jWABD8ansfytI7wpsgZQ0PLxkQOCoaNkzJeMNbDYk6SNqTOf7mfk4pQxNoBmBczeUdS1dlFBqicuZokqxmiUy"
    "IHXtPnrTtE3Eo1er61W+JDdcULZMRxmlWIRkXwPiuKumx+f1ALP5+Gf7s1614kuvrXtvjhhwLPlaNGn9w2TyQA=="
)
HEIC_TURNED = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAcltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9j"
    "AAAAAERAAAIAAQAAAAAB7QABAAAAAAAAANUAAgAAAAACwgABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAA"
    "ABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABCGlwcnAAAADnaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNg"
    "AAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQB"
    "wXMYMAiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAABAAAAAAQAAADAAAAABAAAAAAAAAAL////w"
    "AAAAAgAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAZaXBtYQAAAAAAAAABAAEGgQIDBYSGAAAAGmlyZWYAAAAAAAAADmNkc2MAAgABAAEA"
    "AAEBbWRhdAAAANEoAa8J4CM4R//gn3/9/hofaQ28VXflN7/1fTu9q9/+bxlPlPXhqYfJvP/V///b7s7ltKxzTHZYK9S0+WRTX9l5eqIboU0S"
    "dmIcnd+GumXnIe0jWABD8ansfytI7wpsgZQ0PLxkQOCoaNkzJeMNbDYk6SNqTOf7mfk4pQxNoBmBczeUdS1dlFBqicuZokqxmiUyIHXtPnrT"
    "tE3Eo1er61W+JDdcULZMRxmlWIRkXwPiuKumx+f1ALP5+Gf7s1614kuvrXtvjhhwLPlaNGn9w2TyQAAAAAZFeGlmAABNTQAqAAAACAABARIA"
    "AwAAAAEABgAAAAAAAA=="
)


def cases() -> dict[str, bytes]:
    """Files by name; names of one beginning, up to the first "-", are one picture."""
    whole = encode(scene(), "JPEG", quality=90)
    grey = np.asarray(scene().convert("L")).astype(np.uint16)
    turned = scene().transpose(Image.Transpose.ROTATE_90)

    def turn(block: bytes) -> bytes:
        return encode(turned, "JPEG", quality=90, exif=block)

    return {
        "bars-on-transparent.png": logo("bars", "transparent"),
        "bars-on-white.png": logo("bars", "white"),
        "circle-on-transparent.png": logo("circle", "transparent"),
        "circle-on-white.png": logo("circle", "white"),
        "grey-16.png": encode(Image.fromarray(grey * 257), "PNG"),
        "grey-8.png": encode(Image.fromarray(grey.astype(np.uint8)), "PNG"),
        "turned-ok.jpg": turn(exif()),
        "turned-resolution-as-text.jpg": turn(exif((0x011A, 2, b"72\0"))),
        "turned-width-as-text.jpg": turn(exif((0x0100, 2, b"24\0"))),
        "whole-.jpg": whole,
        "whole-but-1-byte.jpg": whole[:-1],
        "whole-but-2-bytes.jpg": whole[:-2],
        "whole-browser.jfif": whole,
        "whole-mpo.jpg": encode(scene(), "MPO", quality=90, save_all=True, append_images=[scene(seed=1)]),
        "lossless-.png": encode(scene(), "PNG"),
        "lossless-bad-crc.png": png_with(chunk(b"tEXt", b"Comment\0hello", crc=1)),
        "lossless-exif-junk.png": png_with(chunk(b"eXIf", b"junkjunkjunk")),
        "lossless-2-mb-of-text.png": png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 * 10**6)))),
        "lossless-scan.tif": encode(scene(), "TIFF"),
        "lossless-lzw.tiff": encode(scene(), "TIFF", compression="tiff_lzw"),
        "lossless-paint.bmp": encode(scene(), "BMP"),
        "lossless-.webp": encode(scene(), "WEBP", lossless=True),
        "old-.gif": encode(scene().quantize(64), "GIF", save_all=True, append_images=[scene(seed=1).quantize(64)]),
        "old-.png": encode(scene().quantize(64), "PNG"),
        "new-.avif": encode(scene(), "AVIF", quality=90),
    }
