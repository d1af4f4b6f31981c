"""All collections of a data folder: one folder each, opened when first asked for."""

from __future__ import annotations

import builtins
import errno
import shutil
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import AlreadyExists, DataLoss, Fc7Error, NotFound, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import sync_folder
from fc7_service.bundle.names import check_name
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.store import Facts, Metric, make_store

_HALF_MADE, _DELETED = ".new-", ".gone-"  # no collection's name begins with a dot


@dataclass(frozen=True, slots=True)
class Damaged:
    """A collection that is set aside: it does not serve, and nothing of it is touched."""

    name: str
    fault: str


class Collections:
    """The collections below one folder, which no other process may use.

    Parameters
    ----------
    path
        Made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, Collection | Damaged] = {}
        self._leaving: set[str] = set()  # names of collections that are being closed to be deleted
        self._lock = threading.Lock()
        path.mkdir(parents=True, exist_ok=True)
        for rest in (*path.glob(_HALF_MADE + "*"), *path.glob(_DELETED + "*")):
            shutil.rmtree(rest, ignore_errors=True)

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
        with self._lock:
            if name in self._leaving:
                raise AlreadyExists(
                    f"collection {name!r} is being deleted: create it when that is done",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            if (self._path / name).exists():
                raise AlreadyExists(
                    f"collection {name!r} exists already: choose another name",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            part = self._path / f"{_HALF_MADE}{uuid.uuid4().hex}"
            try:
                part.mkdir()
                make_store(part, Facts(provenance, dim, metric), name)
                sync_folder(part)
                part.rename(self._path / name)
                sync_folder(self._path)
            except OSError as error:
                text = f"collection {name!r} cannot be made: {error}"
                if error.errno == errno.ENOSPC:
                    raise ResourceExhausted(text, name=name, reason=Reason.DISK_FULL) from error
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES) from error
                raise Unavailable(text, name=name) from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return self._opened(name)

    def get(self, name: str) -> Collection:
        """Return a collection that serves.

        Raises
        ------
        NotFound
            No such collection.
        DataLoss
            It is set aside.
        """
        check_name(name, "collection")
        with self._lock:
            collection = self._opened(name)
        try:
            collection.check()
        except DataLoss as error:
            with self._lock:  # first, so that nobody finds it closed and not yet set aside
                if self._open.get(name) is collection:
                    self._open[name] = Damaged(name, error.message)
            collection.close()
            with self._lock:
                return self._opened(name)  # raises
        return collection

    def list(self) -> builtins.list[Collection | Damaged]:
        """Return all collections by name, the damaged ones too."""
        found: list[Collection | Damaged] = []
        with self._lock:
            for name in self._names():
                try:
                    found.append(self._opened(name))
                except Fc7Error as error:
                    found.append(self._open.get(name) or Damaged(name, error.message))
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
        gone = self._path / f"{_DELETED}{uuid.uuid4().hex}"
        with self._lock:
            if name not in self._names():
                raise _no_collection(name)
            collection = self._open.pop(name, None)
            self._leaving.add(name)
        try:
            if isinstance(collection, Collection):
                collection.close()  # first, as Windows renames no open file
            with self._lock:
                (self._path / name).rename(gone)
                sync_folder(self._path)
        except OSError as error:
            raise Unavailable(f"collection {name!r} cannot be deleted: {error}", name=name) from error
        finally:
            with self._lock:
                self._leaving.discard(name)
        shutil.rmtree(gone, ignore_errors=True)  # what stays is removed at the next start

    def close(self) -> None:
        """Close all."""
        with self._lock:
            for collection in self._open.values():
                if isinstance(collection, Collection):
                    collection.close()
            self._open.clear()

    def _names(self) -> builtins.list[str]:
        names = {entry.name for entry in self._path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        return sorted(names - self._leaving)

    def _opened(self, name: str) -> Collection:
        """Return the collection, opened; the caller holds the lock."""
        if name not in self._open:
            if name in self._leaving or not (self._path / name).is_dir():
                raise _no_collection(name)
            try:
                self._open[name] = Collection(self._path / name)
            except DataLoss as error:
                self._open[name] = Damaged(name, error.message)
        found = self._open[name]
        if isinstance(found, Damaged):
            raise DataLoss(
                f"collection {name!r} is set aside: {found.fault}; restore it from a backup, or delete the collection",
                name=name,
                reason=Reason.COLLECTION_DAMAGED,
            )
        return found


def _no_collection(name: str) -> NotFound:
    return NotFound(
        f"there is no collection {name!r}: `fc7 collection list` shows those there are",
        name=name,
        reason=Reason.COLLECTION_NOT_FOUND,
    )
