"""The connections that read a collection's database: as many as there are readers at once, kept for the next ones."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from fc7.errors import NotFound, Reason, Unavailable
from fc7_service.collections.database import connect, translate_errors


class Readers:
    """Read-only connections to one database. They never wait for the writer.

    Parameters
    ----------
    path
        Of the database, in a folder that has the name of the collection.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._name = path, path.parent.name
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a read-only connection that no other thread uses."""
        with self._lock:
            if self._is_closed:
                raise closed_error(self._name)
            connection = self._idle.pop() if self._idle else None
        try:
            with translate_errors(self._name):
                connection = connection or connect(self._path, "ro")
                try:
                    yield connection
                finally:
                    with self._lock:
                        is_kept = not self._is_closed
                        if is_kept:
                            self._idle.append(connection)
                    if not is_kept:
                        connection.close()
        except Unavailable as error:
            if self._is_closed:  # the folder was deleted before this read had opened all files
                raise closed_error(self._name) from error
            raise

    @contextlib.contextmanager
    def pinned(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one commit throughout."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Take no more readers; those that run continue, and then close their connections."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def closed_error(name: str) -> NotFound:
    """Return what a call gets that comes too late."""
    return NotFound(
        f"Collection {name!r} is closed: it was deleted or set aside, or the server is stopping",
        name=name,
        reason=Reason.COLLECTION_NOT_FOUND,
    )
