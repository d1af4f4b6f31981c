"""The SQLite file below a store: opening it, its header, its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fc7.errors import DataLoss, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import can_open_files

FORMAT = 1  # user_version: raise it with every change that an older fc7 cannot read
APPLICATION = 0x66633763  # "fc7c"
_MAGIC = b"SQLite format 3\0"
_WAL_BYTES = 64 * 2**20  # what is kept of a write-ahead log that once grew
PAGE_BYTES = 8192  # never more than 1.36 times the raw vectors (4096: up to 2.01 times)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file; ``mode`` is "rwc", "rw" or "ro"."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # damaged text must fail its checksum, not the whole statement
    return connection


def examine(path: Path) -> sqlite3.Connection:
    """Open what is ours to look at it: a log that is there is not folded in, so that it stays as evidence."""
    _check_header(path)
    log = path.with_name(path.name + "-wal")
    return connect(path, "ro" if log.exists() and log.stat().st_size else "rw")  # "rw" tidies up when it is closed


def prepare(writer: sqlite3.Connection, path: Path) -> None:
    """Make a connection the one that writes, and fold the log in where the disk has room for that."""
    run, name = writer.execute, path.parent.name
    run("PRAGMA synchronous=FULL")
    run("PRAGMA fullfsync=1")  # macOS: through the drive's cache
    run(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    mode, level = run("PRAGMA journal_mode=WAL").fetchone()[0], run("PRAGMA synchronous").fetchone()[0]
    if (mode, level) != (b"wal", 2):
        raise Unavailable(
            f"{path} cannot be written safely (journal {mode!r}, synchronous {level}): "
            "keep the data folder on a local disk",
            name=name,
        )
    try:
        run("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        if primary(error) == sqlite3.SQLITE_FULL:
            return  # the log stays as it is and is read with the file: only writes need space
        raise
    needed = run("PRAGMA page_count").fetchone()[0] * run("PRAGMA page_size").fetchone()[0]
    size = path.stat().st_size
    if size < needed:
        raise DataLoss(
            f"{path.name} is cut short: {size} of {needed} bytes", name=name, reason=Reason.COLLECTION_DAMAGED
        )


def _check_header(path: Path) -> None:
    """Refuse what is not ours before SQLite touches it."""
    name = path.parent.name
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        raise DataLoss(f"{path.name} is missing", name=name, reason=Reason.COLLECTION_DAMAGED) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error}", name=name) from error
    if len(header) < 100 or size < PAGE_BYTES:
        raise DataLoss(f"{path.name} is cut short: {size} bytes", name=name, reason=Reason.COLLECTION_DAMAGED)
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION:
        raise DataLoss(
            f"{path.name} is damaged or not a collection of fc7", name=name, reason=Reason.COLLECTION_DAMAGED
        )
    version = int.from_bytes(header[60:64], "big")
    if not 1 <= version <= FORMAT:
        raise DataLoss(
            f"{path.name} has format {version}, this fc7 reads up to {FORMAT}: upgrade fc7",
            name=name,
            reason=Reason.COLLECTION_DAMAGED,
        )


@contextlib.contextmanager
def faults(name: str) -> Iterator[None]:
    """Turn what SQLite reports into the family."""
    try:
        yield
    except UnicodeDecodeError as error:  # of the text of an error about a damaged schema
        raise DataLoss(
            f"collection {name!r} is damaged: its schema cannot be read", name=name, reason=Reason.COLLECTION_DAMAGED
        ) from error
    except sqlite3.Error as error:
        code = primary(error)
        if code == sqlite3.SQLITE_FULL:
            raise ResourceExhausted(
                f"collection {name!r}: the disk is full, nothing of this call was written; free space, then repeat it",
                name=name,
                reason=Reason.DISK_FULL,
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
            raise DataLoss(
                f"collection {name!r} is damaged: {error}", name=name, reason=Reason.COLLECTION_DAMAGED
            ) from error
        if code in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_PERM,
        ):
            text = f"collection {name!r} cannot be used now: {error}"
            if can_open_files():
                raise Unavailable(text, name=name, reason=Reason.UNAVAILABLE) from error
            raise Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES) from error
        raise


def primary(error: sqlite3.Error) -> int:
    """Return the error's primary code, which says enough for us."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
