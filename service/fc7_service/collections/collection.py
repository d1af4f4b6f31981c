"""A named set of items of one provenance, and their neighbours."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter, matches, read_field
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.duplicates import Duplicates, find_duplicates
from fc7_service.collections.effort import (
    MOST_DEVIATIONS,
    STEP,
    Effort,
    effort_for,
    read_effort,
    tune,
    write_effort,
)
from fc7_service.collections.facets import Facet, count_values
from fc7_service.collections.index_choice import choose_index
from fc7_service.collections.item_map import ItemMap, map_items
from fc7_service.collections.labels import Labels, class_of, current, forget
from fc7_service.collections.ordering import Key, Order, OrderedPages
from fc7_service.collections.pair_scores import PairScores
from fc7_service.collections.payload import choose_fields, is_equal, merge, read_label
from fc7_service.collections.payload_updates import PayloadChange, Updated, update_matching, update_row
from fc7_service.collections.rarity import Rarity
from fc7_service.collections.recall import EVERYTHING, Recall, RecallMeter, ignore_recall
from fc7_service.collections.rows import (
    DamagedRow,
    Item,
    Metric,
    StoredItem,
    StoredRow,
    intact_rows,
    why_absent,
)
from fc7_service.collections.search import Hit, Query, Search, SearchReport
from fc7_service.collections.searcher import RowChanges, Searcher
from fc7_service.collections.store import Store

_FEWEST_TO_FOLLOW = 20  # queries, before their recall changes the effort
_LONGEST_ID_BYTES = 1024
_FILTERED_AT_ONCE = 20_000  # items whose payloads are compared with a filter in one read
_DELETED_AT_ONCE = 1000  # rows read at once, to be deleted by a filter
_LARGEST_NORM = 1e18  # squares of differences stay within float32


@dataclass(slots=True)
class _PendingUpsert:
    """A call of ``upsert`` that waits for a transaction, which it shares with others."""

    items: Sequence[Item]
    is_merged: bool
    statuses: list[str | Fc7Error] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


def check_id(id: str) -> None:
    """Refuse text that cannot be an item id.

    Raises
    ------
    InvalidArgument
        It does not have 1 to 1024 bytes of UTF-8, or contains a control character.
    """
    n_bytes = len(id.encode(errors="surrogatepass"))
    if not 1 <= n_bytes <= _LONGEST_ID_BYTES:
        raise InvalidArgument(
            f"An id must have 1 to {_LONGEST_ID_BYTES} bytes ({id[:32]!r} has {n_bytes})",
            name="id",
            reason=Reason.INVALID_ID,
        )
    if any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in id):
        raise InvalidArgument(
            f"An id must be text without control characters (got {id[:64]!r})", name="id", reason=Reason.INVALID_ID
        )


class Collection:
    """One open collection. Any number of threads may use it.

    Parameters
    ----------
    folder
        A folder that ``make_store`` filled. Only one ``Collection`` may have it open.
    may_use_gpu
        Whether its index may be placed on a GPU.
    versions
        Of the libraries behind the features that are stored from now on.
    recall_queries, report_recall
        See ``most_queries`` and ``report`` of `RecallMeter`.

    Attributes
    ----------
    labels
        Its label records.

    Raises
    ------
    DataLoss
        It is damaged, of a newer format, or not a collection.
    Unavailable
        It cannot be opened now.
    """

    def __init__(
        self,
        folder: Path,
        *,
        may_use_gpu: bool = False,
        versions: dict[str, str] | None = None,
        recall_queries: int = 0,
        report_recall: Callable[[int, int], None] = ignore_recall,
    ) -> None:
        self.name = folder.name
        self._store = Store(folder, versions)
        self._count = self._store.count()
        self._is_checked = False
        self._queue: list[_PendingUpsert] = []
        self._queueing = threading.Lock()
        self._writing = threading.Lock()  # held for one transaction and its publication
        self.labels = Labels(self._store, self._writing)
        self._ordered = OrderedPages(self._store)
        self._searcher = Searcher(self._store, self._writing, may_use_gpu=may_use_gpu)
        self._rarity = Rarity(self._store, folder)
        self._folder, self._report_recall = folder, report_recall
        self._effort = read_effort(folder)
        self._searcher.deviations = self._effort.deviations
        self._recall = RecallMeter(
            self.name, self._searcher.current, lambda: self._effort.deviations, recall_queries, self._follow_target
        )

    @property
    def count(self) -> int:
        """Number of items."""
        return self._count

    @property
    def provenance(self) -> Provenance:
        """What made the features."""
        return self._store.definition.provenance

    @property
    def metric(self) -> Metric:
        """How features are compared."""
        return self._store.definition.metric

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._store.definition.dim

    @property
    def index_name(self) -> str:
        """Name of the index in use, or of the one that the first search will build."""
        return self._searcher.name or choose_index(self._count, self.dim)

    @property
    def n_damaged(self) -> int:
        """Number of items that were found damaged since the collection was opened. No search answers them."""
        return len(self._store.damaged)

    @property
    def damaged_ids(self) -> list[str]:
        """Their ids, as far as they can be read. Adding such an item again repairs it."""
        return list(self._store.damaged.values())

    @property
    def is_rebuilding(self) -> bool:
        """Whether work runs in the background that ``close`` would wait for."""
        return self._searcher.is_rebuilding or self._rarity.is_refreshing

    @property
    def is_checked(self) -> bool:
        """Whether ``check`` has found the database whole."""
        return self._is_checked

    @property
    def is_indexed(self) -> bool:
        """Whether a search finds an index, and does not have to make it."""
        return bool(self._searcher.name)

    def index(self) -> None:
        """Make the index, unless there is one."""
        self._searcher.current()

    def check(self) -> None:
        """Check the structure of the database, once; raise ``DataLoss`` if it is damaged."""
        if not self._is_checked:
            self._store.check()
            self._is_checked = True

    def check_vector(self, vector: NDArray[np.float32]) -> None:
        """Refuse a vector that this collection cannot compare.

        Raises
        ------
        InvalidArgument
            It is not (D,), not finite, too long to be squared, or of length 0 with the metric cosine.
        """
        if vector.shape != (self.dim,):
            raise InvalidArgument(
                f"The vector has shape {vector.shape}, but collection {self.name!r} takes ({self.dim},)",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )
        if not np.isfinite(vector).all():
            raise InvalidArgument(
                f"The vector contains NaN or infinity at position {int(np.argmin(np.isfinite(vector)))}. "
                "All values must be finite",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )
        if np.linalg.norm(vector.astype(np.float64)) > _LARGEST_NORM:
            raise InvalidArgument(
                f"The length of a vector must be at most {_LARGEST_NORM:g}, so that it can be compared",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )
        if self.metric == "cosine" and not vector.any():
            raise InvalidArgument(
                "The vector is all zeros. It has no direction, which is what the metric cosine compares",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )

    def find_damage(self) -> None:
        """Read all items, so that ``damaged_ids`` names all that are damaged now."""
        with self._store.read_all() as (_, rows):
            for _ in rows:
                pass

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries behind the newest commit."""
        return self._store.versions()

    def get(self, ids: Sequence[str], with_features: bool = False) -> list[StoredItem | Fc7Error]:
        """Return each item, or ``NotFound`` or ``DataLoss`` in its place."""
        rows = self._store.by_id(ids)
        return [self._item(wanted, rows.get(wanted), with_features) for wanted in ids]

    def page(self, after: int, size: int, with_features: bool = False) -> tuple[list[StoredItem], int | None]:
        """Return up to ``size`` items in the order of first insertion, and ``after`` of the next page or None.

        Damaged items are left out; without features, only damage to the rest of an item shows.
        """
        rows, rest = self._store.page(after, size, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self.name)], rest

    def page_where(
        self, where: Filter, after: int, size: int, with_features: bool = False
    ) -> tuple[list[StoredItem], int | None]:
        """Return up to ``size`` items that match, in the order of first insertion, and ``after`` of the next page.

        At most `_FILTERED_AT_ONCE` items are looked at, so the page may have no items although more match.
        """
        rows, rest = self._store.matching_rows(where, after, size, _FILTERED_AT_ONCE, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self.name)], rest

    def page_ordered(
        self, order: Order, where: Filter | None, after: Key | None, size: int, with_features: bool = False
    ) -> tuple[list[StoredItem], Key | None]:
        """Return up to ``size`` items that match, in an order, and ``after`` of the next page or None."""
        rows, rest = self._ordered.page(order, where, after, size, with_vectors=with_features)
        return [row.item(with_vector=with_features) for row in intact_rows(rows, self.name)], rest

    def count_where(self, where: Filter) -> int:
        """Return how many items match."""
        count = 0
        after: int | None = 0
        while after is not None:
            places, after = self._store.matching(where, after, _FILTERED_AT_ONCE, _FILTERED_AT_ONCE)
            count += len(places)
        return count

    def count_values(
        self, fields: Sequence[str], limit: int, where: Filter | None = None, with_records: bool = False
    ) -> tuple[int, list[Facet]]:
        """Return how many items match, and the ``limit`` most frequent values of each field. See `count_values`."""
        held = current(self.labels.all()) if with_records else None
        return count_values(self._store, fields, where, limit, held)

    def map_items(self, field: str = "") -> ItemMap:
        """Place all items in two dimensions. See `map_items`."""
        return map_items(self._store, field)

    def labelled_features(
        self, field: str | None, max_rows: int, group_field: str = "", with_records: bool = False
    ) -> tuple[NDArray[np.float32], list[str], list[str], list[str], list[str]]:
        """Return features (N, D), labels, content hashes, ids and groups of the items that have a label.

        Parameters
        ----------
        field
            Payload field of the labels: text, or an integer, which counts as its text. An item without the field, or
            with null in it, has no label, and neither has one whose label a head wrote (``FIELD_head`` says so). None
            for none.
        max_rows
            Most items.
        group_field
            Payload field of the groups, with values as in ``field``. Empty for none.
        with_records
            Take the label records, which outrank the field. See `class_of`.

        Raises
        ------
        InvalidArgument
            No item has a label, or a label has another type.
        ResourceExhausted
            More than ``max_rows`` items have a label.
        """
        vectors: list[NDArray[Any]] = []
        labels, contents, ids, groups = [], [], [], []
        held = current(self.labels.all()) if with_records else {}
        where = "its label records" if field is None else f"{field!r}"
        with self._store.read_all() as (_, rows):
            for row in intact_rows(rows, self.name):
                payload = json.loads(row.payload)
                is_written = field is None or f"{field}_head" in payload
                from_field = None if is_written else read_label(row.id, payload, field or "")
                label = class_of(held.get(row.id, {}), from_field)
                if label is not None:
                    if len(vectors) == max_rows:
                        raise ResourceExhausted(
                            f"Collection {self.name!r} has more than {max_rows} items with a label in {where}, which "
                            "is as many as fit into memory. Train on a part of them",
                            name=field or "labels",
                            reason=Reason.WORK_TOO_LARGE,
                        )
                    vectors.append(row.vector)
                    labels.append(label)
                    contents.append(row.content)
                    ids.append(row.id)
                    if group_field:
                        groups.append(read_label(row.id, payload, group_field) or "")
        if not vectors:
            raise InvalidArgument(
                f"Collection {self.name!r} has no item with a label in {where}. Name the field that holds your "
                "labels: --label FIELD, or label=",
                name=field or "labels",
                reason=Reason.NO_LABELS,
            )
        features = np.empty((len(vectors), self.dim), np.float32)
        for i, vector in enumerate(vectors):
            features[i] = vector
        return features, labels, contents, ids, groups

    def search(
        self,
        vectors: NDArray[np.float32],
        k: int,
        excluded_ids: Sequence[str | None] | None = None,
        where: Filter | None = None,
    ) -> list[list[Hit]]:
        """Return the k nearest items of each of ``vectors`` (Q, D), best first: the plain case of `answer`.

        Each answer leaves out the id at its place in ``excluded_ids``.
        """
        own_ids = excluded_ids or [None] * len(vectors)
        queries = [Query(vector, (own,) if own else ()) for vector, own in zip(vectors, own_ids, strict=True)]
        return self.answer(queries, Search(k=k, where=where))[0]

    def answer(self, queries: Sequence[Query], search: Search) -> tuple[list[list[Hit]], SearchReport]:
        """Return the hits of each query, best first, and how they were found.

        Raises
        ------
        InvalidArgument
            A vector cannot be compared.
        DataLoss
            The database turned out to be damaged.
        """
        for query in queries:
            self.check_vector(query.vector)
        report = SearchReport(index=self.index_name)
        if not queries:
            return [], report
        pairs = None
        if search.max_rarity is not None:
            lowest, pairs = self._rarity.cut_off(self._searcher.current(), search.max_rarity, "max_rarity")
            search = replace(search, min_score=lowest if search.min_score is None else max(lowest, search.min_score))
        elif search.has_rarity:
            pairs = self._rarity.table(self._searcher.current())
        found, rows = self._searcher.search(queries, search, report)
        if report.index != "exact" and not search.is_exact and search.where is None:
            self._recall.note([query.vector for query in queries])
        report.n_pairs = pairs.n_pairs if pairs else 0
        return [[_hit(rows[rid], score, search, pairs) for rid, score in hits] for hits in found], report

    @property
    def recall(self) -> Recall | None:
        """Recall@10 on recent queries; None if it was not measured."""
        return EVERYTHING if self.index_name == "exact" else self._recall.recall()

    def duplicates(
        self,
        min_score: float | None,
        max_rarity: float | None = None,
        where: Filter | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Duplicates]:
        """Yield groups of items of which every pair reaches a score. See `find_duplicates`.

        Parameters
        ----------
        min_score, max_rarity
            The score, or its rarity. Give one of them.
        where
            Which items to compare. Defaults to all.
        is_cancelled
            Asked now and then whether to end early.

        Raises
        ------
        InvalidArgument
            No pair, or every pair, reaches the score; or the rarity is not one.
        FailedPrecondition
            The metric is "dot", or there are too few items to tell how rare a score is.
        """
        if self.metric == "dot":
            raise FailedPrecondition(
                f"collection {self.name!r} compares by inner product, by which long features are near to all others. "
                "Look for duplicates in a collection with the metric cosine or l2",
                name=self.name,
            )
        if max_rarity is not None:
            min_score, _ = self._rarity.cut_off(self._searcher.current(), max_rarity, "max_rarity")
        largest = 1.0 if self.metric == "cosine" else 0.0
        if min_score is None or not -math.inf < min_score <= largest or (self.metric == "cosine" and min_score <= 0):
            least = "above 0 and " if self.metric == "cosine" else ""
            raise InvalidArgument(
                f"min_score must be {least}at most {largest:g} with the metric {self.metric} (got {min_score})",
                name="min_score",
            )
        return find_duplicates(self._store, min_score, where, is_cancelled)

    @property
    def effort(self) -> Effort:
        """How hard its index searches."""
        return self._effort

    def tune(self, target: float) -> Recall:
        """Make its index search just as hard as a recall needs; return the recall that was measured.

        Raises
        ------
        InvalidArgument
            The target is not above 0.5 and at most 0.999.
        """
        effort, measured = effort_for(target), None
        if self.index_name != "exact":
            effort, measured = tune(self._searcher.current(), self._store, target)
        self._set_effort(effort)
        return measured or EVERYTHING

    def threshold(self, false_matches: float) -> tuple[float, PairScores]:
        """Return a score that at most this share of random pairs reach, and what was compared.

        Raises
        ------
        InvalidArgument
            The share is not one, or lower than the random pairs can tell.
        FailedPrecondition
            There are fewer than two items, or no score is so rare, because there are too many duplicates.
        """
        lowest, pairs = self._rarity.cut_off(self._searcher.current(), false_matches, "false_matches")
        if lowest > pairs.scores[0] and pairs.top_share > false_matches:
            raise FailedPrecondition(
                f"no score is rare enough: {pairs.top_share:.2g} of the random pairs have the highest score, "
                f"{pairs.scores[0]:.6g}. Remove duplicates, or allow more false matches",
                name="false_matches",
            )
        return pairs.threshold(false_matches), pairs

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
            self.check_vector(item.vector)
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
                        self._store.drop(row.rid)
                        forget(writer, wanted)
                        changes.delete(row.rid)
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
        found, rest = self._find_matching(where, most, after, last)
        ids, changes = list[str](), RowChanges()
        with self._writing:
            with self._store.transaction() as writer:
                for own, rid, _ in found:
                    row = self._store.find(own)
                    if not isinstance(row, StoredRow) or row.rid != rid or not matches(where, json.loads(row.payload)):
                        continue  # deleted, replaced or changed meanwhile
                    ids.append(own)
                    self._store.drop(rid)
                    forget(writer, own)
                    changes.delete(rid)
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
                        done.append(Updated(own, False, why_absent(self.name, own, row)))
            self._publish(RowChanges(updated=rids))
            self._store.acknowledge()
        return done

    def update_where(
        self, where: Filter, change: PayloadChange, most: int, after: int = 0, last: int | None = None
    ) -> tuple[list[Updated], int | None]:
        """Change the payloads of up to ``most`` intact items that match, in one transaction.

        Parameters and returned ``rest`` are those of ``delete_where``.
        """
        found, rest = self._find_matching(where, most, after, last)
        rids: list[int] = []
        with self._writing:
            with self._store.transaction():
                done = update_matching(self._store, [(own, place) for own, _, place in found], where, change, rids)
            self._publish(RowChanges(updated=rids))
            self._store.acknowledge()
        return done, rest

    @property
    def last_place(self) -> int:
        """A place that no item is behind; items that are added later are."""
        return self._store.last_place

    def close(self) -> None:
        """Wait for the running write and rebuild, then close."""
        self._searcher.wait_for_rebuild()
        self._rarity.wait()
        self._recall.close()
        with self._writing:
            self._store.close()

    def _write(self, jobs: list[_PendingUpsert]) -> None:
        changes = RowChanges()
        try:
            with self._store.transaction():
                for job in jobs:
                    job.statuses = [self._put(item, changes, job.is_merged) for item in job.items]
            self._publish(changes)
            self._store.acknowledge()
        except BaseException as error:
            for job in jobs:
                job.error = error
        finally:
            for job in jobs:
                job.is_done = True

    def _put(self, item: Item, changes: RowChanges, is_merged: bool) -> str | Fc7Error:
        old = self._store.find(item.id)
        if isinstance(old, StoredRow):
            stored, is_same = json.loads(old.payload), old.content == item.content_sha256
            if is_merged:
                try:
                    payload = merge(item.id, stored, item.payload, has_same_content=is_same)
                except Fc7Error as error:
                    return error
                item = replace(item, payload=payload)
            if is_same and is_equal(stored, item.payload) and self._store.vector(old.rid) is not None:
                return "skipped"
        if old is not None:
            self._store.drop(old.rid)
            changes.delete(old.rid)
        row = self._store.put(item, old.place if isinstance(old, StoredRow) else None)
        changes.added[row.rid] = row
        return "added" if old is None else "replaced"

    def _follow_target(self, n_found: int, n_wanted: int) -> None:
        """Search harder once the recall of recent queries is certain to be too low."""
        self._report_recall(n_found, n_wanted)
        effort, measured = self._effort, self._recall.recall()
        if effort.target is None or measured is None or measured.n_queries < _FEWEST_TO_FOLLOW:
            return
        if measured.high < effort.target and effort.deviations < MOST_DEVIATIONS:
            self._set_effort(replace(effort, deviations=min(effort.deviations + STEP, MOST_DEVIATIONS)))

    def _set_effort(self, effort: Effort) -> None:
        write_effort(self._folder, effort)
        self._effort, self._searcher.deviations = effort, effort.deviations
        self._recall.forget()

    def _publish(self, changes: RowChanges) -> None:
        self._count += len(changes.added) - len(changes.deleted)
        self._store.forget_damage(changes.deleted)
        self._searcher.publish(changes)

    def _find_matching(
        self, where: Filter, most: int, after: int, last: int | None
    ) -> tuple[list[tuple[str, int, int]], int | None]:
        """Return id, rid and place of up to ``most`` intact rows that match, and ``after`` of the next ones or None."""
        found: list[tuple[str, int, int]] = []
        rest: int | None = after
        while rest is not None and len(found) <= most and (last is None or rest < last):
            rows, rest = self._store.matching_rows(where, rest, _DELETED_AT_ONCE, _FILTERED_AT_ONCE)
            found += [
                (row.id, row.rid, row.place)
                for row in intact_rows(rows, self.name)
                if last is None or row.place <= last
            ]
        return (found[:most], found[most - 1][2]) if len(found) > most else (found, None)

    def _item(self, id: str, row: StoredRow | DamagedRow | None, with_features: bool) -> StoredItem | Fc7Error:
        if isinstance(row, StoredRow):
            return row.item(with_vector=with_features)
        return why_absent(self.name, id, row)


def _hit(row: StoredRow, score: float, search: Search, pairs: PairScores | None) -> Hit:
    stored = json.loads(row.payload)
    fields = search.payload_fields
    return Hit(
        row.id,
        score,
        stored if fields is None else choose_fields(stored, fields),
        row.vector.astype(np.float32) if search.has_features else None,
        read_field(stored, search.group_by) if search.group_by else None,
        pairs.rarity(score) if pairs else None,
    )
