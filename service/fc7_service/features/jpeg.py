"""Complete a JPEG that ends too early if all its rows are there; otherwise say how many are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from fc7.errors import ImageDecodeError, Reason

MAX_SCANS = 500  # a scan of a few bytes may cover all pixels; encoders write about ten

_END = b"\xff\xd9"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_NOISE = bytes(range(0xAA, 0xFA)) * 32  # its first bit differs from the zeros that a decoder fills in
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame's header
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_EVERY_COEFFICIENT = frozenset(range(64))
_BAND_ROWS = 64  # compared at a time: arrays of whole images take more memory than the two images


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment of a JPEG, without the coded rows between segments."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield marker, at, end
        at = end


def is_buffered(data: bytes) -> bool:
    """Return whether a JPEG has several scans: a decoder then keeps all of it in memory, two bytes per number."""
    n_components = 0
    for marker, start, end in jpeg_segments(data):
        if marker in _PROGRESSIVE:
            return True
        if marker in _FRAMES:
            n_components = data[start + 9] if end > start + 9 else 0
        if marker == 0xDA:
            return data[start + 4] < n_components
    return False


def has_end(data: bytes) -> bool:
    """Return whether the end marker is there. Coded rows cannot contain its bytes."""
    return data.rfind(_END) >= 0


def complete(data: bytes, decode: Callable[[bytes], Image.Image], height: int) -> Image.Image:
    """Return the image of a JPEG that ends too early, if all its rows are there.

    A decoder fills in zeros for missing data. Therefore the file is decoded twice, once with noise added at its end.
    The two images differ from the first row that needs missing data.

    Parameters
    ----------
    data
        The file.
    decode
        Decodes a file at the scale in use.
    height
        Number of rows that the file declares.

    Raises
    ------
    ImageDecodeError
        Rows are missing. The message says how many are there.
    """
    body = data.rstrip(b"\xff")
    image = decode(body + _END)
    n_whole = 0
    if _has_all_scans(data):
        noisy = decode(body + _noise(body) + _END)
        row = _first_difference(image, noisy)
        if row is None:
            return image
        n_whole = row * height // image.height
    raise ImageDecodeError(
        f"the image is truncated: only {n_whole} of its {height} rows are there. Get the whole file",
        reason=Reason.IMAGE_DAMAGED,
    )


def _first_difference(image: Image.Image, other: Image.Image) -> int | None:
    """Return the first row in which two images of the same size differ."""
    for top in range(0, image.height, _BAND_ROWS):
        box = (0, top, image.width, min(image.height, top + _BAND_ROWS))
        differ = np.asarray(image.crop(box)) != np.asarray(other.crop(box))
        rows = np.flatnonzero(differ.reshape(len(differ), -1).any(axis=1))
        if rows.size:
            return top + int(rows[0])
    return None


def _noise(body: bytes) -> bytes:
    """Return noise for the row in progress, and for the rows after each of the next restart markers."""
    restarts = _RESTART.findall(body)
    last = restarts[-1][1] if restarts else 0xD7
    markers = (0xD0 + (last + 1 + i) % 8 for i in range(8))
    return _NOISE + b"".join(bytes((0xFF, marker)) + _NOISE for marker in markers)


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans contain the last bit of every coefficient of every component."""
    missing: dict[int, set[int]] = {}
    is_progressive = False
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if marker in _FRAMES and len(body) > 5:
            is_progressive = marker in _PROGRESSIVE
            missing = {number: set(_EVERY_COEFFICIENT) for number in body[6::3]}
        elif marker == 0xDA and len(body) == 4 + 2 * body[0]:
            first, last, bits = body[-3:] if is_progressive else (0, 63, 0)
            for number in body[1:-3:2] if bits & 15 == 0 else b"":
                missing.get(number, set()).difference_update(range(first, last + 1))
    return not any(missing.values())
