"""How many commits a database has, and how many of them were acknowledged.

SQLite ends a write-ahead log at its first damage and says nothing of the commits behind it. So each commit counts
itself in the database, and its number is synced into a file beside it before anybody hears of it: a database
that counts less than the file has lost what was acknowledged.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from pathlib import Path

from fc7.errors import DataLoss, Reason, Unavailable
from fc7_service.bundle.disk import is_out_of_files, sync_folder

_FILE = "acknowledged"
_MAGIC = b"fc7n"
# A row beside SQLite's own counters: the schema, which has a checksum, and the format stay as they are.
_READ = "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'commits'"

_log = logging.getLogger(__name__)


class CommitCounter:
    """The count in a database and the note beside it. One thread at a time.

    Raises
    ------
    DataLoss
        The database counts less than the note.
    Unavailable
        The note cannot be read now.
    """

    def __init__(self, database: Path, connection: sqlite3.Connection) -> None:
        self._path, self._name = database.with_name(_FILE), database.parent.name
        self._noted, counted = self._read(), _counted(connection)
        if counted < self._noted:
            n_lost = self._noted - counted
            raise DataLoss(
                f"{n_lost} acknowledged commit{' is' if n_lost == 1 else 's are'} lost: {database.name} and its "
                f"write-ahead log end at commit {counted} of {self._noted} (to go on with what is left, stop the "
                f"server and delete {self._name}/{_FILE})",
                name=self._name,
                reason=Reason.COLLECTION_DAMAGED,
            )

    def count(self, connection: sqlite3.Connection) -> None:
        """Count the transaction under way as a commit."""
        number = (_counted(connection) + 1,)
        if not connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'commits'", number).rowcount:
            connection.execute("INSERT INTO sqlite_sequence VALUES ('commits', ?)", number)

    def note(self, connection: sqlite3.Connection) -> None:
        """Note the last commit, synced, unless that is done; ``Unavailable`` if it cannot be."""
        number = _counted(connection)
        if number <= self._noted:
            return
        try:
            is_still_ours = self._noted > 0 and self._path.exists()
            with open(self._path, "r+b" if is_still_ours else "wb", buffering=0) as file:
                file.write(_record(number))
                getattr(os, "fdatasync", os.fsync)(file.fileno())  # macOS and Windows have no fdatasync
            if not is_still_ours:
                sync_folder(self._path.parent)
        except OSError as error:
            if is_out_of_files(error):  # the commit is on disk, and the next note counts it too
                raise Unavailable(
                    f"{self._name}/{_FILE} cannot be opened ({error.strerror}): what this call wrote is stored, but "
                    "not yet noted as such; repeat the call",
                    name=self._name,
                    reason=Reason.TOO_MANY_FILES,
                ) from error
            raise Unavailable(
                f"{self._name}/{_FILE} cannot be written ({error}): what this call wrote may be stored or not; "
                "check the disk, restart the server, then repeat the call",
                name=self._name,
                reason=Reason.DISK_FAILED,
            ) from error
        self._noted = number

    def _read(self) -> int:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise Unavailable(f"{self._name}/{_FILE} cannot be read: {error}", name=self._name) from error
        number = int.from_bytes(data[4:12], "big")
        if data == _record(number):
            return number
        _log.warning("%s/%s is damaged: whether a commit is lost cannot be told", self._name, _FILE)
        return 0


def _counted(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_READ).fetchone()[0])


def _record(number: int) -> bytes:
    """Return 16 bytes."""
    head = _MAGIC + number.to_bytes(8, "big")
    return head + zlib.crc32(head).to_bytes(4, "big")
