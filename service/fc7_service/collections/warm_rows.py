"""The labelled rows of a collection as sums that follow every commit, so that a head costs one solve."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument
from fc7_service.collections.class_moments import Change, ClassMoments, Moments, mean_of
from fc7_service.collections.labelled_features import no_labels
from fc7_service.collections.labels import LabelRecord, Labels, class_of, current
from fc7_service.collections.payload import read_label
from fc7_service.collections.rows import StoredRow, intact_rows
from fc7_service.collections.store import Store

_FOLDED_AT = 2048  # changed rows, from which a thread adds them to the sums; a solve adds fewer itself
_AT_ONCE = 512  # rows that are read and added together
_MOST_DROPPED = 4096  # vectors of deleted rows that wait; with more, the sums are made again
_FEWEST_REMOVED = 1000  # rows; see `WarmRows._is_stale`
_READ_PAGE = 10_000  # label records

_log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """Some of the labelled rows: float32 (S, D), and S labels, content hashes and ids."""

    features: NDArray[np.float32]
    labels: list[str]
    contents: list[str]
    ids: list[str]


class WarmRows:
    """The Gram matrix and the class sums of the labelled rows of a collection.

    They are made when they are first asked for. From then on the store names each row that a transaction touches, and
    hands over the vectors of the rows that it deletes. A changed row is compared with what the sums hold for it, so
    that it does not matter how often, or in which order, changes are named.

    Parameters
    ----------
    store, labels
        Of the collection.
    writing
        Lock that a writer holds for one transaction.
    field
        Payload field of the labels, or None. Which rows have a label is as for ``Collection.labelled_features``.
    with_records
        Take the label records, which outrank the field.
    """

    def __init__(
        self, store: Store, labels: Labels, writing: threading.Lock, field: str | None, with_records: bool
    ) -> None:
        self._store, self._labels, self._writing = store, labels, writing
        self._field, self._with_records = field, with_records
        self._folding = threading.Lock()  # held while the sums change or are read
        self._noting = threading.Lock()  # around what waits
        self._dirty: set[int] = set()  # rids that were touched since they were last compared
        self._dropped: dict[int, NDArray[Any]] = {}  # vectors of deleted rows among them
        self._held: dict[int, str] = {}  # rid -> class, of the rows in the sums
        self._refused: dict[int, InvalidArgument] = {}  # rows whose label has another type
        self._sums: ClassMoments | None = None  # None until asked for, and after a fault
        self._is_following = False  # whether changes must be named, because the sums are there or are being made
        self._thread: threading.Thread | None = None

    @property
    def n_bytes(self) -> int:
        """Memory that the sums take."""
        return 8 * self._store.definition.dim**2

    def note(self, rid: int, dropped: NDArray[Any] | None = None) -> None:
        """Take note of a row that the open transaction touched, with its vector if it was deleted."""
        with self._noting:
            if not self._is_following:
                return
            self._dirty.add(rid)
            if dropped is not None:
                self._dropped[rid] = dropped
            if len(self._dropped) > _MOST_DROPPED:
                self._forget()
            is_much = self._sums is not None and len(self._dirty) >= _FOLDED_AT
        if is_much and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._fold_in_background, name="fc7-warm-rows")
            self._thread.start()

    def read(self, n_sampled: int) -> tuple[Moments, Sample]:
        """Return the moments of the labelled rows, and some of these rows.

        Raises
        ------
        InvalidArgument
            No row has a label, or a label has another type.
        """
        with self._folding:
            self._follow()
            while self._sums is None or self._is_stale(self._sums):
                self._build()
                self._follow()
            if self._refused:
                raise next(iter(self._refused.values()))
            if not self._held:
                raise no_labels(self._store.name, self._field)
            return self._sums.read(), self._sample(n_sampled)

    def wait(self) -> None:
        """Wait for the thread that adds rows to the sums."""
        if self._thread is not None:
            self._thread.join()

    def _is_stale(self, sums: ClassMoments) -> bool:
        """Return whether the rows that were taken out left rounding errors that are no longer small beside the rest."""
        return sums.n_removed > max(_FEWEST_REMOVED, sums.count)

    def _fold_in_background(self) -> None:
        try:
            with self._folding:
                self._follow()
        except Fc7Error as error:  # closed or damaged: whoever reads next makes the sums again, and gets the error
            _log.info("collection %r: the sums for instant heads are dropped: %s", self._store.name, error)
            with self._noting:
                self._forget()

    def _forget(self) -> None:
        self._sums, self._is_following = None, False
        self._dirty.clear()
        self._dropped.clear()

    def _build(self) -> None:
        with self._writing, self._noting:
            self._forget()
            self._is_following = True  # from here on, between two transactions
        self._held, sums = {}, None
        self._refused.clear()
        records = current(self._labels.all()) if self._with_records else {}
        with self._store.read_all() as (_, rows):
            intact = intact_rows(rows, self._store.name)
            while block := list(islice(intact, _AT_ONCE)):
                labelled = [(row, label) for row in block if (label := self._label(row, records)) is not None]
                if labelled:
                    sums = sums or ClassMoments(mean_of([row.vector for row, _ in labelled]))
                    sums.apply(Change(row.vector, None, label) for row, label in labelled)
                    self._held |= {row.rid: label for row, label in labelled}
        with self._noting:
            if self._is_following:
                self._sums = sums or ClassMoments(np.zeros(self._store.definition.dim))

    def _follow(self) -> None:
        """Compare the rows that were touched with what the sums hold for them."""
        while self._sums is not None:
            with self._writing, self._noting:  # between transactions, so that what was named can be read
                rids = list(self._dirty)[:_AT_ONCE]
                self._dirty.difference_update(rids)
                dropped = {rid: self._dropped.pop(rid) for rid in rids if rid in self._dropped}
            if not rids:
                return
            stored = self._store.by_rid(rids, with_vectors=True)
            changes = list(self._changes(rids, stored, dropped, self._records([row.id for row in stored.values()])))
            if self._sums is not None:
                self._sums.apply(changes)

    def _changes(
        self,
        rids: Sequence[int],
        stored: dict[int, StoredRow],
        dropped: dict[int, NDArray[Any]],
        records: dict[str, dict[str, LabelRecord]],
    ) -> Iterator[Change]:
        for rid in rids:
            self._refused.pop(rid, None)
            before, row = self._held.get(rid), stored.get(rid)
            after = None if row is None else self._label(row, records)
            if before == after:
                continue
            vector = dropped.get(rid) if row is None else row.vector
            if vector is None:
                if rid not in self._dirty:  # damaged; otherwise it was deleted just now, and comes again
                    with self._noting:
                        self._forget()
                continue
            if after is None:
                del self._held[rid]
            else:
                self._held[rid] = after
            yield Change(vector, before, after)

    def _label(self, row: StoredRow, records: dict[str, dict[str, LabelRecord]]) -> str | None:
        payload = json.loads(row.payload)
        is_written = self._field is None or f"{self._field}_head" in payload
        try:
            from_field = None if is_written else read_label(row.id, payload, self._field or "")
        except InvalidArgument as error:
            self._refused[row.rid] = error
            return None
        return class_of(records.get(row.id, {}), from_field)

    def _records(self, ids: Sequence[str]) -> dict[str, dict[str, LabelRecord]]:
        found = list[LabelRecord]()
        rest: int | None = 0 if ids and self._with_records else None
        while rest is not None:
            part, rest = self._labels.page(rest, _READ_PAGE, ids)
            found += part
        return current(found)

    def _sample(self, n: int) -> Sample:
        """Return up to ``n`` of the rows in the sums: those with the least hashes, so that it changes little."""
        rids = np.fromiter(self._held, np.uint64, len(self._held))
        order = np.argsort(_scramble(rids), kind="stable")[:n]
        stored = self._store.by_rid(rids[order].astype(np.int64).tolist(), with_vectors=True)
        rows = [row for rid, row in sorted(stored.items()) if rid in self._held]
        features = np.array([row.vector for row in rows], np.float32).reshape(-1, self._store.definition.dim)
        return Sample(
            features, [self._held[row.rid] for row in rows], [row.content for row in rows], [row.id for row in rows]
        )


def _scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each number.

    References
    ----------
    Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixing function of SplitMix64).
    """
    z = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
