"""One collection on disk: a SQLite database whose every row carries a checksum.

SQLite (WAL, ``synchronous=FULL``) is the only truth; indexes are derived from it. One connection
writes and checkpoints (SQLite before 3.51.3 can corrupt a WAL that two connections reset at once);
readers have read-only connections of their own and never wait for the writer.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, Fc7Error, NotFound, Reason, Unavailable
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.commit_counter import CommitCounter
from fc7_service.collections.database import APPLICATION, FORMAT, PAGE_BYTES, connect, examine, faults, prepare, primary

Metric = Literal["cosine", "l2", "dot"]

FILE = "collection.db"
_HALF_ERROR = 1e-3  # relative; rounding to fp16 stays below, overflow and underflow do not
_SCHEMA = """
CREATE TABLE facts (text TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE items (rid INTEGER PRIMARY KEY AUTOINCREMENT, place INTEGER NOT NULL UNIQUE, id TEXT NOT NULL UNIQUE,
                    content TEXT NOT NULL, payload TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE vectors (rid INTEGER PRIMARY KEY, vector BLOB NOT NULL);
"""
_LAST_RID = "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'items'"
_ROWS = "SELECT rid, place, id, content, payload, crc, vector FROM items LEFT JOIN vectors USING (rid) "


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be stored."""

    id: str
    content_sha256: str  # hex, of the image's or the vector's bytes
    payload: dict[str, Any]
    vector: NDArray[np.float32]  # (D,)


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What is stored."""

    id: str
    content_sha256: str
    payload: dict[str, Any]
    vector: NDArray[np.float32] | None  # (D,), raw; None where it was not asked for


@dataclass(frozen=True, slots=True)
class Row:
    """One row whose checksum holds.

    A replaced item gets a new ``rid`` and keeps its ``place``: a rid names one version for ever.
    """

    rid: int
    place: int
    id: str
    content: str
    payload: str  # JSON, ASCII
    vector: NDArray[Any]  # (D,) float16 or float32, raw

    def item(self, *, with_vector: bool) -> StoredItem:
        """Return what the caller stored."""
        vector = self.vector.astype(np.float32) if with_vector else None
        return StoredItem(self.id, self.content, json.loads(self.payload), vector)


@dataclass(frozen=True, slots=True)
class Broken:
    """One row whose checksum does not hold."""

    rid: int
    id: str  # as far as it can be read


@dataclass(frozen=True, slots=True)
class Facts:
    """What a collection is bound to when it is made."""

    provenance: Provenance
    dim: int
    metric: Metric


def make_store(folder: Path, facts: Facts, name: str) -> None:
    """Write an empty store into an empty folder, synced; ``name`` is for errors."""
    text = json.dumps({**asdict(facts), "provenance": facts.provenance.to_dict()})
    with faults(name), contextlib.closing(connect(folder / FILE, "rwc")) as connection:
        for pragma in (f"page_size={PAGE_BYTES}", "journal_mode=WAL", f"application_id={APPLICATION}"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={FORMAT};COMMIT;")
        connection.execute("INSERT INTO facts VALUES (?, ?)", (text, _facts_checksum(connection, text.encode())))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header must be readable without SQLite


class Store:
    """The rows of one collection.

    Parameters
    ----------
    folder
        Holds the database; its name is the collection's.

    Raises
    ------
    DataLoss
        Not ours or of a newer format (it is not touched), damaged, cut short, or short of acknowledged commits.
    Unavailable
        It cannot be opened now.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self._path = folder.name, folder / FILE
        self._fault = ""  # of the disk, while writing: what it says afterwards cannot be trusted
        self._is_closed = False
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        with faults(self.name):
            with contextlib.closing(examine(self._path)) as connection:
                self.facts = self._read_facts(connection)
                self._commits = CommitCounter(self._path, connection)
                (self._last_rid,) = connection.execute(_LAST_RID).fetchone()
            self._writer = connect(self._path, "rw")
            try:
                prepare(self._writer, self._path)
            except BaseException:
                self._writer.close()
                raise

    def check(self) -> None:
        """Check the structure of items and their indexes; vectors have their checksums.

        Raises
        ------
        DataLoss
            An item could be missed by its id.
        """
        with self._reading() as connection:
            found = connection.execute("PRAGMA integrity_check('items')").fetchone()[0]
        if found != b"ok":
            raise DataLoss(
                f"{self._path.name} is damaged: {found.decode(errors='replace')}",
                name=self.name,
                reason=Reason.COLLECTION_DAMAGED,
            )

    def count(self) -> int:
        """Return the number of rows."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM items").fetchone()[0])

    def by_id(self, ids: Sequence[str]) -> dict[str, Row | Broken]:
        """Return the rows of those ``ids`` that are there."""
        found: dict[str, Row | Broken] = {}
        with self._reading() as connection:
            for wanted in ids:
                row = connection.execute(_ROWS + "WHERE id = ?", (wanted,)).fetchone()
                if row is not None:
                    found[wanted] = self._read(row)
        return found

    def by_rid(self, rids: Sequence[int]) -> dict[int, Row]:
        """Return the intact rows among ``rids``."""
        with self._reading() as connection:
            found = (connection.execute(_ROWS + "WHERE rid = ?", (rid,)).fetchone() for rid in rids)
            rows = [self._read(row) for row in found if row is not None]
        return {row.rid: row for row in rows if isinstance(row, Row)}

    def page(self, after: int, size: int) -> tuple[list[Row | Broken], int | None]:
        """Return at most ``size`` rows behind place ``after``, in order, and behind which place the rest are."""
        places = "SELECT place, rid FROM items WHERE place > ? ORDER BY place LIMIT ?"  # answered by an index alone
        with self._pinned() as connection:
            found = connection.execute(places, (min(after, 2**63 - 1), size + 1)).fetchall()
            raw = [connection.execute(_ROWS + "WHERE rid = ?", (rid,)).fetchone() for _, rid in found[:size]]
            rows = [self._read(row) for row in raw]
        return rows, found[size - 1][0] if len(found) > size else None

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[tuple[int, Iterator[Row | Broken]]]:
        """Pin what is committed now; yield its count and its rows by rid."""
        with self._pinned() as connection:
            (count,) = connection.execute("SELECT count(*) FROM items").fetchone()  # the first read pins
            yield count, (self._read(row) for row in connection.execute(_ROWS + "ORDER BY rid"))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written inside, synced, or nothing of it. One thread at a time."""
        if self._is_closed:
            raise _closed(self.name)
        if self._fault:
            raise Unavailable(
                f"collection {self.name!r} takes no writes since the disk failed ({self._fault}): "
                "check the disk, then restart the server",
                name=self.name,
                reason=Reason.DISK_FAILED,
            )
        try:
            with faults(self.name):
                self._writer.execute("BEGIN IMMEDIATE")
                before = self._writer.total_changes
                try:
                    yield
                    if self._writer.total_changes != before:
                        self._commits.count(self._writer)
                    self._writer.execute("COMMIT")
                finally:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
        except Fc7Error as error:
            cause = error.__cause__
            if isinstance(cause, sqlite3.Error) and primary(cause) == sqlite3.SQLITE_IOERR:
                self._fault = str(cause)
            raise

    def acknowledge(self) -> None:
        """Note the last commit, so that its loss is noticed.

        Raises
        ------
        Unavailable
            It cannot be noted; no more writes are taken, unless files had run out, which passes.
        """
        try:
            with faults(self.name):
                self._commits.note(self._writer)
        except Fc7Error as error:
            if error.reason != Reason.TOO_MANY_FILES.name:
                self._fault = str(error.__cause__)
            raise

    def find(self, id: str) -> Row | Broken | None:
        """Return the row of ``id`` as the transaction sees it."""
        row = self._writer.execute(_ROWS + "WHERE id = ?", (id,)).fetchone()
        return None if row is None else self._read(row)

    def put(self, item: Item, place: int | None) -> Row:
        """Write a row in the transaction, at the place of the row it replaces or at the end."""
        self._last_rid += 1
        rid = self._last_rid
        place = rid if place is None else place
        payload = json.dumps(item.payload, allow_nan=False, separators=(",", ":"))
        vector = _compact(item.vector)
        blob = vector.tobytes()
        crc = _checksum(place, item.id.encode(), item.content_sha256.encode(), payload.encode(), blob)
        row = (rid, place, item.id, item.content_sha256, payload, crc)
        self._writer.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", row)
        self._writer.execute("INSERT INTO vectors VALUES (?, ?)", (rid, blob))
        return Row(rid, place, item.id, item.content_sha256, payload, vector)

    def drop(self, rid: int) -> None:
        """Delete a row in the transaction."""
        self._writer.execute("DELETE FROM items WHERE rid = ?", (rid,))
        self._writer.execute("DELETE FROM vectors WHERE rid = ?", (rid,))

    def close(self) -> None:
        """Close; no write may be under way. Reads under way go on, and their connections close after them.

        The write-ahead log is folded in unless a read still needs it; then it stays, and the next open reads it.
        """
        with self._lock:
            self._is_closed = True
            idle, self._readers = self._readers, []
        for connection in idle:
            connection.close()
        with contextlib.suppress(sqlite3.Error):  # a full disk: the log stays and is read at the next open
            self._writer.execute("PRAGMA busy_timeout=0")  # else it waits 5 s for a reader
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()

    def _read_facts(self, connection: sqlite3.Connection) -> Facts:
        try:
            ((text, crc),) = connection.execute("SELECT text, crc FROM facts").fetchall()
            is_intact = _facts_checksum(connection, text) == crc
        except (sqlite3.OperationalError, TypeError, ValueError) as error:  # no such column, no text, not one row
            if isinstance(error, sqlite3.Error) and primary(error) != sqlite3.SQLITE_ERROR:
                raise  # it cannot be opened or read now
            is_intact = False
        if not is_intact:
            raise DataLoss(
                f"{self._path.name} is damaged: its facts do not match their checksum",
                name=self.name,
                reason=Reason.COLLECTION_DAMAGED,
            )
        facts = json.loads(text)
        if facts["metric"] not in get_args(Metric):
            raise DataLoss(
                f"{self._path.name} has the unknown metric {facts['metric']!r}",
                name=self.name,
                reason=Reason.COLLECTION_DAMAGED,
            )
        return Facts(Provenance.from_dict(facts["provenance"]), facts["dim"], facts["metric"])

    def _read(self, row: tuple[Any, ...]) -> Row | Broken:
        rid, place, name, content, payload, crc, blob = row
        dtypes = {self.facts.dim * 2: "<f2", self.facts.dim * 4: "<f4"}
        is_typed = isinstance(place, int) and all(isinstance(part, bytes) for part in (name, content, payload, blob))
        if is_typed and len(blob) in dtypes and _checksum(place, name, content, payload, blob) == crc:
            vector = np.frombuffer(blob, dtypes[len(blob)])
            return Row(rid, place, name.decode(), content.decode(), payload.decode(), vector)
        return Broken(rid, name.decode(errors="replace") if isinstance(name, bytes) else repr(name))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection that no other thread has."""
        with self._lock:
            if self._is_closed:
                raise _closed(self.name)
            connection = self._readers.pop() if self._readers else None
        try:
            with faults(self.name):
                connection = connection or connect(self._path, "ro")
                try:
                    yield connection
                finally:
                    with self._lock:
                        is_kept = not self._is_closed
                        if is_kept:
                            self._readers.append(connection)
                    if not is_kept:
                        connection.close()
        except Unavailable as error:
            if self._is_closed:  # its folder went while this read had not yet opened all files
                raise _closed(self.name) from error
            raise

    @contextlib.contextmanager
    def _pinned(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees one commit throughout."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")


def _compact(vector: NDArray[np.float32]) -> NDArray[Any]:
    """Return the vector as fp16, or as fp32 where fp16 cannot hold it."""
    with np.errstate(over="ignore", under="ignore"):
        half = vector.astype("<f2")
    wide = vector.astype(np.float64)
    if np.isfinite(half).all() and np.linalg.norm(half - wide) <= _HALF_ERROR * np.linalg.norm(wide):
        return half
    return vector.astype("<f4")


def _facts_checksum(connection: sqlite3.Connection, text: bytes) -> int:
    """Return the checksum over the facts and the schema, without which no row can be found."""
    schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
    return zlib.crc32(text, zlib.crc32(repr(schema).encode()))


def _checksum(place: int, id: bytes, content: bytes, payload: bytes, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(b"\0".join((str(place).encode(), id, content, payload))))


def _closed(name: str) -> NotFound:
    return NotFound(
        f"collection {name!r} is closed: it was deleted or set aside, or the server is stopping",
        name=name,
        reason=Reason.COLLECTION_NOT_FOUND,
    )
