"""Label records: who said what about which item, and when.

They are rows of the collection's database, written in its transactions, and each has a checksum. A record belongs to
the id of an item: it stays when the item is replaced and goes when the item is deleted. It keeps the content that was
judged, so that a record about an earlier picture is known to be outdated.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from unicodedata import category

from fc7.contract.filter import read_date
from fc7.contract.held_labels import Recorded, held_labels
from fc7.errors import Fc7Error, InvalidArgument, NotFound, Reason
from fc7_service.collections.rows import StoredRow, why_absent
from fc7_service.collections.store import Store

Verdict = Literal["positive", "negative", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)  # stored by their positions

_LONGEST = 256  # characters of a label, and of a name
_READ_AT_ONCE = 10_000  # records of a page, most of which may be about other items than those asked for
_TABLE = """
CREATE TABLE IF NOT EXISTS labels (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, content TEXT NOT NULL,
                                   label TEXT NOT NULL, verdict INTEGER NOT NULL, author TEXT NOT NULL,
                                   head_version INTEGER NOT NULL, time TEXT NOT NULL, crc INTEGER NOT NULL)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS labels_of_item ON labels (id, number)"
_HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'labels'"
_RECORDS = "SELECT number, id, labels.content, label, verdict, author, head_version, time, labels.crc, items.content "
_FROM = "FROM labels LEFT JOIN items USING (id) "


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody said about an item.

    Raises
    ------
    InvalidArgument
        The label or the name is not a line of text, the version is negative, or the time is not ISO 8601.
    """

    id: str
    label: str
    verdict: Verdict
    author: str  # a person, or a head; empty if it is not known
    head_version: int  # 0 for a person
    time: str  # ISO 8601, with its zone

    def __post_init__(self) -> None:
        _check_text(self.label, "label")
        if self.author:
            _check_text(self.author, "author")
        if not 0 <= self.head_version < 2**31 or (self.head_version and not self.author):
            raise _invalid(f"head_version {self.head_version} needs the name of its head as author", "head_version")
        if read_date(self.time) is None:
            raise _invalid(f"time must be ISO 8601, such as 2026-05-01T12:00:00Z (got {self.time[:64]!r})", "time")


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """A stored label."""

    number: int  # later records have larger ones
    label: Label
    is_outdated: bool  # the item has another content now


def add(connection: sqlite3.Connection, label: Label, content: str) -> bool:
    """Write a label about an item with this content; return False if its author's newest record says the same."""
    _make_table(connection)
    query = _RECORDS + _FROM + "WHERE id = ? AND label = ? AND author = ? AND head_version = ? ORDER BY number DESC"
    newest = connection.execute(query, (label.id, label.label, label.author, label.head_version)).fetchone()
    if newest is not None:
        record = _read(newest)
        if record is not None and record.label.verdict == label.verdict and not record.is_outdated:
            return False
    values = (label.id, content, label.label, VERDICTS.index(label.verdict), label.author, label.head_version)
    row = (*values, label.time, _checksum(*values, label.time))
    connection.execute("INSERT INTO labels VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return True


def forget(connection: sqlite3.Connection, id: str) -> None:
    """Remove the records of an item that is being deleted."""
    if _has_table(connection):
        connection.execute("DELETE FROM labels WHERE id = ?", (id,))


class Labels:
    """The label records of one collection.

    Parameters
    ----------
    store
        Holds them.
    writing
        Lock that a writer holds for one transaction.
    """

    def __init__(self, store: Store, writing: threading.Lock) -> None:
        self._store, self._writing = store, writing

    def add(self, labels: Sequence[Label]) -> list[bool | Fc7Error]:
        """Write labels in one transaction; return per label whether it was written, or its error.

        A label is not written if the newest record of its author about this item and label says the same.
        """
        done: list[bool | Fc7Error] = []
        with self._writing:
            with self._store.transaction() as writer:
                for label in labels:
                    row = self._store.find(label.id)
                    if isinstance(row, StoredRow):
                        done.append(add(writer, label, row.content))
                        self._store.note(row.rid)
                    else:
                        done.append(why_absent(self._store.name, label.id, row))
            self._store.acknowledge()
        return done

    def undo(self, asked: Sequence[tuple[str, str, str]]) -> list[LabelRecord | Fc7Error]:
        """Take back the newest record of each item, in one transaction; return the records.

        Parameters
        ----------
        asked
            Id, label and author of each. An empty label or author stands for any.
        """
        done: list[LabelRecord | Fc7Error] = []
        with self._writing:
            with self._store.transaction() as writer:
                for id, label, author in asked:  # noqa: A001
                    found = _select(writer, 0, [id], label, author, newest_first=True)
                    record = next((record for record in map(_read, found) if record is not None), None)
                    if record is None:
                        done.append(_unlabelled(self._store.name, id, label, author))
                    else:
                        writer.execute("DELETE FROM labels WHERE number = ?", (record.number,))
                        if isinstance(row := self._store.find(record.label.id), StoredRow):
                            self._store.note(row.rid)
                        done.append(record)
            self._store.acknowledge()
        return done

    def page(
        self, after: int, size: int, ids: Sequence[str] = (), label: str = "", author: str = ""
    ) -> tuple[list[LabelRecord], int | None]:
        """Return up to ``size`` records after number ``after``, oldest first, and ``after`` of the next page or None.

        Records whose checksum does not hold are left out.

        Parameters
        ----------
        ids
            Only records about these items. Defaults to all.
        label, author
            Only records of this label, by this author. Default to all.
        """
        with self._store.pinned() as connection:
            rows = _select(connection, after, ids, label, author, size + 1)
        records = [record for record in map(_read, rows[:size]) if record is not None]
        return records, rows[size - 1][0] if len(rows) > size else None

    def all(self) -> Iterator[LabelRecord]:
        """Yield all records, oldest first."""
        after: int | None = 0
        while after is not None:
            records, after = self.page(after, _READ_AT_ONCE)
            yield from records


def current(records: Iterable[LabelRecord]) -> dict[str, dict[str, LabelRecord]]:
    """Return what holds now: per item, and per label of it, the newest record. See `held_labels`."""
    return held_labels(
        (Recorded(one.label.id, one.label.label, bool(one.label.head_version), one.is_outdated), one) for one in records
    )


def class_of(held: Mapping[str, LabelRecord], from_field: str | None = None) -> str | None:
    """Return the class of an item: its last positive label, or the one in its payload, unless a record denies it.

    Parameters
    ----------
    held
        What holds of the item now, from `current`.
    from_field
        The label in its payload, or None.
    """
    positive = [label for label, record in held.items() if record.label.verdict == "positive"]
    if positive:
        return positive[-1]
    return None if from_field in held else from_field


def _make_table(connection: sqlite3.Connection) -> None:
    if not _has_table(connection):
        connection.execute(_TABLE)
        connection.execute(_INDEX)


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute(_HAS_TABLE).fetchone() is not None


def _select(
    connection: sqlite3.Connection,
    after: int,
    ids: Sequence[str],
    label: str,
    author: str,
    limit: int = -1,
    *,
    newest_first: bool = False,
) -> list[tuple[Any, ...]]:
    """Return rows of records after number ``after``, in order."""
    if not _has_table(connection):
        return []
    terms, values = ["number > ?"], list[Any]([min(after, 2**63 - 1)])
    if ids:
        terms.append(f"id IN ({', '.join('?' * len(ids))})")
        values += ids
    for column, wanted in (("label", label), ("author", author)):
        if wanted:
            terms.append(f"{column} = ?")
            values.append(wanted)
    order = "DESC" if newest_first else "ASC"
    query = f"{_RECORDS}{_FROM}WHERE {' AND '.join(terms)} ORDER BY number {order} LIMIT ?"
    return connection.execute(query, (*values, limit)).fetchall()


def _read(row: tuple[Any, ...]) -> LabelRecord | None:
    """Return the record of a row, or None if its checksum does not hold."""
    number, *values, crc, stored = row
    if _checksum(*values) != crc:
        return None
    id_bytes, content, label, verdict, author, head_version, time = values
    said = Label(id_bytes.decode(), label.decode(), VERDICTS[verdict], author.decode(), head_version, time.decode())
    return LabelRecord(number, said, stored != content)


def _checksum(*values: Any) -> int:
    """Return the CRC-32 over what a record holds."""
    return zlib.crc32(b"\0".join(one if isinstance(one, bytes) else str(one).encode() for one in values))


def _check_text(text: str, name: str) -> None:
    if not 1 <= len(text) <= _LONGEST or any(category(one) in ("Cc", "Cs") for one in text):
        raise _invalid(
            f"{name} must be a line of 1 to {_LONGEST} characters (got {text[:32]!r}, {len(text)} characters)", name
        )


def _invalid(problem: str, name: str) -> InvalidArgument:
    return InvalidArgument(problem, name=name, reason=Reason.INVALID_LABEL)


def _unlabelled(collection: str, id: str, label: str, author: str) -> NotFound:
    what = "no label" + (f" {label!r}" if label else "") + (f" by {author!r}" if author else "")
    return NotFound(f"Item {id!r} of collection {collection!r} has {what}", name=id, reason=Reason.LABEL_NOT_FOUND)
