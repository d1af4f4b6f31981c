"""A named set of items of one provenance, and their neighbours."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter
from fc7.errors import FailedPrecondition, InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.answers import Answers
from fc7_service.collections.duplicates import Duplicates, find_duplicates
from fc7_service.collections.effort import Effort
from fc7_service.collections.facets import Facet, count_values
from fc7_service.collections.index_choice import choose_index
from fc7_service.collections.item_map import ItemMap, map_items
from fc7_service.collections.item_reads import ItemReads
from fc7_service.collections.item_rules import check_vector, vector_errors
from fc7_service.collections.labelled_features import labelled_features
from fc7_service.collections.labels import Labels, current
from fc7_service.collections.rarity import Rarity
from fc7_service.collections.recall import Recall, ignore_recall
from fc7_service.collections.rows import Metric
from fc7_service.collections.searcher import Searcher
from fc7_service.collections.store import Store
from fc7_service.collections.thumbnails import Thumbnails
from fc7_service.collections.tsne_map import TsneMaker, TsneMap, make_tsne_map, read_tsne_map
from fc7_service.collections.warm_rows import WarmRows
from fc7_service.collections.writes import Writes


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
    thumbnails
        Those that it keeps.
    get, page, page_where, page_ordered, count_where
        See `ItemReads`.
    upsert, delete, delete_where, update, update_where
        See `Writes`.
    search, answer, tune, threshold
        See `Answers`.

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
        self._is_checked = False
        self._writing = threading.Lock()  # held for one transaction and its publication
        self.labels = Labels(self._store, self._writing)
        self.thumbnails = Thumbnails(self._store)
        self._searcher = Searcher(self._store, self._writing, may_use_gpu=may_use_gpu)
        self._rarity = Rarity(self._store, folder)
        self._reads = reads = ItemReads(self._store)
        self._writes = writes = Writes(self._store, reads, self._searcher, self._writing)
        self._answers = answers = Answers(
            self._store, self._searcher, self._rarity, lambda: self.index_name, recall_queries, report_recall
        )
        self.get, self.page, self.page_where = reads.get, reads.page, reads.page_where
        self.page_ordered, self.count_where = reads.page_ordered, reads.count_where
        self.upsert, self.delete, self.delete_where = writes.upsert, writes.delete, writes.delete_where
        self.update, self.update_where = writes.update, writes.update_where
        self.search, self.answer = answers.search, answers.answer
        self.tune, self.threshold = answers.tune, answers.threshold

    @property
    def count(self) -> int:
        """Number of items."""
        return self._writes.count

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
        return self._searcher.name or choose_index(self.count, self.dim)

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
        """Refuse a vector that this collection cannot compare. See `check_vector`."""
        check_vector(vector, self._store.definition, self.name)

    def vector_errors(self, vectors: Sequence[NDArray[np.float32]]) -> dict[int, InvalidArgument]:
        """Return why this collection cannot compare some of the vectors, by position. See `vector_errors`."""
        return vector_errors(vectors, self._store.definition, self.name)

    def find_damage(self) -> None:
        """Read all items, so that ``damaged_ids`` names all that are damaged now."""
        with self._store.read_all() as (_, rows):
            for _ in rows:
                pass

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries behind the newest commit."""
        return self._store.versions()

    def count_values(
        self, fields: Sequence[str], limit: int, where: Filter | None = None, with_records: bool = False
    ) -> tuple[int, list[Facet]]:
        """Return how many items match, and the ``limit`` most frequent values of each field. See `count_values`."""
        held = current(self.labels.all()) if with_records else None
        return count_values(self._store, fields, where, limit, held)

    def map_items(self, field: str = "", known: TsneMap | None = None) -> ItemMap:
        """Place all items in two dimensions. See `map_items`."""
        return map_items(self._store, field, known)

    def tsne_map(self, *, is_current: bool) -> TsneMap | None:
        """Return the map by t-SNE that was kept. See `read_tsne_map`."""
        return read_tsne_map(self._store, is_current=is_current)

    def make_tsne_map(self, maker: TsneMaker) -> None:
        """Place the items by t-SNE. See `make_tsne_map`."""
        make_tsne_map(self._store, maker)

    def labelled_features(
        self, field: str | None, max_rows: int, group_field: str = "", with_records: bool = False
    ) -> tuple[NDArray[Any], list[str], list[str], list[str], list[str]]:
        """Return features, labels, content hashes, ids and groups of the labelled items. See `labelled_features`."""
        held = current(self.labels.all()) if with_records else {}
        return labelled_features(self._store, held, field, max_rows, group_field)

    def follow_labels(self, field: str | None, with_records: bool = False) -> WarmRows:
        """Return sums over the labelled items, which follow every commit until ``unfollow_labels``.

        ``field`` and ``with_records`` are those of ``labelled_features``.
        """
        warm = WarmRows(self._store, self.labels, self._writing, field, with_records)
        self._store.watchers = [*self._store.watchers, warm]  # a new list, because a writer may be going through it
        return warm

    def unfollow_labels(self, warm: WarmRows) -> None:
        """End what ``follow_labels`` began."""
        self._store.watchers = [watcher for watcher in self._store.watchers if watcher is not warm]

    @property
    def recall(self) -> Recall | None:
        """Recall@10 on recent queries; None if it was not measured."""
        return self._answers.recall

    @property
    def effort(self) -> Effort:
        """How hard its index searches."""
        return self._answers.effort

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
    def last_place(self) -> int:
        """A place that no item is behind; items that are added later are."""
        return self._store.last_place

    def close(self) -> None:
        """Wait for the running write and rebuild, then close."""
        self._searcher.wait_for_rebuild()
        self._rarity.wait()
        self._answers.close()
        for watcher in self._store.watchers:
            watcher.wait()
        with self._writing:
            self._store.close()
