"""Counts the commits of a database, so that the loss of an acknowledged one is noticed.

SQLite stops reading a write-ahead log at the first damaged frame, and does not mention the commits after it. So each
commit counts itself in the database, and its number is synced to a file beside it before the caller gets an answer.
A database with a lower number than the file has lost acknowledged commits.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import zlib
from pathlib import Path

from fc7.errors import DataLoss, Fc7Error, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import is_out_of_files, sync_folder

_FILE = "acknowledged"
_MAGIC = b"fc7n"

_log = logging.getLogger(__name__)


class CommitCounter:
    """The number of commits in a database, and the number acknowledged in the file beside it. For one thread at a time.

    Parameters
    ----------
    database
        File of the database.
    counted
        Number of commits in it.

    Raises
    ------
    DataLoss
        The database has lost acknowledged commits.
    Unavailable
        The file cannot be read now.
    """

    def __init__(self, database: Path, counted: int) -> None:
        self._path, self._name = database.with_name(_FILE), database.parent.name
        self._acknowledged = self._read()
        if counted < self._acknowledged:
            n_lost = self._acknowledged - counted
            raise DataLoss(
                f"{n_lost} acknowledged commit{' is' if n_lost == 1 else 's are'} lost: {database.name} and its "
                f"write-ahead log end at commit {counted} of {self._acknowledged}. To continue with what is left, stop "
                f"the server and delete {self._name}/{_FILE}",
                name=self._name,
                reason=Reason.COLLECTION_DAMAGED,
            )

    def acknowledge(self, connection: sqlite3.Connection) -> None:
        """Write the number of the last commit to the file, on disk when this returns.

        Raises
        ------
        ResourceExhausted
            The disk is full.
        Unavailable
            The file cannot be written.
        """
        number = read_commits(connection)
        if number <= self._acknowledged:
            return
        try:
            exists = self._acknowledged > 0 and self._path.exists()
            with open(self._path, "r+b" if exists else "wb", buffering=0) as file:
                file.write(_record(number))
                getattr(os, "fdatasync", os.fsync)(file.fileno())  # macOS and Windows have no fdatasync
            if not exists:
                sync_folder(self._path.parent)
        except OSError as error:
            raise self._error(error) from error
        self._acknowledged = number

    def _error(self, error: OSError) -> Fc7Error:
        """Return what to tell a caller whose commit is on disk, while the file beside it is not."""
        file = f"{self._name}/{_FILE}"
        stored = "What this call wrote is stored but not acknowledged"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # the next acknowledgement covers this commit too
            return ResourceExhausted(
                f"{file} cannot be written, because the disk is full. {stored}. Free some space, then repeat the call",
                name=self._name,
                reason=Reason.DISK_FULL,
            )
        if is_out_of_files(error):
            return Unavailable(
                f"{file} cannot be opened ({error.strerror}). {stored}; repeat the call",
                name=self._name,
                reason=Reason.TOO_MANY_FILES,
            )
        return Unavailable(
            f"{file} cannot be written ({error}). What this call wrote may be stored or not. Check the disk, restart "
            "the server, then repeat the call",
            name=self._name,
            reason=Reason.DISK_FAILED,
        )

    def _read(self) -> int:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise Unavailable(f"{self._name}/{_FILE} cannot be read now: {error}", name=self._name) from error
        number = int.from_bytes(data[4:12], "big")
        if data == _record(number):
            return number
        _log.warning("%s/%s is damaged, so fc7 cannot tell whether commits are lost", self._name, _FILE)
        return 0


def read_commits(connection: sqlite3.Connection) -> int:
    """Return the number of commits in a database."""
    return int(connection.execute("SELECT coalesce(max(CAST(number AS INTEGER)), 0) FROM commits").fetchone()[0])


def count_commit(connection: sqlite3.Connection) -> int:
    """Count the open transaction as a commit; return its number."""
    number = read_commits(connection) + 1
    if not connection.execute("UPDATE commits SET number = ?", (number,)).rowcount:
        connection.execute("INSERT INTO commits VALUES (?)", (number,))
    return number


def _record(number: int) -> bytes:
    """Return 16 bytes."""
    head = _MAGIC + number.to_bytes(8, "big")
    return head + zlib.crc32(head).to_bytes(4, "big")
