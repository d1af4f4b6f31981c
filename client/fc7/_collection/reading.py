"""The methods of a collection that read its items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7._collection.part import CollectionPart
from fc7._operations import collection, facets, item_map, tables
from fc7.errors import Fc7Error
from fc7.filters import Where
from fc7.results import (
    Facet,
    Item,
    ItemMap,
    MapMethod,
)

if TYPE_CHECKING:
    import pyarrow


class ReadingCalls(CollectionPart):
    """Returns items, one by one or all together, and counts them."""

    def get(
        self,
        ids: Iterable[str],
        *,
        with_features: bool = False,
        with_thumbnails: bool = False,
        timeout_s: float | None = None,
    ) -> list[Item | Fc7Error]:
        """Return items by their ids, in the order given.

        Parameters
        ----------
        ids
            Ids of the items.
        with_features
            Return the features too.
        with_thumbnails
            Return the thumbnails too, of items that have one. `add` keeps them if it is asked to.

        Returns
        -------
        list of Item or Fc7Error
            An id that is not stored gives a `NotFound` error in its place.
        """
        return self._session.run(collection.get_items(self, ids, with_features, with_thumbnails), timeout_s)

    def items(
        self,
        *,
        with_features: bool = False,
        where: Where | None = None,
        order_by: str = "",
        descending: bool = False,
        timeout_s: float | None = None,
    ) -> Iterator[Item]:
        """Yield the items, by default in the order in which they were first added. They are fetched page by page.

        Items that are added or removed meanwhile do not disturb the others: each is yielded once.

        Parameters
        ----------
        with_features
            Return the features too.
        where
            Yield only the items that match this filter. See `search`.
        order_by
            Field of the payload whose order to take, or "id" for the order of the ids. Booleans come first, then
            numbers, then text, then lists and objects. Items without the field come last.
        descending
            Reverse the order of the values.
        """
        return self._session.iterate(collection.list_items(self, with_features, where, order_by, descending), timeout_s)

    def to_numpy(
        self, *, where: Where | None = None, timeout_s: float | None = None
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the ids and the features (N, D) of all items, in the order in which they were first added.

        Parameters
        ----------
        where
            Return only the items that match this filter. See `search`.

        Examples
        --------
        >>> ids, features = photos.to_numpy()
        >>> len(ids) == len(features)
        True
        """
        return self._session.run(tables.to_numpy(self, where), timeout_s)

    def to_arrow(self, *, where: Where | None = None, timeout_s: float | None = None) -> pyarrow.Table:
        """Return all items as a pyarrow.Table with the columns id, content_sha256, payload (JSON text) and feature.

        Raises
        ------
        FailedPrecondition
            pyarrow is not installed.
        """
        return self._session.run(tables.to_arrow(self, where), timeout_s)

    def arrow_batches(
        self, *, where: Where | None = None, timeout_s: float | None = None
    ) -> Iterator[pyarrow.RecordBatch]:
        """Yield all items as batches of at most 1,000, for collections that are larger than memory.

        The columns are those of `to_arrow`.

        Raises
        ------
        FailedPrecondition
            pyarrow is not installed.
        """
        return self._session.iterate(tables.arrow_batches(self, where), timeout_s)

    def to_pandas(self, *, where: Where | None = None, timeout_s: float | None = None) -> Any:
        """Return all items as a pandas.DataFrame with the columns id, content_sha256, payload and feature.

        Raises
        ------
        FailedPrecondition
            pandas is not installed.
        """
        return self._session.run(tables.to_pandas(self, where), timeout_s)

    def count_items(self, *, where: Where | None = None, timeout_s: float | None = None) -> int:
        """Return the number of items.

        Parameters
        ----------
        where
            Count only the items that match this filter. Defaults to all items.

        Examples
        --------
        >>> photos.count_items(where='label = "cat"')
        0
        """
        return self._session.run(collection.count_items(self.name, where), timeout_s)

    def facets(
        self,
        fields: str | Iterable[str],
        *,
        where: Where | None = None,
        limit: int = 20,
        records: bool = False,
        timeout_s: float | None = None,
    ) -> list[Facet]:
        """Return the most frequent values of payload fields, each with its number of items.

        Parameters
        ----------
        fields
            One field, or up to 32. For a key of a nested object, the keys with dots between them.
        where
            Count only the items that match this filter. See `search`.
        limit
            How many values of each field to return, 1 to 1000.
        records
            Count the classes of the items: a label record outranks what an item has in the field. See `train_head`.

        Returns
        -------
        list of Facet
            One per field, in the order given.

        Examples
        --------
        >>> photos.facets("label")[0].values
        []
        """
        return self._session.run(facets.count_values(self.name, fields, where, limit, records), timeout_s)

    def map(self, field: str = "", *, method: MapMethod = "pca", timeout_s: float | None = None) -> ItemMap:
        """Return where the items lie in two dimensions.

        Parameters
        ----------
        field
            Return each item's value of this payload field too. Short text, numbers and booleans count.
        method
            "pca" places items along the two directions in which their features vary most. "tsne" places near items near
            each other. It takes seconds to minutes, and the server keeps the places until the items change.

        Raises
        ------
        FailedPrecondition
            With "tsne": the server lacks the library, or the collection has fewer than 8 items.
        DeadlineExceeded
            The map was not ready within ``timeout_s``. The server goes on with it: call again.

        References
        ----------
        Pearson 1901 (principal components); van der Maaten and Hinton 2008 (t-SNE).

        Examples
        --------
        >>> photos.map("label").positions.shape == (photos.count, 2)
        True
        """
        return self._session.run(item_map.map_items(self.name, field, method), timeout_s)
