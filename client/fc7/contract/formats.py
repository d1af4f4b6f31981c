"""The formats of picture files by the ends of their names: those that fc7 reads, and those that it passes over."""

from __future__ import annotations

from importlib.util import find_spec

READ = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",  # browsers save JPEGs under it
    ".png": "PNG",
    ".webp": "WebP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
NOT_READ = {
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
    ".svg": "SVG",
    ".psd": "Photoshop",
    ".ico": "ICO",
    ".tga": "TGA",
    ".dng": "camera raw",
    ".cr2": "camera raw",
    ".cr3": "camera raw",
    ".nef": "camera raw",
    ".arw": "camera raw",
    ".orf": "camera raw",
    ".raf": "camera raw",
    ".rw2": "camera raw",
}
(READ if find_spec("pi_heif") else NOT_READ).update({".heic": "HEIC", ".heif": "HEIC"})  # the extra `heif` brings it
ADVICE = "convert them to JPEG or PNG"  # for files of formats that are not read


def suffix_of(file_name: str) -> str:
    """Return the end of a file's name in lower case, as the keys of the tables have it: ``.jpg`` of ``A.JPG``."""
    stem, dot, end = file_name.rpartition(".")
    return dot + end.lower() if stem else ""
