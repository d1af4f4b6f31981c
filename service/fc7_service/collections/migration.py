"""Turns a store of format 1, as releases up to 0.2 wrote it, into one of format 2.

The new database grows beside the old one and takes its name in one step. A process that is killed before this step
leaves the old one as it was. The old one stays as a copy until a search has read all vectors of the new one.

Format 1 has one checksum for metadata and vector, counts commits in ``sqlite_sequence``, and covers the whole schema
by the checksum of the definition. A row whose checksum did not hold there gets checksums that never hold.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

from fc7.errors import Reason, ResourceExhausted
from fc7_service.bundle.disk import sync_folder
from fc7_service.collections.commit_counter import CommitCounter
from fc7_service.collections.database import (
    PAGE_BYTES,
    configure_writer,
    connect,
    open_for_inspection,
    read_format,
    translate_errors,
)
from fc7_service.collections.rows import metadata_checksum, vector_checksum
from fc7_service.collections.schema import FILE, Definition, last_rid, read_definition, write_tables

COPY = "collection.format-1.db"
_UNFINISHED = "collection.db.new"
_WHOLE_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
_COMMITS = "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'commits'"
_ROWS = "SELECT rid, place, id, content, payload, crc, vector FROM items LEFT JOIN vectors USING (rid) ORDER BY rid"
_NEVER = -1  # no CRC-32 is negative


def migrate(folder: Path) -> None:
    """Bring the store in ``folder`` to format 2, on disk when this returns, unless it is there already.

    Raises
    ------
    DataLoss
        It is damaged, so that it was left as it is.
    ResourceExhausted
        The disk has no room for both.
    Unavailable
        It cannot be read or written now.
    """
    path, name = folder / FILE, folder.name
    if read_format(path) != 1:
        return
    unfinished = folder / _UNFINISHED
    unfinished.unlink(missing_ok=True)
    try:
        with translate_errors(name):
            with contextlib.closing(open_for_inspection(path)) as old:
                definition = read_definition(old, name, _WHOLE_SCHEMA)
                commits = old.execute(_COMMITS).fetchone()[0]
                CommitCounter(path, commits)
            _fold_log_in(path)
            with contextlib.closing(connect(path, "rw")) as old, contextlib.closing(connect(unfinished, "rwc")) as new:
                new.execute(f"PRAGMA page_size={PAGE_BYTES}")
                new.execute("PRAGMA synchronous=OFF")  # until it has its name, nobody misses it
                write_tables(new, definition)
                _copy_rows(old, new, definition.dim)
                new.execute("UPDATE commits SET number = ?", (commits,))
                new.execute("PRAGMA journal_mode=WAL")
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        _keep_copy(path, folder / COPY)
        os.replace(unfinished, path)
        sync_folder(folder)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def read_older(folder: Path) -> tuple[Definition, int] | None:
    """Return the definition and the number of rows of a store of format 1, as it is; None if it is of another format.

    Raises
    ------
    DataLoss
        It is damaged, or has lost acknowledged commits.
    Unavailable
        It cannot be read now.
    """
    path, name = folder / FILE, folder.name
    if read_format(path) != 1:
        return None
    with translate_errors(name), contextlib.closing(open_for_inspection(path)) as old:
        definition = read_definition(old, name, _WHOLE_SCHEMA)
        CommitCounter(path, old.execute(_COMMITS).fetchone()[0])  # are all there that were acknowledged?
        return definition, old.execute("SELECT count(*) FROM items").fetchone()[0]


def remove_copy(folder: Path) -> None:
    """Remove the copy that a migration kept, if there is one."""
    (folder / COPY).unlink(missing_ok=True)


def _fold_log_in(path: Path) -> None:
    """Bring the write-ahead log into the database, which is then one file."""
    with contextlib.closing(connect(path, "rw")) as writer:
        configure_writer(writer, path)
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise ResourceExhausted(
            f"Collection {path.parent.name!r} is of format 1, and the disk has no room to convert it. Free "
            f"{path.stat().st_size >> 20} MiB, then repeat the call",
            name=path.parent.name,
            reason=Reason.DISK_FULL,
        )


def _copy_rows(old: sqlite3.Connection, new: sqlite3.Connection, dim: int) -> None:
    new.execute("BEGIN")
    for rid, place, id_bytes, content, payload, crc, blob in old.execute(_ROWS):
        is_intact = _is_intact(dim, place, id_bytes, content, payload, crc, blob)
        checksum = metadata_checksum(rid, place, id_bytes, content, payload) if is_intact else _NEVER
        row = (rid, place, id_bytes, content, payload, checksum)
        new.execute("INSERT INTO items VALUES (?, ?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?)", row)
        if isinstance(blob, bytes):
            checksum = vector_checksum(rid, blob) if is_intact else _NEVER
            new.execute("INSERT INTO vectors VALUES (?, ?, ?)", (rid, blob, checksum))
    rid = last_rid(old)
    if not new.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'items'", (rid,)).rowcount:
        new.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", (rid,))
    new.execute("COMMIT")


def _is_intact(dim: int, place: Any, id_bytes: Any, content: Any, payload: Any, crc: Any, blob: Any) -> bool:
    """Return whether the checksum of a row of format 1 holds."""
    if not (isinstance(place, int) and all(isinstance(one, bytes) for one in (id_bytes, content, payload, blob))):
        return False
    metadata = b"\0".join((str(place).encode(), id_bytes, content, payload))
    return len(blob) in (2 * dim, 4 * dim) and bool(crc == zlib.crc32(blob, zlib.crc32(metadata)))


def _keep_copy(path: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)  # of an attempt that was killed
    try:
        os.link(path, copy)
    except OSError:  # a file system without links
        shutil.copyfile(path, copy)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
