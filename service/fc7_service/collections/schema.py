"""The tables of a store, format 2, and the definition of a collection that they keep.

Metadata and vectors have checksums of their own, so that one is read and trusted without the other. The checksum of the
definition covers these tables and not their indexes, so that an index may be added without a new format.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from fc7.errors import DataLoss, Reason
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.database import APPLICATION, FORMAT, PAGE_BYTES, connect, primary_code, translate_errors
from fc7_service.collections.rows import Metric

FILE = "collection.db"
_TABLES = """
CREATE TABLE facts (text TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE versions (since_commit INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE items (rid INTEGER PRIMARY KEY AUTOINCREMENT, place INTEGER NOT NULL UNIQUE, id TEXT NOT NULL UNIQUE,
                    content TEXT NOT NULL, payload TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE vectors (rid INTEGER PRIMARY KEY, vector BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE commits (number INTEGER NOT NULL);
"""
_COVERED = (  # an index that SQLite makes for UNIQUE has no text
    "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE (type != 'index' OR sql IS NULL) "
    "AND tbl_name IN ('facts', 'items', 'vectors', 'commits', 'versions', 'sqlite_sequence') ORDER BY name"
)
_LAST_RID = "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'items'"


@dataclass(frozen=True, slots=True)
class Definition:
    """What is fixed when a collection is created."""

    provenance: Provenance
    dim: int
    metric: Metric


def make_store(folder: Path, definition: Definition, name: str) -> None:
    """Write an empty store into an empty folder, on disk when this returns; errors call it ``name``."""
    with translate_errors(name), contextlib.closing(connect(folder / FILE, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        write_tables(connection, definition)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header must be readable without SQLite


def write_tables(connection: sqlite3.Connection, definition: Definition) -> None:
    """Make an empty database a store without rows and commits."""
    text = json.dumps({**asdict(definition), "provenance": definition.provenance.to_dict()})
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={FORMAT};COMMIT;")
    connection.execute("INSERT INTO facts VALUES (?, ?)", (text, _checksum(connection, text.encode(), _COVERED)))
    connection.execute("INSERT INTO commits VALUES (0)")


def read_definition(connection: sqlite3.Connection, name: str, covered: str = _COVERED) -> Definition:
    """Return the definition of the collection ``name``, whose checksum covers the ``covered`` part of the schema.

    Raises
    ------
    DataLoss
        It is damaged.
    """
    try:
        ((text, crc),) = connection.execute("SELECT text, crc FROM facts").fetchall()
        is_intact = _checksum(connection, text, covered) == crc
    except (sqlite3.OperationalError, TypeError, ValueError) as error:  # not one row of text and number
        if isinstance(error, sqlite3.Error) and primary_code(error) != sqlite3.SQLITE_ERROR:
            raise  # the file cannot be opened or read now
        is_intact = False
    if not is_intact:
        raise DataLoss(
            f"{FILE} is damaged: its definition does not match the checksum",
            name=name,
            reason=Reason.COLLECTION_DAMAGED,
        )
    values = json.loads(text)
    if values["metric"] not in get_args(Metric):
        raise DataLoss(
            f"{FILE} has the unknown metric {values['metric']!r}", name=name, reason=Reason.COLLECTION_DAMAGED
        )
    return Definition(Provenance.from_dict(values["provenance"]), values["dim"], values["metric"])


def last_rid(connection: sqlite3.Connection) -> int:
    """Return the largest rid that was ever given to a row."""
    return int(connection.execute(_LAST_RID).fetchone()[0])


def read_versions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the versions of the libraries behind the newest commit; none if it is not known."""
    found = connection.execute("SELECT text FROM versions ORDER BY rowid DESC LIMIT 1").fetchone()
    try:
        versions = {} if found is None else json.loads(found[0])
    except ValueError:  # damaged: nothing depends on it
        return {}
    return {str(name): str(version) for name, version in versions.items()} if isinstance(versions, dict) else {}


def write_versions(connection: sqlite3.Connection, commit: int, versions: dict[str, str]) -> None:
    """Record the libraries behind the commits from ``commit`` on, if they differ from those recorded."""
    if versions != read_versions(connection):
        connection.execute("INSERT INTO versions VALUES (?, ?)", (commit, json.dumps(versions)))


def _checksum(connection: sqlite3.Connection, text: bytes, covered: str) -> int:
    """Return the CRC-32 over the definition and the tables, without which no row can be found."""
    schema = connection.execute(covered).fetchall()
    return zlib.crc32(text, zlib.crc32(repr(schema).encode()))
