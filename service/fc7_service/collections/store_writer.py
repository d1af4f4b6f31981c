"""The connection that writes a collection's database: its transactions, and the rows that they write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fc7.errors import Fc7Error, Reason, Unavailable
from fc7_service.collections.commit_counter import CommitCounter, count_commit
from fc7_service.collections.database import configure_writer, connect, primary_code, translate_errors
from fc7_service.collections.halves import compact
from fc7_service.collections.readers import closed_error
from fc7_service.collections.rows import Item, StoredRow, metadata_checksum, payload_text, vector_checksum
from fc7_service.collections.schema import write_versions


class StoreWriter:
    """Writes one database. For one thread at a time.

    Parameters
    ----------
    path
        Of the database, in a folder that has the name of the collection.
    commits
        Counts the commits of this database.
    last_rid
        The largest rid that was ever used.
    versions
        Of the libraries behind what is written from now on.

    Raises
    ------
    DataLoss
        The file is cut short.
    Unavailable
        It cannot be opened now.
    """

    def __init__(self, path: Path, commits: CommitCounter, last_rid: int, versions: dict[str, str] | None) -> None:
        self._name, self._commits, self.last_rid = path.parent.name, commits, last_rid
        self._new_versions = versions  # None once they are recorded
        self._fault = ""  # of the disk while writing; after one, nothing is written any more
        self._is_closed = False
        self.connection = connect(path, "rw")
        try:
            configure_writer(self.connection, path)
        except BaseException:
            self.connection.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything that the block writes, on disk when it ends, or nothing. For one thread at a time."""
        if self._is_closed:
            raise closed_error(self._name)
        if self._fault:
            raise Unavailable(
                f"Collection {self._name!r} takes no writes, because the disk failed ({self._fault}). Check the disk, "
                "then restart the server",
                name=self._name,
                reason=Reason.DISK_FAILED,
            )
        try:
            with translate_errors(self._name):
                self.connection.execute("BEGIN IMMEDIATE")
                before = self.connection.total_changes
                try:
                    yield self.connection
                    if has_written := self.connection.total_changes != before:
                        commit = count_commit(self.connection)
                        if self._new_versions:
                            write_versions(self.connection, commit, self._new_versions)
                    self.connection.execute("COMMIT")
                    if has_written:
                        self._new_versions = None
                finally:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
        except Fc7Error as error:
            cause = error.__cause__
            if isinstance(cause, sqlite3.Error) and primary_code(cause) == sqlite3.SQLITE_IOERR:
                self._fault = str(cause)
            raise

    def acknowledge(self) -> None:
        """Record the last commit as acknowledged, so that its loss would be noticed.

        Raises
        ------
        ResourceExhausted
            The disk is full. The commit is stored.
        Unavailable
            It cannot be recorded. No more writes are taken, unless the process was out of open files, which passes.
        """
        try:
            with translate_errors(self._name):
                self._commits.acknowledge(self.connection)
        except Fc7Error as error:
            if error.reason not in (Reason.TOO_MANY_FILES.name, Reason.DISK_FULL.name):  # these pass
                self._fault = str(error.__cause__)
            raise

    def put_all(self, items: Sequence[Item], places: Mapping[str, int]) -> list[StoredRow]:
        """Write rows in the open transaction.

        Parameters
        ----------
        items
            What to write; no two have one id.
        places
            By id, the place of the row that an item replaces. The others go to the end.
        """
        rows = []
        for item, vector in zip(items, compact([item.vector for item in items]), strict=True):
            self.last_rid += 1
            place, payload = places.get(item.id, self.last_rid), payload_text(item.payload)
            rows.append(StoredRow(self.last_rid, place, item.id, item.content_sha256, payload, vector))
        metadata = ((one.rid, one.place, one.id, one.content, one.payload, _checksum(one, one.payload)) for one in rows)
        vectors = ((one.rid, one.vector, vector_checksum(one.rid, one.vector)) for one in rows)
        self.connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", metadata)
        self.connection.executemany("INSERT INTO vectors VALUES (?, ?, ?)", vectors)
        return rows

    def set_payload(self, row: StoredRow, payload: dict[str, Any]) -> None:
        """Write the payload of a row in the open transaction; its rid, place and vector stay."""
        text = payload_text(payload)
        checksum = _checksum(row, text)
        self.connection.execute("UPDATE items SET payload = ?, crc = ? WHERE rid = ?", (text, checksum, row.rid))

    def drop_all(self, rids: Sequence[int]) -> None:
        """Delete rows in the open transaction."""
        values = [(rid,) for rid in rids]
        self.connection.executemany("DELETE FROM items WHERE rid = ?", values)
        self.connection.executemany("DELETE FROM vectors WHERE rid = ?", values)

    def close(self) -> None:
        """Close. No write may be running.

        The write-ahead log is checkpointed, unless a read still needs it. Then the next open reads it.
        """
        self._is_closed = True
        with contextlib.suppress(sqlite3.Error):  # for example a full disk: the log stays, and the next open reads it
            self.connection.execute("PRAGMA busy_timeout=0")  # otherwise it waits 5 s for a reader
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()


def _checksum(row: StoredRow, payload: str) -> int:
    return metadata_checksum(row.rid, row.place, row.id.encode(), row.content.encode(), payload.encode())
