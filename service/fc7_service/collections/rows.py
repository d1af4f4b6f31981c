"""The values that a collection stores: items as callers see them, rows as the database holds them."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, Fc7Error, NotFound, Reason
from fc7_service.collections.halves import widen

Metric = Literal["cosine", "l2", "dot"]

_MOST_IDS_LOGGED = 10

_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """An item to store."""

    id: str
    content_sha256: str  # hex, of the image's or the vector's bytes
    payload: dict[str, Any]
    vector: NDArray[np.float32]  # (D,)
    thumbnail: bytes = b""  # WebP, of this content; empty to keep the one that is stored of it


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is stored."""

    id: str
    content_sha256: str
    payload: dict[str, Any]
    vector: NDArray[np.float32] | None  # (D,), raw; None unless it was asked for


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row whose checksums hold: that of its metadata, and that of its vector if it was read.

    Replacing an item gives it a new ``rid`` and keeps its ``place``: a rid stands for one version of an item for ever.
    """

    rid: int
    place: int  # in the order of first insertion
    id: str
    content: str  # SHA-256, hex
    payload: str  # JSON, ASCII
    vector: NDArray[Any]  # (D,) float16 or float32, raw; (0,) if it was not read

    def item(self, *, with_vector: bool) -> StoredItem:
        """Return the item that the caller stored."""
        vector = widen(self.vector) if with_vector else None
        return StoredItem(self.id, self.content, json.loads(self.payload), vector)


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row of which a checksum does not hold."""

    rid: int
    id: str  # as far as it can be read


NO_VECTOR: NDArray[Any] = np.empty(0, np.float16)


def read_row(row: tuple[Any, ...], dim: int) -> StoredRow | DamagedRow:
    """Check a row of the database: rid, place, id, content, payload and their checksum.

    If the vector and its checksum follow, they are checked too.
    """
    rid, place, id_bytes, content, payload, checksum = row[:6]
    vector: NDArray[Any] | None = read_vector(dim, rid, *row[6:]) if len(row) > 6 else NO_VECTOR
    has_types = type(place) is int and type(id_bytes) is type(content) is type(payload) is bytes  # much is read here
    if has_types and vector is not None and metadata_checksum(rid, place, id_bytes, content, payload) == checksum:
        return StoredRow(rid, place, id_bytes.decode(), content.decode(), payload.decode(), vector)
    return DamagedRow(rid, id_bytes.decode(errors="replace") if isinstance(id_bytes, bytes) else repr(id_bytes))


def read_vector(dim: int, rid: int, blob: Any, checksum: Any) -> NDArray[Any] | None:
    """Return the vector (D,) of a row, or None if its checksum does not hold."""
    dtype = {dim * 2: "<f2", dim * 4: "<f4"}.get(len(blob)) if isinstance(blob, bytes) else None
    if dtype is None or vector_checksum(rid, blob) != checksum:
        return None
    return np.frombuffer(blob, dtype)


def parse_payload(payload: Any) -> dict[str, Any]:
    """Return the payload of a row whose checksum was not compared; an empty one if it cannot be read."""
    try:
        parsed = json.loads(payload)
    except (TypeError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def metadata_checksum(rid: int, place: int, id_bytes: bytes, content: bytes, payload: bytes) -> int:
    """Return the CRC-32 over all that a row holds but its vector."""
    return zlib.crc32(b"\0".join((b"%d" % rid, b"%d" % place, id_bytes, content, payload)))


def vector_checksum(rid: int, blob: Any) -> int:
    """Return the CRC-32 over a vector and the row that it belongs to."""
    return zlib.crc32(blob, rid % 2**32)


def payload_text(payload: dict[str, Any]) -> str:
    """Return the JSON that a row holds, in ASCII."""
    return _encoder.encode(payload)


def why_absent(collection: str, id: str, row: DamagedRow | None) -> Fc7Error:
    """Return why there is no item ``id``: its row is damaged, or None."""
    if row is None:
        return NotFound(f"Collection {collection!r} has no item {id!r}", name=id, reason=Reason.ITEM_NOT_FOUND)
    return DataLoss(
        f"Item {id!r} of collection {collection!r} does not match its checksum. Add it again",
        name=id,
        reason=Reason.ITEM_DAMAGED,
    )


def intact_rows(rows: Iterable[StoredRow | DamagedRow], collection: str) -> Iterator[StoredRow]:
    """Yield the rows whose checksums hold; log the ids of the others."""
    damaged = []
    for row in rows:
        if isinstance(row, StoredRow):
            yield row
        else:
            damaged.append(row.id)
    log_damaged(damaged, collection)


def log_damaged(ids: Sequence[str], collection: str) -> None:
    """Write one warning about all damaged rows of a collection."""
    if ids:
        named = ", ".join(map(repr, ids[:_MOST_IDS_LOGGED])) + (", ..." if len(ids) > _MOST_IDS_LOGGED else "")
        _log.warning(
            "collection %r: %d items do not match their checksum and are left out: %s", collection, len(ids), named
        )
