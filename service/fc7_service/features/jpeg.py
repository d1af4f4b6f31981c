"""The structure of JPEG files, and files that end too early: complete pictures are read, others refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from fc7.errors import ImageDecodeError, Reason

MAX_SCANS = 500  # each may cost a pass over all pixels, for a few bytes of file; encoders write about ten
MAX_SEGMENTS = 10_000  # real files have fewer than a thousand

_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# A marker that begins a segment or ends the file. The others are padding (FF), or stand within coded rows.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
_NOISE = bytes(range(0xAA, 0xFA)) * 32  # its first bit differs from the zeros that a decoder uses for missing data
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame header
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ALL_COEFFICIENTS = frozenset(range(64))
_BAND_ROWS = 64  # rows compared at a time: arrays of whole pictures take more memory than both pictures


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment; the coded rows between segments are skipped.

    Raises
    ------
    ImageDecodeError
        The file has more than ``MAX_SEGMENTS`` segments.

    References
    ----------
    ITU-T T.81 (1992), section B.1.1.
    """
    n_segments, found = 0, _MARKER.search(data, 2)
    while found is not None:
        marker, start = data[found.start() + 1], found.start()
        length = int.from_bytes(data[start + 2 : start + 4], "big")  # counts its own two bytes
        end = start + 2 + length
        if marker == _END_OF_IMAGE[1] or length < 2 or end > len(data):
            return
        n_segments += 1
        if n_segments > MAX_SEGMENTS:
            raise ImageDecodeError(
                f"the JPEG has more than {MAX_SEGMENTS} segments: save it again", reason=Reason.IMAGE_TOO_LARGE
            )
        yield marker, start, end
        found = _MARKER.search(data, end)


def is_buffered(data: bytes) -> bool:
    """Tell whether a decoder keeps the whole picture in memory at two bytes per number: it has several scans."""
    n_components = 0
    for marker, start, end in jpeg_segments(data):
        if marker in _PROGRESSIVE:
            return True
        if marker in _FRAMES:
            n_components = data[start + 9] if end > start + 9 else 0
        if marker == _START_OF_SCAN:
            return end > start + 4 and data[start + 4] < n_components
    return False


def has_end(data: bytes) -> bool:
    """Tell whether the end marker is there; coded rows cannot contain it."""
    return data.rfind(_END_OF_IMAGE) >= 0


def complete(data: bytes, decode: Callable[[bytes], Image.Image], height: int) -> Image.Image:
    """Return the picture of a JPEG that ends too early, if all its rows are there.

    A decoder uses zeros for missing data. So the file is decoded twice, the second time with noise at its end. The two
    pictures differ from the first row that needs missing data.

    Parameters
    ----------
    data
        The file.
    decode
        Decodes a file at the scale that is wanted.
    height
        Rows that the file declares.

    Raises
    ------
    ImageDecodeError
        Rows are missing; the message says how many are there.
    """
    body = data.rstrip(b"\xff")
    image = decode(body + _END_OF_IMAGE)
    n_whole = 0
    if _has_all_scans(data):
        row = _first_difference(image, decode(body + _noise(body) + _END_OF_IMAGE))
        if row is None:
            return image
        n_whole = row * height // image.height
    raise ImageDecodeError(
        f"the image is truncated: only {n_whole} of its {height} rows are there. Get the whole file",
        reason=Reason.IMAGE_DAMAGED,
    )


def _first_difference(image: Image.Image, other: Image.Image) -> int | None:
    """Return the first row in which two pictures of the same size differ."""
    for top in range(0, image.height, _BAND_ROWS):
        box = (0, top, image.width, min(image.height, top + _BAND_ROWS))
        is_different = np.asarray(image.crop(box)) != np.asarray(other.crop(box))
        rows = np.flatnonzero(is_different.reshape(len(is_different), -1).any(axis=1))
        if rows.size:
            return top + int(rows[0])
    return None


def _noise(body: bytes) -> bytes:
    """Return rows of noise: for the row that was cut, and for those after each possible restart marker."""
    restarts = _RESTART.findall(body)
    last = restarts[-1][1] if restarts else 0xD7
    markers = (0xD0 + (last + 1 + i) % 8 for i in range(8))
    return _NOISE + b"".join(bytes((0xFF, marker)) + _NOISE for marker in markers)


def _has_all_scans(data: bytes) -> bool:
    """Tell whether, for every coefficient of every component, a scan brings the last bit."""
    missing: dict[int, set[int]] = {}  # component -> coefficients without their last bit
    is_progressive = False
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if marker in _FRAMES and len(body) > 5:
            is_progressive = marker in _PROGRESSIVE
            missing = {component: set(_ALL_COEFFICIENTS) for component in body[6::3]}
        elif marker == _START_OF_SCAN and body and len(body) == 4 + 2 * body[0]:
            first, last, bits = body[-3:] if is_progressive else (0, 63, 0)
            for component in body[1:-3:2] if bits & 15 == 0 else b"":
                missing.get(component, set()).difference_update(range(first, last + 1))
    return not any(missing.values())
