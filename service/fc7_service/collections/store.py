"""One collection on disk: a SQLite database in which every row has checksums.

The database (WAL, ``synchronous=FULL``) is the only truth; indexes are derived from it. A single connection writes and
checkpoints, because SQLite before 3.51.3 can corrupt a write-ahead log that two connections reset at once. Readers
have read-only connections of their own and never wait for the writer.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter, matches
from fc7.errors import DataLoss, Reason
from fc7_service.collections.commit_counter import CommitCounter, read_commits
from fc7_service.collections.database import open_for_inspection, translate_errors
from fc7_service.collections.migration import migrate, remove_copy
from fc7_service.collections.readers import Readers
from fc7_service.collections.rows import DamagedRow, Item, StoredRow, parse_payload, read_row, read_vector
from fc7_service.collections.schema import FILE, last_rid, read_definition, read_versions
from fc7_service.collections.store_writer import StoreWriter

_PAYLOADS_AT_ONCE = 10_000  # rows; a reader that stays open would keep the write-ahead log from being reset
_VECTORS_AT_ONCE = 2000  # rows
_IDS_AT_ONCE = 500  # in one statement; SQLite takes 32,766 values, and older ones 999
_METADATA = "SELECT rid, place, id, content, payload, items.crc FROM items "
_ROWS = (
    "SELECT rid, place, id, content, payload, items.crc, vector, vectors.crc FROM items LEFT JOIN vectors USING (rid) "
)


class RowWatcher(Protocol):
    """Something that follows the rows of a store."""

    def note(self, rid: int, dropped: NDArray[Any] | None = None) -> None:
        """Take note of a row that the open transaction touched, with its vector if it was deleted."""

    def wait(self) -> None:
        """Wait for what runs in the background."""


class Store:
    """The rows of one collection.

    Parameters
    ----------
    folder
        Holds the database; it has the name of the collection. A database of format 1 is brought to format 2.
    versions
        Of the libraries behind what is written from now on.

    Attributes
    ----------
    damaged
        The id, as far as it can be read, of each rid that was found damaged since the store was opened.
    pinned
        See `Readers`.
    transaction, acknowledge
        See `StoreWriter`.
    watchers
        Learn of every row that a transaction touches, also of one that is then rolled back.

    Raises
    ------
    DataLoss
        The file is damaged, has lost acknowledged commits, or is not one of ours or newer; it is not touched.
    ResourceExhausted
        It is of format 1, and the disk has no room to convert it.
    Unavailable
        It cannot be opened now.
    """

    def __init__(self, folder: Path, versions: dict[str, str] | None = None) -> None:
        self.name, self._path = folder.name, folder / FILE
        self.damaged: dict[int, str] = {}
        self.watchers: list[RowWatcher] = []
        migrate(folder)
        with translate_errors(self.name):
            with contextlib.closing(open_for_inspection(self._path)) as connection:
                self.definition = read_definition(connection, self.name)
                commits = CommitCounter(self._path, read_commits(connection))
                newest = last_rid(connection)
            self._writer = StoreWriter(self._path, commits, newest, versions)
        self._readers = Readers(self._path)
        self.pinned = self._readers.pinned
        self.transaction, self.acknowledge = self._writer.transaction, self._writer.acknowledge

    def check(self) -> None:
        """Check the structure of the table of items and its indexes.

        Raises
        ------
        DataLoss
            It is damaged, so that an item might not be found by its id.
        """
        with self._readers.reading() as connection:
            found = connection.execute("PRAGMA integrity_check('items')").fetchone()[0]
        if found != b"ok":
            raise DataLoss(
                f"{self._path.name} is damaged: {found.decode(errors='replace')}",
                name=self.name,
                reason=Reason.COLLECTION_DAMAGED,
            )

    @property
    def folder(self) -> Path:
        """The folder with the database."""
        return self._path.parent

    @property
    def last_place(self) -> int:
        """A place that no row is behind. The rows of later transactions are."""
        return self._writer.last_rid

    def count(self) -> int:
        """Return the number of rows."""
        with self._readers.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM items").fetchone()[0])

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries behind the newest commit."""
        with self._readers.reading() as connection:
            return read_versions(connection)

    def by_id(self, ids: Sequence[str]) -> dict[str, StoredRow | DamagedRow]:
        """Return the rows of those ``ids`` that are stored, with their vectors."""
        found: dict[str, StoredRow | DamagedRow] = {}
        with self._readers.reading() as connection:
            for wanted in ids:
                row = connection.execute(_ROWS + "WHERE id = ?", (wanted,)).fetchone()
                if row is not None:
                    found[wanted] = self._row(row)
        return found

    def commit(self) -> int:
        """Return the number of commits so far."""
        with self._readers.reading() as connection:
            return read_commits(connection)

    def rids(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the rid of each of those ``ids`` that are stored."""
        with self._readers.reading() as connection:
            found = ((one, connection.execute("SELECT rid FROM items WHERE id = ?", (one,)).fetchone()) for one in ids)
            return {one: int(row[0]) for one, row in found if row is not None}

    def by_rid(self, rids: Sequence[int], *, with_vectors: bool = False) -> dict[int, StoredRow]:
        """Return those of the rows ``rids`` that are intact as far as they are read."""
        query = _ROWS if with_vectors else _METADATA
        rows: list[StoredRow | DamagedRow] = []
        with self._readers.reading() as connection:
            for start in range(0, len(rids), _IDS_AT_ONCE):
                part = rids[start : start + _IDS_AT_ONCE]
                where = f"WHERE rid IN ({','.join('?' * len(part))})"
                rows += [self._row(row) for row in connection.execute(query + where, part)]
        return {row.rid: row for row in rows if isinstance(row, StoredRow)}

    def page(
        self, after: int, size: int, *, with_vectors: bool = False
    ) -> tuple[list[StoredRow | DamagedRow], int | None]:
        """Return up to ``size`` rows after place ``after``, in order, and ``after`` of the next page or None."""
        places = "SELECT place, rid FROM items WHERE place > ? ORDER BY place LIMIT ?"  # answered by an index alone
        with self.pinned() as connection:
            found = connection.execute(places, (min(after, 2**63 - 1), size + 1)).fetchall()
            rows = self.rows_at(connection, found[:size], with_vectors)
        return rows, found[size - 1][0] if len(found) > size else None

    @contextlib.contextmanager
    def read_all(self) -> Iterator[tuple[int, Iterator[StoredRow | DamagedRow]]]:
        """Yield the number of rows and the rows, sorted by rid, all as of now; later commits do not show."""
        with self.pinned() as connection:
            (count,) = connection.execute("SELECT count(*) FROM items").fetchone()  # fixes what later reads see
            yield count, (self._row(row) for row in connection.execute(_ROWS + "ORDER BY rid"))

    def all_rids(self) -> NDArray[np.int64]:
        """Return the rids of all rows (N,), sorted."""
        with self._readers.reading() as connection:
            found = connection.execute("SELECT rid FROM items")  # answered by the smallest index
            return np.sort(np.fromiter((rid for (rid,) in found), np.int64))

    def vectors(self, first: int, last: int) -> Iterator[list[tuple[int, int, NDArray[Any] | None, int]]]:
        """Yield rid, place, vector and its checksum of the rows from rid ``first`` to ``last``, in parts sorted by rid.

        A vector whose checksum does not hold is None. The metadata are not checked. Each part is read as of its moment.
        """
        query = (
            "SELECT rid, place, id, vector, vectors.crc FROM items LEFT JOIN vectors USING (rid) "
            "WHERE rid BETWEEN ? AND ? ORDER BY rid LIMIT ?"
        )
        while True:
            with self._readers.reading() as connection:
                part = connection.execute(query, (first, last, _VECTORS_AT_ONCE)).fetchall()
            if part:
                yield list(map(self._vector, part))
            if len(part) < _VECTORS_AT_ONCE:
                return
            first = part[-1][0] + 1

    def matching(
        self, where: Filter, after: int, size: int, most_read: int
    ) -> tuple[list[tuple[int, int]], int | None]:
        """Return place and rid of rows after place ``after`` that match a filter, in order.

        Ends after ``size`` of them, or after ``most_read`` rows. Also returns ``after`` of the next page, or None.
        """
        with self.pinned() as connection:
            return _matching(connection, where, after, size, most_read)

    def matching_rows(
        self, where: Filter, after: int, size: int, most_read: int, *, with_vectors: bool = False
    ) -> tuple[list[StoredRow | DamagedRow], int | None]:
        """Return the rows that `matching` tells of, read as of the same moment, and ``after`` of the next page."""
        with self.pinned() as connection:
            found, rest = _matching(connection, where, after, size, most_read)
            return self.rows_at(connection, found, with_vectors), rest

    def payloads(self, after: int, last: int) -> Iterator[list[tuple[int, str]]]:
        """Yield rid and payload of the rows after rid ``after`` up to ``last``, in parts sorted by rid.

        The payload of a damaged row is an empty object.
        """
        query = _METADATA + "WHERE rid > ? AND rid <= ? ORDER BY rid LIMIT ?"
        while True:
            with self._readers.reading() as connection:
                part = connection.execute(query, (after, last, _PAYLOADS_AT_ONCE)).fetchall()
            if part:
                yield list(map(self._payload, part))
            if len(part) < _PAYLOADS_AT_ONCE:
                return
            after = part[-1][0]

    def payloads_of(self, rids: Sequence[int]) -> list[tuple[int, str]]:
        """Return rid and payload, as ``payloads`` does, of those ``rids`` that are stored, in the same order."""
        with self.pinned() as connection:
            found = (connection.execute(_METADATA + "WHERE rid = ?", (rid,)).fetchone() for rid in rids)
            return [self._payload(row) for row in found if row is not None]

    def find(self, id: str) -> StoredRow | DamagedRow | None:
        """Return the row of ``id`` as the open transaction sees it, without its vector."""
        row = self._writer.connection.execute(_METADATA + "WHERE id = ?", (id,)).fetchone()
        return None if row is None else self._row(row)

    def find_all(self, ids: Sequence[str]) -> dict[str, StoredRow | DamagedRow]:
        """Return the rows of those ``ids`` that are stored, as ``find`` does."""
        found: dict[str, StoredRow | DamagedRow] = {}
        for start in range(0, len(ids), _IDS_AT_ONCE):
            part = ids[start : start + _IDS_AT_ONCE]
            query = _METADATA + f"WHERE id IN ({','.join('?' * len(part))})"
            rows = [self._row(row) for row in self._writer.connection.execute(query, part)]
            if all(isinstance(row, StoredRow) for row in rows):
                found |= {row.id: row for row in rows}
            else:  # a damaged row may tell another id than the one that leads to it
                found |= {one: row for one in part if (row := self.find(one)) is not None}
        return found

    def vector(self, rid: int) -> NDArray[Any] | None:
        """Return the raw vector (D,) of a row as the open transaction sees it, or None if it is damaged."""
        row = self._writer.connection.execute("SELECT vector, crc FROM vectors WHERE rid = ?", (rid,)).fetchone()
        return None if row is None else read_vector(self.definition.dim, rid, *row)

    def put_all(self, items: Sequence[Item], places: Mapping[str, int]) -> list[StoredRow]:
        """Write rows. See `StoreWriter.put_all`."""
        rows = self._writer.put_all(items, places)
        for row in rows:
            self.note(row.rid)
        return rows

    def set_payload(self, row: StoredRow, payload: dict[str, Any]) -> None:
        """Write the payload of a row. See `StoreWriter.set_payload`."""
        self._writer.set_payload(row, payload)
        self.note(row.rid)

    def drop_all(self, rids: Sequence[int]) -> None:
        """Delete rows. See `StoreWriter.drop_all`."""
        if self.watchers:
            for rid in rids:
                self.note(rid, self.vector(rid))
        self._writer.drop_all(rids)

    def note(self, rid: int, dropped: NDArray[Any] | None = None) -> None:
        """Tell the watchers that the open transaction touched a row, and its vector if it is deleted."""
        for watcher in self.watchers:
            watcher.note(rid, dropped)

    def forget_damage(self, rids: Iterable[int]) -> None:
        """Take rows that are no longer stored off the list of damaged ones."""
        for rid in rids:
            self.damaged.pop(rid, None)

    def forget_older_format(self) -> None:
        """Remove the copy in format 1, if there is one, because all vectors were read and found intact."""
        with contextlib.suppress(OSError):  # it costs room and nothing else
            remove_copy(self._path.parent)

    def close(self) -> None:
        """Close. No write may be running; running reads continue, and then close their connections."""
        self._readers.close()
        self._writer.close()

    def _row(self, row: tuple[Any, ...]) -> StoredRow | DamagedRow:
        checked = read_row(row, self.definition.dim)
        if isinstance(checked, DamagedRow):
            self.damaged[checked.rid] = checked.id
        return checked

    def _payload(self, row: tuple[Any, ...]) -> tuple[int, str]:
        checked = self._row(row)
        return checked.rid, checked.payload if isinstance(checked, StoredRow) else "{}"

    def rows(self, connection: sqlite3.Connection) -> Iterator[StoredRow | DamagedRow]:
        """Yield all rows that a pinned connection sees, without their vectors, sorted by rid."""
        return map(self._row, connection.execute(_METADATA + "ORDER BY rid"))

    def rows_at(
        self, connection: sqlite3.Connection, found: Sequence[tuple[int, int]], with_vectors: bool
    ) -> list[StoredRow | DamagedRow]:
        """Return the rows of pairs of place and rid."""
        query = (_ROWS if with_vectors else _METADATA) + "WHERE rid = ?"
        return [self._row(connection.execute(query, (rid,)).fetchone()) for _, rid in found]

    def _vector(self, row: tuple[Any, ...]) -> tuple[int, int, NDArray[Any] | None, int]:
        rid, place, id_bytes, *stored = row
        vector = read_vector(self.definition.dim, rid, *stored)
        if vector is None:
            self.damaged[rid] = id_bytes.decode(errors="replace") if isinstance(id_bytes, bytes) else repr(id_bytes)
        return rid, place, vector, stored[1]


def _matching(
    connection: sqlite3.Connection, where: Filter, after: int, size: int, most_read: int
) -> tuple[list[tuple[int, int]], int | None]:
    query = "SELECT place, rid, payload FROM items WHERE place > ? ORDER BY place LIMIT ?"
    found: list[tuple[int, int]] = []
    n_read = 0
    for place, rid, payload in connection.execute(query, (min(after, 2**63 - 1), most_read + 1)):
        if n_read == most_read or len(found) == size:
            return found, after
        n_read, after = n_read + 1, place
        if matches(where, parse_payload(payload)):
            found.append((place, rid))
    return found, None
