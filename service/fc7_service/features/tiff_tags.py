"""Tags of a TIFF directory, which is also the format of EXIF. Nothing that a file declares is trusted."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

ORIENTATION, SUBFILE, COMPRESSION, TILE_WIDTH, TILE_LENGTH, N_PICTURES = 0x0112, 0x00FE, 0x0103, 0x0142, 0x0143, 0xB001

# TIFF 6.0 (1992), section 2
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # type -> bytes
_NUMBERS = {3: "H", 4: "L", 8: "h", 9: "l"}  # type -> code of `struct`, for whole numbers


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory."""

    entry: bytes  # its 12 bytes in the directory
    n_bytes: int  # of its values, as declared
    number: int | None  # the first value; None if it is not a whole number


def read_tags(data: bytes) -> Mapping[int, Tag]:
    """Return the tags of the first directory of a TIFF file or an EXIF block; none if it is malformed."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    if start + 2 > len(data):
        return {}
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags = {}
    for entry in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, n_values = struct.unpack_from(f"{order}HHL", data, entry)
        n_bytes = n_values * _SIZES.get(kind, 0)
        values = entry + 8 if n_bytes <= 4 else struct.unpack_from(f"{order}L", data, entry + 8)[0]
        number = _whole_number(data, values, kind, order) if n_values else None
        tags[tag] = Tag(data[entry : entry + 12], n_bytes, number)
    return tags


def with_tags(data: bytes, tags: Mapping[int, Tag]) -> bytes:
    """Return a TIFF file with one directory, which holds only ``tags``, a subset of its own."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}L", data, 4)[0] if len(data) >= 8 else len(data)
    entries = b"".join(tag.entry for tag in tags.values())
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return data[:start] + directory + data[start + len(directory) :]


def _whole_number(data: bytes, at: int, kind: int, order: str) -> int | None:
    code = _NUMBERS.get(kind)
    if code is None or at + _SIZES[kind] > len(data):
        return None
    return int(struct.unpack_from(order + code, data, at)[0])
