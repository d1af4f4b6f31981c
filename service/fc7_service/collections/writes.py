"""Changing the items of a collection. Every change is on disk, and visible to searches, when its call returns."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from fc7.contract.filter import Filter, matches
from fc7.errors import Fc7Error
from fc7_service.collections import labels, thumbnails
from fc7_service.collections.item_reads import ItemReads
from fc7_service.collections.item_rules import check_id, vector_errors
from fc7_service.collections.payload_updates import PayloadChange, Updated, update_matching, update_row
from fc7_service.collections.rows import Item, StoredRow, why_absent
from fc7_service.collections.searcher import RowChanges, Searcher
from fc7_service.collections.store import Store
from fc7_service.collections.upsert_batch import UpsertBatch


@dataclass(slots=True)
class _PendingUpsert:
    """A call of ``upsert`` that waits for a transaction, which it shares with others."""

    items: Sequence[Item]
    is_merged: bool
    statuses: list[str | Fc7Error] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


class Writes:
    """Changes the items of one collection. Any number of threads may use it.

    Parameters
    ----------
    store, reads
        The items.
    searcher
        Told of every commit.
    writing
        Lock that is held for one transaction and its publication.

    Attributes
    ----------
    count
        Number of items.
    """

    def __init__(self, store: Store, reads: ItemReads, searcher: Searcher, writing: threading.Lock) -> None:
        self._store, self._reads, self._searcher, self._writing = store, reads, searcher, writing
        self.count = store.count()
        self._queue: list[_PendingUpsert] = []
        self._queueing = threading.Lock()

    def upsert(self, items: Sequence[Item], *, is_merged: bool = False) -> list[str | Fc7Error]:
        """Store items; return "added", "replaced" or "skipped" per item once they are on disk.

        Calls that wait for the disk at the same time share one transaction.

        Parameters
        ----------
        items
            Items to store.
        is_merged
            Merge each payload with the stored one. An item that ``merge`` refuses has its error in its place.

        Raises
        ------
        InvalidArgument
            An id or a vector breaks a rule; nothing is stored.
        ResourceExhausted
            The disk is full. The error says whether the items are stored.
        Unavailable
            The disk fails. After a restart all items are stored, or none.
        """
        for item in items:
            check_id(item.id)
        for error in vector_errors([item.vector for item in items], self._store.definition, self._store.name).values():
            raise error
        job = _PendingUpsert(items, is_merged)
        with self._queueing:
            self._queue.append(job)
        with self._writing:
            if not job.is_done:  # the first call to get here writes for all that wait
                with self._queueing:
                    jobs, self._queue = self._queue, []
                self._write(jobs)
        if job.error:
            raise job.error
        return job.statuses

    def delete(self, ids: Sequence[str]) -> list[bool]:
        """Delete items; return for each whether it existed."""
        were_there, changes = [], RowChanges()
        with self._writing:
            with self._store.transaction() as writer:
                for wanted in ids:
                    row = self._store.find(wanted)
                    were_there.append(row is not None)
                    if row is not None:
                        self._store.drop_all([row.rid])
                        labels.forget(writer, wanted)
                        thumbnails.forget(writer, wanted)
                        changes.deleted.append(row.rid)
            self._publish(changes)
            self._store.acknowledge()
        return were_there

    def delete_where(
        self, where: Filter, most: int, after: int = 0, last: int | None = None
    ) -> tuple[list[str], int | None]:
        """Delete up to ``most`` intact items that match, in one transaction.

        Writers do not wait while the items are looked for. An item that is changed meanwhile, so that it no longer
        matches, or replaced, stays.

        Parameters
        ----------
        where
            Which items to delete.
        most
            How many to delete.
        after, last
            Only items after place ``after``, and not those after place ``last``.

        Returns
        -------
        ids
            Those of the deleted items, in the order of first insertion.
        rest
            ``after`` for the next call, or None if no further items match.
        """
        found, rest = self._reads.find_matching(where, most, after, last)
        ids, changes = list[str](), RowChanges()
        with self._writing:
            with self._store.transaction() as writer:
                for own, rid, _ in found:
                    row = self._store.find(own)
                    if not isinstance(row, StoredRow) or row.rid != rid or not matches(where, json.loads(row.payload)):
                        continue  # deleted, replaced or changed meanwhile
                    ids.append(own)
                    self._store.drop_all([rid])
                    labels.forget(writer, own)
                    thumbnails.forget(writer, own)
                    changes.deleted.append(rid)
            self._publish(changes)
            self._store.acknowledge()
        return ids, rest

    def update(self, changes: Sequence[tuple[str, PayloadChange]]) -> list[Updated]:
        """Change the payloads of items, by id, in one transaction; an item that fails has an error in its place."""
        rids: list[int] = []
        done = []
        with self._writing:
            with self._store.transaction():
                for own, change in changes:
                    row = self._store.find(own)
                    if isinstance(row, StoredRow):
                        done.append(update_row(self._store, row, change, rids))
                    else:
                        done.append(Updated(own, False, why_absent(self._store.name, own, row)))
            self._publish(RowChanges(updated=rids))
            self._store.acknowledge()
        return done

    def update_where(
        self, where: Filter, change: PayloadChange, most: int, after: int = 0, last: int | None = None
    ) -> tuple[list[Updated], int | None]:
        """Change the payloads of up to ``most`` intact items that match, in one transaction.

        Parameters and returned ``rest`` are those of ``delete_where``.
        """
        found, rest = self._reads.find_matching(where, most, after, last)
        rids: list[int] = []
        with self._writing:
            with self._store.transaction():
                done = update_matching(self._store, [(own, place) for own, _, place in found], where, change, rids)
            self._publish(RowChanges(updated=rids))
            self._store.acknowledge()
        return done, rest

    def _write(self, jobs: list[_PendingUpsert]) -> None:
        try:
            with self._store.transaction() as writer:
                batch = UpsertBatch(self._store, writer)
                for job in jobs:
                    job.statuses = batch.add(job.items, job.is_merged)
                changes = batch.write()
            self._publish(changes)
            self._store.acknowledge()
        except BaseException as error:
            for job in jobs:
                job.error = error
        finally:
            for job in jobs:
                job.is_done = True

    def _publish(self, changes: RowChanges) -> None:
        self.count += len(changes.added) - len(changes.deleted)
        self._store.forget_damage(changes.deleted)
        self._searcher.publish(changes)
