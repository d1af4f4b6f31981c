"""Formats of pictures, told by their first bytes: those that are read, and the names of those that are not."""

from __future__ import annotations

from fc7.contract.formats import READ
from fc7.errors import ImageDecodeError, Reason

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"IIRO": "camera raw",
    b"IIU\0": "camera raw",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"8BPS": "Photoshop",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\1\0": "ICO",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"<!DOCTYPE html": "HTML",
    b"<html": "HTML",
    b"PK\3\4": "ZIP",
    b"\x1f\x8b": "gzip",
}
# Brands of a file that begins with a box "ftyp"; the first that it names decides.
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
    "camera raw": {b"crx "},
    "video": {b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V ", b"3gp4", b"3gp5"},
}


def detect_format(data: bytes) -> str:
    """Return the name of an encoded picture's format, one of those that are read.

    Raises
    ------
    ImageDecodeError
        Another format, which is named, or none that is known.
    """
    found = _name(data)
    if found in READ.values():
        return found
    are_read = ", ".join(dict.fromkeys(READ.values()))
    if found:
        raise ImageDecodeError(
            f"the file is {found}, which fc7 does not read. Convert it to JPEG or PNG; {are_read} are read",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    raise ImageDecodeError(
        f"the bytes are not an image: they begin with {data[:8]!r}; {are_read} are read",
        reason=Reason.UNSUPPORTED_FORMAT,
    )


def _name(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4], "big"), 512)]
        brands = {box[i : i + 4] for i in range(0, len(box), 4)}
        return next((name for name, known in _BRANDS.items() if brands & known), "MP4 or alike")
    text = data[:64].lstrip()
    return next((name for start, name in _STARTS.items() if data.startswith(start) or text.startswith(start)), "")
