"""The SQLite file of a store: how it is opened, what its header must say, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fc7.errors import DataLoss, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import can_open_files

FORMAT = 2  # user_version: raise it with every change that an older fc7 cannot read
APPLICATION = 0x66633763  # "fc7c"
_MAGIC = b"SQLite format 3\0"
_WAL_BYTES = 64 * 2**20  # a write-ahead log that grew larger is cut to this
PAGE_BYTES = 8192  # never more than 1.36 times the raw vectors (4096: up to 2.01 times)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file; ``mode`` is "ro", "rw", or "rwc", which creates it."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # damaged text then fails its checksum, and not the whole statement
    return connection


def open_for_inspection(path: Path) -> sqlite3.Connection:
    """Open the file to look at it. A write-ahead log is not checkpointed, so that it stays as evidence."""
    read_format(path)
    log = path.with_name(path.name + "-wal")
    return connect(path, "ro" if log.exists() and log.stat().st_size else "rw")  # "rw" tidies up when it is closed


def configure_writer(writer: sqlite3.Connection, path: Path) -> None:
    """Make this the connection that writes, and checkpoint the write-ahead log if the disk has room for it."""
    run, name = writer.execute, path.parent.name
    run("PRAGMA synchronous=FULL")
    run("PRAGMA fullfsync=1")  # macOS: through the drive's cache
    run(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    mode, level = run("PRAGMA journal_mode=WAL").fetchone()[0], run("PRAGMA synchronous").fetchone()[0]
    if (mode, level) != (b"wal", 2):
        raise Unavailable(
            f"{path} cannot be written safely (journal {mode!r}, synchronous {level}). Keep the data folder on a "
            "local disk",
            name=name,
        )
    try:
        run("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            return  # the log stays, and reads use it; only writes need space
        raise
    needed = run("PRAGMA page_count").fetchone()[0] * run("PRAGMA page_size").fetchone()[0]
    size = path.stat().st_size
    if size < needed:
        raise DataLoss(
            f"{path.name} is cut short: it has {size} of {needed} bytes", name=name, reason=Reason.COLLECTION_DAMAGED
        )


def read_format(path: Path) -> int:
    """Return the format of a file, before SQLite touches it; refuse one that fc7 did not write, or a newer one."""
    name = path.parent.name
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        raise DataLoss(f"{path.name} is missing", name=name, reason=Reason.COLLECTION_DAMAGED) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read now: {error}", name=name) from error
    if len(header) < 100 or size < PAGE_BYTES:
        raise DataLoss(f"{path.name} is cut short: it has {size} bytes", name=name, reason=Reason.COLLECTION_DAMAGED)
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION:
        raise DataLoss(
            f"{path.name} is damaged, or not a collection of fc7", name=name, reason=Reason.COLLECTION_DAMAGED
        )
    version = int.from_bytes(header[60:64], "big")
    if not 1 <= version <= FORMAT:
        raise DataLoss(
            f"{path.name} has format {version}, but this fc7 reads only up to {FORMAT}. Upgrade fc7",
            name=name,
            reason=Reason.COLLECTION_DAMAGED,
        )
    return version


@contextlib.contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn errors of SQLite into errors of fc7 about the collection ``name``."""
    try:
        yield
    except UnicodeDecodeError as error:  # in the text of an error about a damaged schema
        raise DataLoss(
            f"Collection {name!r} is damaged: its schema cannot be read", name=name, reason=Reason.COLLECTION_DAMAGED
        ) from error
    except sqlite3.Error as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_FULL:
            raise ResourceExhausted(
                f"Collection {name!r}: the disk is full, and nothing of this call was stored. Free some space, then "
                "repeat it",
                name=name,
                reason=Reason.DISK_FULL,
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
            raise DataLoss(
                f"Collection {name!r} is damaged: {error}", name=name, reason=Reason.COLLECTION_DAMAGED
            ) from error
        if code in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_PERM,
        ):
            text = f"Collection {name!r} cannot be used now: {error}"
            if can_open_files():
                raise Unavailable(text, name=name, reason=Reason.UNAVAILABLE) from error
            raise Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES) from error
        raise


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary code of an error, without its extension."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
