"""A collection of the client that awaits its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7._async_session import AsyncSession
from fc7._operations import collection, duplicates, facets, item_map, label_files, new_items, payloads, tables
from fc7._operations import labels as label_records
from fc7._operations import search as searching
from fc7._operations.new_items import Payload
from fc7.errors import Fc7Error
from fc7.features import Features
from fc7.filters import Where
from fc7.images import ImageLike
from fc7.results import (
    Added,
    CollectionFacts,
    DuplicateGroup,
    Facet,
    Item,
    ItemMap,
    Label,
    LabelFormat,
    Labelled,
    LabelsWritten,
    MapMethod,
    Recall,
    Removed,
    Updated,
)
from fc7.searches import Example, Hits, Search, Threshold

if TYPE_CHECKING:
    import pyarrow


@dataclass(repr=False, eq=False)
class AsyncCollection(CollectionFacts):
    """A named set of items whose features were made in the same way. Its methods are those of `Collection`.

    ``async for item in collection`` yields all items, page by page.

    Attributes
    ----------
    name : str
        Name of the collection.
    count : int
        Number of items. It is right after `add` and `remove`; `refresh` asks what others have changed.
    provenance : Provenance
        What made its features.
    metric : {"cosine", "l2", "dot"}
        How features are compared.
    dim : int
        Length of a feature.
    index : str
        "exact" or "rabitq".
    fault : str
        Why the collection was set aside; empty if it works.
    damaged : int
        Number of items that the server found damaged, as of the last answer. Searches and lists leave them out, and
        adding such an item again repairs it.
    damaged_ids : list of str
        Their ids, as far as they can be read, at most 1000.
    versions : dict
        Versions of the libraries behind the newest items.
    """

    _session: AsyncSession

    def __aiter__(self) -> AsyncIterator[Item]:
        return self.items()

    async def refresh(self, *, find_damage: bool = False, timeout_s: float | None = None) -> None:
        """Ask the server for the attributes of this collection. See `Collection.refresh`."""
        vars(self).update(vars(await self._session.run(collection.get(self.name, find_damage), timeout_s)))

    async def add(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        ids: Iterable[str] | None = None,
        root: Path | str | None = None,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        keep_thumbnails: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add images. See `Collection.add`."""
        new = new_items.from_images(images, ids, root, payloads)
        return await self._session.run(collection.upsert(self, new, True, replace, report, keep_thumbnails), timeout_s)

    async def add_vectors(
        self,
        features: Features,
        ids: Iterable[str],
        *,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add features that were extracted before. See `Collection.add_vectors`."""
        new = new_items.from_features(features, ids, payloads)
        return await self._session.run(collection.upsert(self, new, False, replace, report), timeout_s)

    async def search(
        self,
        image: ImageLike | None = None,
        *,
        id: str | None = None,
        features: Features | None = None,
        examples: Sequence[Example] | None = None,
        k: int | None = None,
        where: Where | None = None,
        search: Search | None = None,
        timeout_s: float | None = None,
    ) -> Hits:
        """Return the nearest items, nearest first. See `Collection.search`."""
        queries, asked = searching.Queries(image, id, features, examples), searching.options(k, where, search)
        return await self._session.run(searching.search(self.name, queries, asked), timeout_s)

    async def search_many(
        self,
        images: ImageLike | Iterable[ImageLike] | None = None,
        *,
        ids: Iterable[str] | None = None,
        features: Features | None = None,
        examples: Iterable[Sequence[Example]] | None = None,
        k: int | None = None,
        where: Where | None = None,
        search: Search | None = None,
        timeout_s: float | None = None,
    ) -> list[Hits | Fc7Error]:
        """Return the nearest items of many queries, in input order. See `Collection.search_many`."""
        queries, asked = searching.Queries(images, ids, features, examples), searching.options(k, where, search)
        return await self._session.run(searching.search_many(self.name, queries, asked), timeout_s)

    async def tune(self, recall: float, *, timeout_s: float | None = None) -> Recall:
        """Let the index search just as hard as a recall needs. See `Collection.tune`."""
        return await self._session.run(collection.tune(self.name, recall), timeout_s)

    async def threshold(self, false_matches: float, *, timeout_s: float | None = None) -> Threshold:
        """Return the lowest score that random pairs reach no more often than this. See `Collection.threshold`."""
        return await self._session.run(searching.threshold(self.name, false_matches), timeout_s)

    async def get(
        self,
        ids: Iterable[str],
        *,
        with_features: bool = False,
        with_thumbnails: bool = False,
        timeout_s: float | None = None,
    ) -> list[Item | Fc7Error]:
        """Return items by their ids, in the order given. See `Collection.get`."""
        return await self._session.run(collection.get_items(self, ids, with_features, with_thumbnails), timeout_s)

    def items(
        self,
        *,
        with_features: bool = False,
        where: Where | None = None,
        order_by: str = "",
        descending: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Item]:
        """Yield all items, by default in the order in which they were first added. See `Collection.items`."""
        return self._session.iterate(collection.list_items(self, with_features, where, order_by, descending), timeout_s)

    async def to_numpy(
        self, *, where: Where | None = None, timeout_s: float | None = None
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the ids and the features (N, D) of all items. See `Collection.to_numpy`."""
        return await self._session.run(tables.to_numpy(self, where), timeout_s)

    async def to_arrow(self, *, where: Where | None = None, timeout_s: float | None = None) -> pyarrow.Table:
        """Return all items as a pyarrow.Table. See `Collection.to_arrow`."""
        return await self._session.run(tables.to_arrow(self, where), timeout_s)

    def arrow_batches(
        self, *, where: Where | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[pyarrow.RecordBatch]:
        """Yield all items as batches of at most 1,000. See `Collection.arrow_batches`."""
        return self._session.iterate(tables.arrow_batches(self, where), timeout_s)

    async def to_pandas(self, *, where: Where | None = None, timeout_s: float | None = None) -> Any:
        """Return all items as a pandas.DataFrame. See `Collection.to_pandas`."""
        return await self._session.run(tables.to_pandas(self, where), timeout_s)

    async def count_items(self, *, where: Where | None = None, timeout_s: float | None = None) -> int:
        """Return the number of items that match a filter. See `Collection.count_items`."""
        return await self._session.run(collection.count_items(self.name, where), timeout_s)

    async def map(self, field: str = "", *, method: MapMethod = "pca", timeout_s: float | None = None) -> ItemMap:
        """Return where the items lie in two dimensions. See `Collection.map`."""
        return await self._session.run(item_map.map_items(self.name, field, method), timeout_s)

    async def facets(
        self,
        fields: str | Iterable[str],
        *,
        where: Where | None = None,
        limit: int = 20,
        records: bool = False,
        timeout_s: float | None = None,
    ) -> list[Facet]:
        """Return the most frequent values of payload fields. See `Collection.facets`."""
        return await self._session.run(facets.count_values(self.name, fields, where, limit, records), timeout_s)

    def duplicates(
        self,
        *,
        min_score: float | None = None,
        max_rarity: float | None = None,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[DuplicateGroup]:
        """Yield groups of items that are the same or nearly so. See `Collection.duplicates`."""
        return self._session.iterate(duplicates.find(self.name, min_score, max_rarity, where), timeout_s)

    async def update(
        self,
        ids: Iterable[str] | Mapping[str, Payload] | None = None,
        *,
        where: Where | None = None,
        set: Payload | None = None,
        remove: Iterable[str] = (),
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Updated], object] | None = None,
    ) -> list[Updated]:
        """Change payloads, and leave the features alone. See `Collection.update`."""
        operation = payloads.update(self.name, ids, where, set, remove, replace, report)
        return await self._session.run(operation, timeout_s)

    async def add_labels(
        self,
        labels: Iterable[Label],
        *,
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record what somebody says about items. See `Collection.add_labels`."""
        return await self._session.run(label_records.add(self.name, labels, report), timeout_s)

    def labels(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str = "",
        by: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Label]:
        """Yield label records, oldest first. See `Collection.labels`."""
        return self._session.iterate(label_records.list_all(self.name, ids, label, by), timeout_s)

    async def undo_labels(
        self, ids: Iterable[str], *, label: str = "", by: str = "", timeout_s: float | None = None
    ) -> list[Label | Fc7Error]:
        """Take back the newest label record of each item. See `Collection.undo_labels`."""
        return await self._session.run(label_records.undo(self.name, ids, label, by), timeout_s)

    async def import_labels(
        self,
        path: Path | str,
        *,
        format: LabelFormat | None = None,
        by: str = "",
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record the labels of a file, or of a folder tree. See `Collection.import_labels`."""
        return await self._session.run(label_files.import_labels(self, path, format, by, report), timeout_s)

    async def export_labels(
        self,
        path: Path | str,
        *,
        format: LabelFormat | None = None,
        by: str = "",
        timeout_s: float | None = None,
    ) -> LabelsWritten:
        """Write the label records to a file, or to a folder tree. See `Collection.export_labels`."""
        return await self._session.run(label_files.export_labels(self, path, format, by), timeout_s)

    async def remove(
        self,
        ids: Iterable[str] | None = None,
        *,
        where: Where | None = None,
        timeout_s: float | None = None,
        report: Callable[[Removed], object] | None = None,
    ) -> list[Removed]:
        """Delete items. See `Collection.remove`."""
        return await self._session.run(collection.delete_items(self, ids, where, report), timeout_s)
