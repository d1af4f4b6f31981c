"""Thumbnails that a collection keeps, so that its pictures can be shown where their files are not.

They are rows of the collection's database, written in its transactions, and each has a checksum. A thumbnail belongs to
the id of an item and to the content that it was made of: it goes when the item is deleted, or gets another picture.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence

from fc7_service.collections.store import Store

_TABLE = """
CREATE TABLE IF NOT EXISTS thumbnails (id TEXT PRIMARY KEY, content TEXT NOT NULL, image BLOB NOT NULL,
                                       crc INTEGER NOT NULL) WITHOUT ROWID
"""
_HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'thumbnails'"


def put(connection: sqlite3.Connection, id: str, content: str, image: bytes) -> None:
    """Write the thumbnail of an item with this content, in place of an earlier one."""
    connection.execute(_TABLE)
    row = (id, content, image, _checksum(id, content, image))
    connection.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?, ?)", row)


def forget(connection: sqlite3.Connection, id: str) -> None:
    """Remove the thumbnail of an item that is being deleted, or gets another picture."""
    if connection.execute(_HAS_TABLE).fetchone() is not None:
        connection.execute("DELETE FROM thumbnails WHERE id = ?", (id,))


class Thumbnails:
    """Reads the thumbnails of one collection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def contents(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the digest of the content that each thumbnail was made of, by id; ids without one are left out."""
        return {own: content for own, (content, _) in self._read(ids).items()}

    def images(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails by id, as WebP; ids without one are left out."""
        return {own: image for own, (_, image) in self._read(ids).items()}

    def _read(self, ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
        found: dict[str, tuple[str, bytes]] = {}
        with self._store.pinned() as connection:
            if connection.execute(_HAS_TABLE).fetchone() is None:
                return found
            for wanted in ids:
                row = connection.execute(
                    "SELECT content, image, crc FROM thumbnails WHERE id = ?", (wanted,)
                ).fetchone()
                if row is not None and row[2] == _checksum(wanted, row[0].decode(), row[1]):  # else it is damaged
                    found[wanted] = row[0].decode(), row[1]
        return found


def _checksum(id: str, content: str, image: bytes) -> int:
    return zlib.crc32(b"\0".join((id.encode(), content.encode(), image)))
