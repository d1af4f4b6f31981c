"""Remove from image files what no pixel needs, and keep the orientation.

Decoders parse comments, thumbnails and camera data at once. If these are damaged, an image that every viewer shows
would be refused; if they are hostile, they could fill the memory. They are removed before a decoder sees the file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from fc7.errors import ImageDecodeError, Reason
from fc7_service.features.jpeg import jpeg_segments
from fc7_service.features.tiff_tags import (
    COMPRESSION,
    N_PICTURES,
    ORIENTATION,
    SUBFILE,
    TILE_LENGTH,
    TILE_WIDTH,
    read_tags,
    with_tags,
)

_EXIF, _XMP, _MPF = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_MAX_TEXT_BYTES = 2**20  # of an unpacked text chunk
_MAX_EXIF_BYTES = 2**20
# The tags of TIFF 6.0 that pixels cannot be read without: size, bits, compression, colours, position of the rows,
# layout, predictor, palette, tiles, alpha, sample format, fax options, tables of an embedded JPEG, YCbCr.
_TIFF_TAGS = {
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    292,
    293,
    317,
    320,
    *range(322, 326),
    332,
    338,
    339,
}
_TIFF_TAGS |= {340, 341, 347, 529, 530, 531, 532}
_TIFF_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946)  # not fax: its decoder prints a line for each bad row
_PNG_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_PNG_KEYS = (b"XML:com.adobe.xmp", b"Raw profile type exif")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


@dataclass(slots=True)
class File:
    """An image file without the metadata that its pixels do not need."""

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    is_mpo: bool = False  # a JPEG file that holds several images


def orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation, 1 to 8 as EXIF numbers it; 1 (upright) if it is missing or invalid."""
    tag = read_tags(exif.removeprefix(_EXIF)).get(ORIENTATION)
    if tag is not None:
        return tag.number if tag.number is not None and 1 <= tag.number <= 8 else 1
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found and int(found[1]) in range(1, 9) else 1


def strip(data: bytes, name: str) -> File:
    """Return a file of the format ``name`` without its metadata.

    Raises
    ------
    ImageDecodeError
        A TIFF file whose tags or tiles are too large, or whose first page is the thumbnail of a camera's raw file.
    """
    return _STRIPPERS.get(name, File)(data)


def _strip_jpeg(data: bytes) -> File:
    file, kept = File(b""), [data[:2]]
    at = 2
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(_EXIF) and len(file.exif) < _MAX_EXIF_BYTES:
            file.exif += body[len(_EXIF) :]
        elif marker == 0xE1 and body.startswith(_XMP):
            file.xmp = body[len(_XMP) :]
        elif marker == 0xE2 and body.startswith(_MPF):
            n_pictures = read_tags(body[len(_MPF) :]).get(N_PICTURES)
            file.is_mpo = n_pictures is not None and (n_pictures.number or 0) > 1
        elif marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[start:end])  # the segments of JFIF and Adobe say what the colour values mean
        at = end
        if marker == 0xDA:
            break
    file.data = b"".join([*kept, memoryview(data)[at:]])
    return file


def _strip_png(data: bytes) -> File:
    file, kept = File(b""), [data[:8]]
    seen: set[bytes] = set()
    at = 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], memoryview(data)[at + 8 : end - 4]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[at:end])
        elif kind in _PNG_TEXTS and zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") == data[end - 4 : end]:
            _read_png_text(file, kind, bytes(body), seen)
        if kind == b"IEND":
            break
        at = end
    file.data = b"".join(kept)
    return file


def _read_png_text(file: File, kind: bytes, body: bytes, seen: set[bytes]) -> None:
    """Keep a chunk that holds the orientation. Programs write it in three ways.

    Only the first text of each key counts: a file may hold thousands, and each kilobyte may unpack to a megabyte.
    """
    if kind == b"eXIf":
        file.exif = body
        return
    key, _, rest = body.partition(b"\0")
    if key not in _PNG_KEYS or key in seen:
        return
    seen.add(key)
    is_packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    text = rest if kind == b"tEXt" else rest[1:] if kind == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    if is_packed:
        try:
            text = zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES)
        except zlib.error:
            return
    text = text[:_MAX_TEXT_BYTES]
    if key.startswith(b"XML"):
        file.xmp = text
    elif not file.exif:
        try:
            file.exif = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
        except ValueError:
            return


def _strip_avif(data: bytes) -> File:
    """Rename the EXIF item, so that no decoder parses it. AVIF stores the orientation in another box."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"meta":
            end = at + size if size >= 8 else len(data)
            return File(data[:at] + data[at:end].replace(b"Exif", b"none") + data[end:])
        if size < 8:
            break
        at += size
    return File(data)


def _strip_tiff(data: bytes) -> File:
    """Keep the first page and the tags that its pixels need."""
    tags = read_tags(data)
    subfile = tags.get(SUBFILE)
    if data[8:10] == b"CR" or (subfile is not None and (subfile.number or 0) & 1):
        raise ImageDecodeError(
            "the file is camera raw, which fc7 does not read: its first page is a thumbnail. Convert it to JPEG",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    compression = tags[COMPRESSION].number if COMPRESSION in tags else 1
    if compression not in _TIFF_COMPRESSIONS:
        raise ImageDecodeError(
            f"fc7 does not read the compression {compression} of the TIFF file. "
            "Save it with LZW, Deflate, PackBits, JPEG or none",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    kept = {number: tag for number, tag in tags.items() if number in _TIFF_TAGS}
    if sum(tag.n_bytes for tag in kept.values()) > len(data):  # a decoder reads all of them into memory
        raise ImageDecodeError(
            "the TIFF file is truncated or damaged: its tags are larger than the file", reason=Reason.IMAGE_DAMAGED
        )
    tile = [kept[tag].number or 0 for tag in (TILE_WIDTH, TILE_LENGTH) if tag in kept]
    if tile and max(tile) > 4096:
        raise ImageDecodeError(
            f"the TIFF file has tiles of {tile} pixels, but the limit is 4096 x 4096", reason=Reason.IMAGE_TOO_LARGE
        )
    return File(with_tags(data, kept), exif=data)


_STRIPPERS: dict[str, Callable[[bytes], File]] = {
    "JPEG": _strip_jpeg,
    "PNG": _strip_png,
    "AVIF": _strip_avif,
    "TIFF": _strip_tiff,
}
