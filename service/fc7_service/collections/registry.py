"""All collections of a data folder: one folder each, opened when asked for, closed when others are asked for."""

from __future__ import annotations

import builtins
import errno
import shutil
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import AlreadyExists, DataLoss, NotFound, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import hide_folder, new_folder, remove_leftovers
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.store import Facts, Metric, make_store


@dataclass(frozen=True, slots=True)
class Damaged:
    """A collection that is set aside: it does not serve, and nothing of it is touched."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows of a collection."""

    name: str
    count: int
    provenance: Provenance
    metric: Metric
    dim: int
    index_name: str


@dataclass(slots=True, eq=False)
class _Entry:
    collection: Collection
    n_users: int = 0


class Use:
    """A collection that stays open until the end of a ``with`` block, or until this is forgotten."""

    def __init__(self, library: Collections, entry: _Entry) -> None:
        self._collection = entry.collection
        self._end = weakref.finalize(self, library._release, entry)

    def __enter__(self) -> Collection:
        return self._collection

    def __exit__(self, *error: object) -> None:
        self._end()


class Collections:
    """The collections below one folder, which no other process may use.

    Parameters
    ----------
    path
        Made where it is missing.
    most_open
        How many may be open at once: each holds files, and its index memory. Those in use are never closed, so that
        as many calls as are under way may exceed it.
    """

    def __init__(self, path: Path, most_open: int = 64) -> None:
        self._path, self._most_open = path, most_open
        self._open: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._aside: dict[str, Damaged] = {}
        self._summaries: dict[str, Summary] = {}  # of those that were closed: nobody else changes them
        self._busy: set[str] = set()  # being opened, closed or made: others wait for it
        self._leaving: set[str] = set()  # being deleted: to others they are gone
        self._changed = threading.Condition()
        path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)

    def create(self, name: str, provenance: Provenance, dim: int, metric: Metric = "cosine") -> Collection:
        """Make an empty collection, wholly or not at all.

        Raises
        ------
        InvalidArgument
            A name that is not allowed.
        AlreadyExists
            The name is taken, be it by a damaged collection.
        ResourceExhausted, Unavailable
            The disk is full, or cannot be written.
        """
        check_name(name, "collection")
        with self._changed:
            if name in self._leaving:
                raise AlreadyExists(
                    f"collection {name!r} is being deleted: create it when that is done",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            self._changed.wait_for(lambda: name not in self._busy)
            if (self._path / name).exists():
                raise AlreadyExists(
                    f"collection {name!r} exists already: choose another name",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            self._busy.add(name)
        try:
            self._make(name, Facts(provenance, dim, metric))
        finally:
            self._end_busy({name})
        return self.get(name)

    def get(self, name: str) -> Collection:
        """Return a collection that serves; ``use`` it for more than to read what it is.

        Raises
        ------
        NotFound
            No such collection.
        DataLoss
            It is set aside.
        Unavailable
            It cannot be opened now.
        """
        with self.use(name) as collection:
            return collection

    def use(self, name: str) -> Use:
        """Return a collection that serves, and that is not closed before its use ends; raises what ``get`` does."""
        check_name(name, "collection")
        entry = self._entry(name)
        use = Use(self, entry)
        try:
            entry.collection.check()
        except DataLoss as error:
            damaged = Damaged(name, error.message)
            with self._changed:  # first, so that nobody finds it closed and not yet set aside
                if self._open.get(name) is entry:
                    del self._open[name]
                    self._aside[name] = damaged
            entry.collection.close()
            raise _set_aside(damaged) from error
        return use

    def list(self) -> builtins.list[Summary | Damaged]:
        """Return what there is by name, the damaged ones too; those that were open once are not opened again."""
        found: builtins.list[Summary | Damaged] = []
        for name in self._names():
            try:
                found.append(self._summary(name))
            except NotFound:  # deleted meanwhile
                continue
            except DataLoss as error:
                found.append(self._aside.get(name) or Damaged(name, error.message))
            except Unavailable as error:
                if error.reason == Reason.TOO_MANY_FILES.name:
                    raise
                found.append(Damaged(name, error.message))
        return found

    def delete(self, name: str) -> None:
        """Delete a collection, damaged or not; calls that ask for others do not wait meanwhile.

        Raises
        ------
        NotFound
            No such collection.
        Unavailable
            The folder cannot be written; the collection is still there.
        """
        check_name(name, "collection")
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            if name in self._leaving or not (self._path / name).is_dir():
                raise _missing(name, self._path)
            self._leaving.add(name)
            entry = self._open.pop(name, None)
            self._forget(name)
        try:
            if entry is not None:
                entry.collection.close()  # first, as Windows renames no open file
            hidden = hide_folder(self._path / name, self._path)
        except OSError as error:
            raise _unavailable(f"collection {name!r} cannot be deleted: {error}", name, error) from error
        finally:
            with self._changed:
                self._leaving.discard(name)
        shutil.rmtree(hidden, ignore_errors=True)  # what stays is removed at the next start

    def close(self) -> None:
        """Close all."""
        with self._changed:
            entries = builtins.list(self._open.values())
            self._open.clear()
            for name in (*self._aside, *self._summaries):
                self._forget(name)
        for entry in entries:
            entry.collection.close()

    def _make(self, name: str, facts: Facts) -> None:
        try:
            with new_folder(self._path / name, self._path) as folder:
                make_store(folder, facts, name)
        except OSError as error:
            text = f"collection {name!r} cannot be made: {error}"
            if error.errno == errno.ENOSPC:
                raise ResourceExhausted(text, name=name, reason=Reason.DISK_FULL) from error
            raise _unavailable(text, name, error) from error

    def _names(self) -> builtins.list[str]:
        try:
            names = {entry.name for entry in self._path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        except OSError as error:
            raise _unavailable(f"the collections cannot be listed: {error}", "", error) from error
        return sorted(names - self._leaving)

    def _summary(self, name: str) -> Summary:
        with self._changed:
            if (summary := self._summaries.get(name)) is not None:
                return summary
        with Use(self, self._entry(name)) as collection:
            return _summarise(collection)

    def _entry(self, name: str) -> _Entry:
        """Return the collection, opened and with one user more."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            if (entry := self._open.get(name)) is not None:
                self._open.move_to_end(name)
                entry.n_users += 1
            elif name in self._leaving or not (self._path / name).is_dir():
                raise _missing(name, self._path)
            elif name in self._aside:
                raise _set_aside(self._aside[name])
            else:
                self._busy.add(name)
        if entry is not None:
            self._make_room(0)  # of more than may be open, which were all in use at once
            return entry
        try:
            self._make_room(1)
            entry = _Entry(Collection(self._path / name), 1)
        except DataLoss as error:
            self._aside[name] = Damaged(name, error.message)
            raise _set_aside(self._aside[name]) from error
        finally:
            with self._changed:
                if entry is not None:
                    self._open[name] = entry
                    self._summaries.pop(name, None)
            self._end_busy({name})
        return entry

    def _make_room(self, n_more: int) -> None:
        """Close what was used least recently, until ``n_more`` fit; what is in use stays open."""
        with self._changed:
            n_over = len(self._open) + n_more - self._most_open
            idle = [name for name, entry in self._open.items() if not entry.n_users][: max(0, n_over)]
            closing = {name: self._open.pop(name) for name in idle}
            self._busy |= closing.keys()
        try:
            for name, entry in closing.items():
                self._summaries[name] = _summarise(entry.collection)
                entry.collection.close()
        finally:
            self._end_busy(closing.keys())

    def _end_busy(self, names: Iterable[str]) -> None:
        with self._changed:
            self._busy.difference_update(names)
            self._changed.notify_all()

    def _release(self, entry: _Entry) -> None:
        with self._changed:
            entry.n_users -= 1

    def _forget(self, name: str) -> None:
        self._aside.pop(name, None)
        self._summaries.pop(name, None)


def _summarise(collection: Collection) -> Summary:
    return Summary(
        collection.name,
        collection.count,
        collection.provenance,
        collection.metric,
        collection.dim,
        collection.index_name,
    )


def _unavailable(text: str, name: str, error: OSError) -> Unavailable:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES)
    return Unavailable(text, name=name)


def _missing(name: str, folder: Path) -> NotFound | Unavailable:
    if not folder.is_dir():
        return Unavailable(
            f"the folder of collection {name!r} was deleted: restore it, then restart the server", name=name
        )
    return NotFound(
        f"there is no collection {name!r}: `fc7 collection list` shows those there are",
        name=name,
        reason=Reason.COLLECTION_NOT_FOUND,
    )


def _set_aside(damaged: Damaged) -> DataLoss:
    name = damaged.name
    return DataLoss(
        f"collection {name!r} is set aside: {damaged.fault}; restore it from a backup, or delete the collection",
        name=name,
        reason=Reason.COLLECTION_DAMAGED,
    )
