"""Take everything out of an image file that its pixels do not need, and read the little that is wanted of it.

Decoders parse comments, thumbnails and camera data eagerly. Damage in them would refuse a picture that every viewer
shows, and hostile ones would fill the memory. So they are removed before a decoder sees the file.
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
_MAX_TEXT_BYTES = 2**20  # of a text chunk, uncompressed
_MAX_EXIF_BYTES = 2**20
_MAX_TILE_PX = 4096
# The tags of TIFF 6.0 that pixels need: size, bits, compression, colours, position of the rows, layout, predictor,
# palette, tiles, alpha, sample format, fax options, tables of an embedded JPEG, YCbCr.
_TIFF_TAGS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_TIFF_TAGS |= {332, 338, 339, 340, 341, 347, 529, 530, 531, 532}
_TIFF_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946)  # no fax: its decoders write to standard error for each bad row
_PNG_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_PNG_KEYS = (b"XML:com.adobe.xmp", b"Raw profile type exif")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


@dataclass(slots=True)
class StrippedFile:
    """An image file that holds only what its pixels need, and the metadata that was taken out."""

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    is_mpo: bool = False  # a JPEG with other pictures behind it


def read_orientation(exif: bytes, xmp: bytes) -> int:
    """Return how to turn a picture, 1 to 8 as EXIF numbers it; 1 (upright) if nothing valid says otherwise."""
    tag = read_tags(exif.removeprefix(_EXIF)).get(ORIENTATION)
    if tag is not None:
        return tag.number if tag.number is not None and 1 <= tag.number <= 8 else 1
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match and int(match[1]) in range(1, 9) else 1


def strip_metadata(data: bytes, image_format: str) -> StrippedFile:
    """Return an image file without its metadata; ``image_format`` as ``detect_format`` returns it.

    Raises
    ------
    ImageDecodeError
        A JPEG with too many segments. A TIFF file that is camera raw, or has a compression that is not read, or tags
        or tiles that are too large.
    """
    return _STRIPPERS.get(image_format, StrippedFile)(data)


def _strip_jpeg(data: bytes) -> StrippedFile:
    file, kept = StrippedFile(b""), [data[:2]]
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
            kept.append(data[start:end])  # the segments of JFIF and Adobe say which colours the numbers mean
        at = end
        if marker == 0xDA:
            break
    file.data = b"".join([*kept, memoryview(data)[at:]])
    return file


def _strip_png(data: bytes) -> StrippedFile:
    file, kept = StrippedFile(b""), [data[:8]]
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


def _read_png_text(file: StrippedFile, kind: bytes, body: bytes, seen: set[bytes]) -> None:
    """Keep what a chunk says about the orientation, in any of the three ways in which programs write it.

    Only the first text of each key counts: a kilobyte may unpack to a megabyte, and a file may hold thousands of them.
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


def _strip_avif(data: bytes) -> StrippedFile:
    """Rename the item that holds EXIF, so that no decoder parses it: AVIF has its own box for the orientation."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"meta":
            end = at + size if size >= 8 else len(data)
            return StrippedFile(data[:at] + data[at:end].replace(b"Exif", b"none") + data[end:])
        if size < 8:
            break
        at += size
    return StrippedFile(data)


def _strip_tiff(data: bytes) -> StrippedFile:
    """Keep the first page, and of its tags only those that its pixels need."""
    tags = read_tags(data)
    subfile = tags.get(SUBFILE)
    if data[8:10] == b"CR" or (subfile is not None and (subfile.number or 0) & 1):
        raise ImageDecodeError(
            "the file is camera raw, which fc7 does not read: its first page is only a thumbnail. Convert it to JPEG",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    compression = tags[COMPRESSION].number if COMPRESSION in tags else 1
    if compression not in _TIFF_COMPRESSIONS:
        raise ImageDecodeError(
            f"fc7 does not read the compression {compression} of the TIFF file: save it with LZW, Deflate, PackBits, "
            "JPEG or none",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    kept = {number: tag for number, tag in tags.items() if number in _TIFF_TAGS}
    if sum(tag.n_bytes for tag in kept.values()) > len(data):  # a decoder loads each of them into memory
        raise ImageDecodeError(
            "the TIFF file is truncated or damaged: its tags are larger than the file", reason=Reason.IMAGE_DAMAGED
        )
    tile = [kept[tag].number or 0 for tag in (TILE_WIDTH, TILE_LENGTH) if tag in kept]
    if tile and max(tile) > _MAX_TILE_PX:
        raise ImageDecodeError(
            f"tiles of a TIFF file may have at most {_MAX_TILE_PX} x {_MAX_TILE_PX} pixels (got {tile})",
            reason=Reason.IMAGE_TOO_LARGE,
        )
    return StrippedFile(with_tags(data, kept), exif=data)


_STRIPPERS: dict[str, Callable[[bytes], StrippedFile]] = {
    "JPEG": _strip_jpeg,
    "PNG": _strip_png,
    "AVIF": _strip_avif,
    "TIFF": _strip_tiff,
}
