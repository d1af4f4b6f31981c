"""Recognise the format of an image by its first bytes, also of formats that fc7 does not read."""

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
# Brands in the "ftyp" box at the beginning of a file. The first format of this table with a brand in the file counts.
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
    "camera raw": {b"crx "},
    "video": {b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V ", b"3gp4", b"3gp5"},
}


def detect_format(data: bytes) -> str:
    """Return the name of the format of an image file, one of those that fc7 reads.

    Raises
    ------
    ImageDecodeError
        fc7 does not read the format, which the message names, or does not know it.
    """
    name = _name(data)
    if name in READ.values():
        return name
    are_read = ", ".join(dict.fromkeys(READ.values()))
    if name:
        advice = f"Convert it to JPEG or PNG. fc7 reads {are_read}"
        if name == "HEIC":
            advice = "Install 'fc7[heif]' where the server runs, or convert it to JPEG or PNG"
        raise ImageDecodeError(
            f"the file is {name}, which fc7 does not read. {advice}",
            reason=Reason.UNSUPPORTED_FORMAT,
        )
    raise ImageDecodeError(
        f"the bytes are not an image: they begin with {data[:8]!r}. fc7 reads {are_read}",
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
