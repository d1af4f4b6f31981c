"""Read the tags of a TIFF directory without trusting the sizes they declare. Cameras write EXIF in this form too."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

ORIENTATION, SUBFILE, COMPRESSION, TILE_WIDTH, TILE_LENGTH, N_PICTURES = 0x0112, 0x00FE, 0x0103, 0x0142, 0x0143, 0xB001

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # type -> bytes
_NUMBERS = {3: "H", 4: "L", 8: "h", 9: "l"}


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory."""

    entry: bytes  # 12 bytes of the directory
    n_bytes: int  # declared size of its values
    number: int | None  # the first value; None if it is not an integer


def read_tags(data: bytes) -> Mapping[int, Tag]:
    """Return the tags of the first directory of a TIFF file or EXIF block; empty if it is malformed."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    if start + 2 > len(data):
        return {}
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags = {}
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, n_values = struct.unpack_from(f"{order}HHL", data, at)
        n_bytes = n_values * _SIZES.get(kind, 0)
        where = at + 8 if n_bytes <= 4 else struct.unpack_from(f"{order}L", data, at + 8)[0]
        tags[tag] = Tag(data[at : at + 12], n_bytes, _first(data, where, kind, order) if n_values else None)
    return tags


def with_tags(data: bytes, tags: Mapping[int, Tag]) -> bytes:
    """Return a TIFF file whose only directory is its first, reduced to ``tags``."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}L", data, 4)[0] if len(data) >= 8 else len(data)
    entries = b"".join(tag.entry for tag in tags.values())
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return data[:start] + directory + data[start + len(directory) :]


def _first(data: bytes, where: int, kind: int, order: str) -> int | None:
    code = _NUMBERS.get(kind)
    if code is None or where + _SIZES[kind] > len(data):
        return None
    return int(struct.unpack_from(order + code, data, where)[0])
