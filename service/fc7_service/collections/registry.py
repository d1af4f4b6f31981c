"""All collections of a data folder. Each is a folder, opened when it is first used and closed when it is in the way."""

from __future__ import annotations

import builtins
import contextlib
import errno
import logging
import shutil
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fc7.errors import AlreadyExists, DataLoss, NotFound, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import hide_folder, new_folder, remove_leftovers
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.effort import Effort, effort_for, write_effort
from fc7_service.collections.index_choice import choose_index
from fc7_service.collections.migration import read_older
from fc7_service.collections.pools import Pools
from fc7_service.collections.recall import ignore_recall
from fc7_service.collections.rows import Metric
from fc7_service.collections.schema import Definition, make_store
from fc7_service.collections.summary import Damaged, Summary, missing, set_aside, summarise, unavailable
from fc7_service.collections.tsne_map import TsneMaker

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _OpenCollection:
    collection: Collection
    n_users: int = 0


class Use:
    """Keeps a collection open until the end of a ``with`` block, or until this object is collected as garbage."""

    def __init__(self, library: Collections, entry: _OpenCollection) -> None:
        self._collection = entry.collection
        self._end = weakref.finalize(self, library._release, entry)

    def __enter__(self) -> Collection:
        return self._collection

    def __exit__(self, *error: object) -> None:
        self._end()


class Collections:
    """The collections in one folder, which no other process may use.

    Parameters
    ----------
    path
        The folder; created if it is missing.
    most_open
        How many collections stay open: each holds open files, and memory for its index. One that a call uses, or whose
        index is being rebuilt, is not closed, so that more may be open for a time.
    may_use_gpu
        Whether indexes may be placed on a GPU.
    versions
        Of the libraries that make and compare features. A collection records those behind its commits.
    recall_queries, report_recall
        See ``most_queries`` and ``report`` of `RecallMeter`.

    Attributes
    ----------
    pools
        Threads for the work on the collections.
    tsne
        Makes their maps by t-SNE.
    """

    def __init__(
        self,
        path: Path,
        most_open: int = 64,
        *,
        may_use_gpu: bool = False,
        versions: dict[str, str] | None = None,
        recall_queries: int = 0,
        report_recall: Callable[[int, int], None] = ignore_recall,
    ) -> None:
        self._recall_queries, self._report_recall = recall_queries, report_recall
        self._path, self._most_open, self._may_use_gpu, self._versions = path, most_open, may_use_gpu, versions
        self._open: OrderedDict[str, _OpenCollection] = OrderedDict()  # least recently used first
        self._aside: dict[str, Damaged] = {}
        self._summaries: dict[str, Summary] = {}  # of closed and unconverted collections, which cannot change
        self._busy: set[str] = set()  # names being opened, closed or created; other calls wait for these
        self._deleting: set[str] = set()  # names being deleted; for other calls they are gone
        self._changed = threading.Condition()
        self.pools, self.tsne = Pools(), TsneMaker()
        path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)

    @property
    def n_open(self) -> int:
        """Number of collections that are open."""
        return len(self._open)

    @property
    def building(self) -> builtins.list[str]:
        """Names of the collections of which an index, or the statistics of its pairs, is built now."""
        with self._changed:
            return [name for name, entry in self._open.items() if entry.collection.is_rebuilding]

    def create(
        self, name: str, provenance: Provenance, dim: int, metric: Metric = "cosine", recall: float | None = None
    ) -> Collection:
        """Create an empty collection, whole or not at all; ``recall`` is what its index is to reach.

        Raises
        ------
        InvalidArgument
            The name or the recall is not allowed.
        AlreadyExists
            The name is taken, perhaps by a damaged collection.
        ResourceExhausted, Unavailable
            The disk is full, or the folder cannot be written.
        """
        check_name(name, "collection")
        effort = None if recall is None else effort_for(recall)
        with self._changed:
            if name in self._deleting:
                raise AlreadyExists(
                    f"Collection {name!r} is being deleted. Try again soon",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            self._changed.wait_for(lambda: name not in self._busy)
            if (self._path / name).exists():
                raise AlreadyExists(
                    f"Collection {name!r} exists already. Choose another name",
                    name=name,
                    reason=Reason.COLLECTION_EXISTS,
                )
            self._busy.add(name)
        try:
            self._create(name, Definition(provenance, dim, metric), effort)
        finally:
            self._end_busy({name})
        return self.get(name)

    def get(self, name: str) -> Collection:
        """Return a collection, to read what it is. For anything else call ``use``, which keeps it open.

        Raises
        ------
        NotFound
            There is no such collection.
        DataLoss
            It is damaged and set aside.
        Unavailable
            It cannot be opened now.
        """
        with self.use(name) as collection:
            return collection

    def use(self, name: str) -> Use:
        """Return a collection that stays open while it is used. Raises the same errors as ``get``."""
        check_name(name, "collection")
        entry = self._entry(name)
        use = Use(self, entry)
        try:
            entry.collection.check()
        except DataLoss as error:
            damaged = Damaged(name, error.message)
            with self._changed:  # before it is closed, so that no call finds it closed but not yet set aside
                if self._open.get(name) is entry:
                    del self._open[name]
                    self._aside[name] = damaged
            entry.collection.close()
            raise set_aside(damaged) from error
        return use

    def use_if_ready(self, name: str) -> Use | None:
        """Return what ``use`` returns, or None if the collection must be opened or checked first. It never waits.

        Raises
        ------
        InvalidArgument
            The name is not allowed.
        """
        check_name(name, "collection")
        with self._changed:
            entry = self._open.get(name)
            if entry is None or not entry.collection.is_checked:
                return None
            self._open.move_to_end(name)
            entry.n_users += 1
        return Use(self, entry)

    async def use_soon(self, name: str) -> Use:
        """Return what ``use`` returns. All calls for a collection that must be opened wait for the same opening."""
        while (use := self.use_if_ready(name)) is None:
            await self.pools.build(f"open {name}", partial(self.get, name))
        return use

    def list(self) -> builtins.list[Summary | Damaged]:
        """Return all collections by name, damaged ones included; those that were open before are not opened again.

        One of an older format is listed as it is, and the first list lets it be converted in the background.
        """
        found: builtins.list[Summary | Damaged] = []
        for name in self._names():
            try:
                found.append(self._summary(name))
            except NotFound:  # deleted in the meantime
                continue
            except DataLoss as error:
                found.append(self._aside.get(name) or Damaged(name, error.message))
            except Unavailable as error:
                if error.reason == Reason.TOO_MANY_FILES.name:
                    raise
                found.append(Damaged(name, error.message))
        return found

    def delete(self, name: str) -> None:
        """Delete a collection, damaged or not. Calls for other collections do not wait for this.

        Raises
        ------
        NotFound
            There is no such collection.
        Unavailable
            The folder cannot be written; the collection still exists.
        """
        check_name(name, "collection")
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            if name in self._deleting or not (self._path / name).is_dir():
                raise missing(name, self._path)
            self._deleting.add(name)
            entry = self._open.pop(name, None)
            self._forget(name)
        try:
            self.pools.forget(name)
            if entry is not None:
                entry.collection.close()  # first, because Windows does not rename open files
            hidden = hide_folder(self._path / name, self._path)
        except OSError as error:
            raise unavailable(f"Collection {name!r} cannot be deleted: {error}", name, error) from error
        finally:
            with self._changed:
                self._deleting.discard(name)
        shutil.rmtree(hidden, ignore_errors=True)  # whatever is left goes at the next start

    def close(self) -> None:
        """Close all collections."""
        self.tsne.close()  # the pools wait for what runs
        self.pools.close()  # before the collections, because a build opens some
        with self._changed:
            entries = builtins.list(self._open.values())
            self._open.clear()
            for name in (*self._aside, *self._summaries):
                self._forget(name)
        with contextlib.ExitStack() as closing:  # all of them, even if one raises
            for entry in entries:
                closing.callback(entry.collection.close)

    def _create(self, name: str, definition: Definition, effort: Effort | None) -> None:
        try:
            with new_folder(self._path / name, self._path) as folder:
                make_store(folder, definition, name)
                if effort is not None:
                    write_effort(folder, effort)
        except OSError as error:
            text = f"Collection {name!r} cannot be created: {error}"
            if error.errno == errno.ENOSPC:
                raise ResourceExhausted(text, name=name, reason=Reason.DISK_FULL) from error
            raise unavailable(text, name, error) from error

    def _names(self) -> builtins.list[str]:
        try:
            names = {entry.name for entry in self._path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        except OSError as error:
            raise unavailable(f"The collections cannot be listed: {error}", "", error) from error
        return sorted(names - self._deleting)

    def _summary(self, name: str) -> Summary:
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy or name in self._summaries)
            if (summary := self._summaries.get(name)) is not None:
                return summary
            is_new = not (name in self._open or name in self._aside or name in self._deleting)
            if is_new := is_new and (self._path / name).is_dir():
                self._busy.add(name)
        if is_new:
            try:
                summary = self._note_older(name)
            finally:
                self._end_busy({name})
            if summary is not None:
                self.pools.begin(f"open {name}", partial(self.get, name))
                return summary
        with Use(self, self._entry(name)) as collection:
            return summarise(collection)

    def _note_older(self, name: str) -> Summary | None:
        """Keep the summary of a collection of an older format for lists, until it is converted."""
        if (found := read_older(self._path / name)) is None:
            return None
        definition, count = found
        index = choose_index(count, definition.dim)
        summary = Summary(name, count, definition.provenance, definition.metric, definition.dim, index)
        with self._changed:
            self._summaries[name] = summary
            self._changed.notify_all()
        return summary

    def _entry(self, name: str) -> _OpenCollection:
        """Return the collection, opened, and count one more user."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            if (entry := self._open.get(name)) is not None:
                self._open.move_to_end(name)
                entry.n_users += 1
            elif name in self._deleting or not (self._path / name).is_dir():
                raise missing(name, self._path)
            elif name in self._aside:
                raise set_aside(self._aside[name])
            else:
                self._busy.add(name)
        if entry is not None:
            self._make_room(0)  # more may be open than should be, because all were in use
            return entry
        try:
            self._make_room(1)
            self._note_older(name)
            collection = Collection(
                self._path / name,
                may_use_gpu=self._may_use_gpu,
                versions=self._versions,
                recall_queries=self._recall_queries,
                report_recall=self._report_recall,
            )
            entry = _OpenCollection(collection, 1)
        except DataLoss as error:
            self._aside[name] = Damaged(name, error.message)
            raise set_aside(self._aside[name]) from error
        finally:
            with self._changed:
                self._summaries.pop(name, None)
                if entry is not None:
                    self._open[name] = entry
            self._end_busy({name})
        return entry

    def _make_room(self, n_more: int) -> None:
        """Close the least recently used collections until ``n_more`` fit. Those in use or being rebuilt stay open."""
        with self._changed:
            n_over = len(self._open) + n_more - self._most_open
            idle = [name for name, entry in self._open.items() if not (entry.n_users or entry.collection.is_rebuilding)]
            closing = {name: self._open.pop(name) for name in idle[: max(0, n_over)]}
            self._busy |= closing.keys()
        try:
            for name, entry in closing.items():
                try:
                    self._summaries[name] = summarise(entry.collection)
                    self.pools.forget(name)
                    entry.collection.close()
                except Exception:  # the call that needs the room asked for another collection
                    _log.exception("collection %r could not be closed", name)
        finally:
            self._end_busy(closing.keys())

    def _end_busy(self, names: Iterable[str]) -> None:
        with self._changed:
            self._busy.difference_update(names)
            self._changed.notify_all()

    def _release(self, entry: _OpenCollection) -> None:
        with self._changed:
            entry.n_users -= 1

    def _forget(self, name: str) -> None:
        self._aside.pop(name, None)
        self._summaries.pop(name, None)
