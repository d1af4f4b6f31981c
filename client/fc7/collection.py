"""A collection of the client that waits for its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7._operations import collection, duplicates, facets, item_map, new_items, payloads, tables
from fc7._operations import labels as label_records
from fc7._operations import search as searching
from fc7._operations.new_items import Payload
from fc7._session import Session
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
    Labelled,
    Recall,
    Removed,
    Updated,
)
from fc7.searches import Example, Hits, Search, Threshold

if TYPE_CHECKING:
    import pyarrow


@dataclass(repr=False, eq=False)
class Collection(CollectionFacts):
    """A named set of items whose features were made in the same way.

    ``len(collection)`` asks the server for the number of items, ``id in collection`` looks for one item, and
    iterating yields all items, page by page.

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

    _session: Session

    def __len__(self) -> int:
        self.refresh()
        return self.count

    def __bool__(self) -> bool:
        return True  # even if it is empty, and without asking the server

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._session.run(collection.contains(self, id))

    def __iter__(self) -> Iterator[Item]:
        return self.items()

    def refresh(self, *, find_damage: bool = False, timeout_s: float | None = None) -> None:
        """Ask the server for the attributes of this collection.

        Parameters
        ----------
        find_damage
            Let the server read all items first, so that ``damaged_ids`` names all that are damaged.

        Raises
        ------
        NotFound
            The collection was deleted.
        """
        vars(self).update(vars(self._session.run(collection.get(self.name, find_damage), timeout_s)))

    def add(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        ids: Iterable[str] | None = None,
        root: Path | str | None = None,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add images. An image whose id is stored replaces the stored one.

        The same bytes under the same id are skipped. An image from another path than the stored one is refused,
        unless ``replace`` is set: it fails, and nothing is erased.

        Parameters
        ----------
        images
            See `Client.extract`. Files are read when their turn comes.
        ids
            One id per image. Defaults to the path below ``root`` with "/", or to the file's name if there is no
            ``root``.
        root
            Folder that the ids are relative to.
        payloads
            One JSON object per image, at most 64 KiB. Defaults to {"path": ABSOLUTE PATH} for paths, {"url": URL}
            for URLs, otherwise {}. Its keys are set in the stored payload; other keys stay.
        replace
            Replace whatever is stored under the id, from any path, and the whole payload. `update` changes payloads
            alone.
        timeout_s
            Seconds for the whole call. Defaults to the client's ``timeout_s``.
        report
            Called for each image as soon as the server has answered. What is reported as added or replaced is on
            disk.

        Returns
        -------
        list of Added
            One result per image, in input order. A failed image has its error, and nothing was written for it.

        Raises
        ------
        InvalidArgument
            An image has neither a path nor an id, or the lists have different lengths.

        Examples
        --------
        >>> [added.status for added in photos.add(["a.jpg", "rose1.jpg"])]
        ['skipped', 'added']
        """
        new = new_items.from_images(images, ids, root, payloads)
        return self._session.run(collection.upsert(self, new, True, replace, report), timeout_s)

    def add_vectors(
        self,
        features: Features,
        ids: Iterable[str],
        *,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add features that were extracted before.

        Parameters
        ----------
        features
            Features of the collection's provenance.
        ids
            One id per row.
        payloads, replace, report
            See `add`.

        Returns
        -------
        list of Added
            One result per row, in input order.

        Raises
        ------
        InvalidArgument
            There are not as many ids as rows.
        FailedPrecondition
            The features were made with another model, layer or preprocessing.
        """
        new = new_items.from_features(features, ids, payloads)
        return self._session.run(collection.upsert(self, new, False, replace, report), timeout_s)

    def search(
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
        """Return the nearest items, nearest first.

        Give one of ``image``, ``id``, ``features`` and ``examples``.

        Parameters
        ----------
        image
            Query image. See `Client.extract`.
        id
            Id of a stored item, which is left out of its own result.
        features
            Features of one row: ``features[i]``.
        examples
            Several `Example`, to look for or to keep away from. Items are ranked by their similarity to each example,
            times its weight, summed up. Similarity is the metric; for "l2" it is minus the squared distance.
        k
            How many items to return, at least 1. Defaults to 10.
        where
            Search only among the items that match this filter, such as ``fc7.F("year") >= 2020`` or the text
            ``"year >= 2020"``. As many as ``k`` of them are returned. Defaults to all items.
        search
            Everything else that a search can ask for. It holds ``k`` and ``where`` too.

        Returns
        -------
        Hits
            A list of `Hit`, with a `SearchReport` that says how the search was done.

        Raises
        ------
        InvalidArgument
            A value breaks a rule, more than one query is given, or the filter cannot be read.
        NotFound
            There is no such item or file.
        FailedPrecondition
            The features were made with another model, layer or preprocessing.

        Examples
        --------
        >>> [hit.id for hit in photos.search("a.jpg", k=1)]
        ['a.jpg']
        >>> likes = [fc7.Example("a.jpg"), fc7.Example(id="rose1.jpg", weight=-0.5)]
        >>> photos.search(examples=likes, search=fc7.Search(k=1, min_score=0.5))[0].id
        'a.jpg'
        """
        queries, asked = searching.Queries(image, id, features, examples), searching.options(k, where, search)
        return self._session.run(searching.search(self.name, queries, asked), timeout_s)

    def search_many(
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
        """Return the nearest items of many queries, in input order.

        Give one of ``images``, ``ids``, ``features`` and ``examples``.

        Parameters
        ----------
        images
            Query images.
        ids
            Ids of stored items. Each is left out of its own result.
        features
            Features, one query per row.
        examples
            Per query a list of `Example`. See `search`.
        k
            How many items to return per query, at least 1. Defaults to 10.
        where, search
            See `search`.

        Returns
        -------
        list
            Per query its `Hits`, or the error of a query that failed.
        """
        queries, asked = searching.Queries(images, ids, features, examples), searching.options(k, where, search)
        return self._session.run(searching.search_many(self.name, queries, asked), timeout_s)

    def tune(self, recall: float, *, timeout_s: float | None = None) -> Recall:
        """Let the index search just as hard as a recall needs, measured on stored items.

        The recall stays the target of the collection: when that of recent queries is too low, the server raises the
        effort.

        Parameters
        ----------
        recall
            Share of the ten nearest items that the index is to find, 0.5 to 0.999.

        Returns
        -------
        Recall
            What was measured with the new effort. Its ``queries`` is 0 if the index compares every vector.

        Raises
        ------
        InvalidArgument
            ``recall`` is out of range.
        """
        return self._session.run(collection.tune(self.name, recall), timeout_s)

    def threshold(self, false_matches: float, *, timeout_s: float | None = None) -> Threshold:
        """Return the lowest score that random pairs of items reach no more often than this.

        Parameters
        ----------
        false_matches
            Share of random pairs that may reach the score, above 0 and at most 1.

        Returns
        -------
        Threshold
            The score, for ``Search(min_score=...)``, and how many pairs were compared.

        Raises
        ------
        InvalidArgument
            ``false_matches`` is lower than so many pairs can tell, or not a share.
        FailedPrecondition
            The collection has fewer than two items, or so many duplicates that no score is rare enough.
        """
        return self._session.run(searching.threshold(self.name, false_matches), timeout_s)

    def get(
        self, ids: Iterable[str], *, with_features: bool = False, timeout_s: float | None = None
    ) -> list[Item | Fc7Error]:
        """Return items by their ids, in the order given.

        Parameters
        ----------
        ids
            Ids of the items.
        with_features
            Return the features too.

        Returns
        -------
        list of Item or Fc7Error
            An id that is not stored gives a `NotFound` error in its place.
        """
        return self._session.run(collection.get_items(self, ids, with_features), timeout_s)

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

    def duplicates(
        self,
        *,
        min_score: float | None = None,
        max_rarity: float | None = None,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[DuplicateGroup]:
        """Yield groups of items that are the same or nearly so. Within a group, every pair is near enough.

        An item is in one group at most. To compare one new picture with all items, call `search` with ``min_score``.

        Parameters
        ----------
        min_score
            The least score of a pair. Defaults to 0.97, which fits the metric cosine.
        max_rarity
            Instead of a score: its rarity, the share of random pairs of the collection that are at least as near.
        where
            Compare only the items that match this filter. See `search`.

        Raises
        ------
        InvalidArgument
            No pair, or every pair, reaches the score.
        FailedPrecondition
            The metric is "dot".

        Examples
        --------
        >>> [group.ids for group in photos.duplicates(min_score=0.999)]
        []
        """
        return self._session.iterate(duplicates.find(self.name, min_score, max_rarity, where), timeout_s)

    def map(self, field: str = "", *, timeout_s: float | None = None) -> ItemMap:
        """Return where the items lie along the two directions in which their features vary most.

        Parameters
        ----------
        field
            Return each item's value of this payload field too. Short text, numbers and booleans count.

        References
        ----------
        Pearson 1901 (principal components).

        Examples
        --------
        >>> photos.map("label").positions.shape == (photos.count, 2)
        True
        """
        return self._session.run(item_map.map_items(self.name, field), timeout_s)

    def update(
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
        """Change payloads, and leave the features alone.

        Give one of ``ids`` and ``where``.

        Parameters
        ----------
        ids
            Ids of the items. A dictionary gives each id the keys to set in its own payload.
        where
            Change all items that match this filter. See `search`. Each is changed once, even if it matches again
            afterwards.
        set
            Keys to set, with their values. Other keys stay.
        remove
            Keys to remove first. Keys are those of the payload's top level.
        replace
            Remove all keys first, so that the payload is ``set``.
        timeout_s
            Seconds for the whole call. Defaults to the client's ``timeout_s``.
        report
            Called for each item as soon as the server has answered. What is reported is on disk.

        Returns
        -------
        list of Updated
            One result per id, each id once; with ``where``, one result per item that matched. An id that is not stored
            has a `NotFound` error.

        Raises
        ------
        InvalidArgument
            Neither ``ids`` nor ``where`` is given, or both are, there is nothing to change, or the filter cannot be
            read.

        Examples
        --------
        >>> [item.status for item in photos.update(["a.jpg"], set={"stars": 5})]
        ['updated']
        """
        operation = payloads.update(self.name, ids, where, set, remove, replace, report)
        return self._session.run(operation, timeout_s)

    def add_labels(
        self,
        labels: Iterable[Label],
        *,
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record what somebody says about items.

        Parameters
        ----------
        labels
            The labels. A label is not recorded again if its author's newest record about this item and label says the
            same.
        report
            Called for each label as soon as the server has answered. What is reported is on disk.

        Returns
        -------
        list of Labelled
            One result per label, in input order. An id that is not stored has a `NotFound` error.

        Examples
        --------
        >>> labels = [fc7.Label("a.jpg", "cat", by="ann"), fc7.Label("a.jpg", "dog", "negative", by="ann")]
        >>> [one.status for one in photos.add_labels(labels)]
        ['labelled', 'labelled']
        """
        return self._session.run(label_records.add(self.name, labels, report), timeout_s)

    def labels(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str = "",
        by: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[Label]:
        """Yield label records, oldest first. They are fetched page by page.

        A record stays until its item is deleted. For one item and label, the newest record holds.

        Parameters
        ----------
        ids
            Only records about these items, up to 500 of them at a time. Defaults to all.
        label
            Only records of this label. Defaults to all.
        by
            Only records by this person or head. Defaults to all.
        """
        return self._session.iterate(label_records.list_all(self.name, ids, label, by), timeout_s)

    def undo_labels(
        self, ids: Iterable[str], *, label: str = "", by: str = "", timeout_s: float | None = None
    ) -> list[Label | Fc7Error]:
        """Take back the newest label record of each item, so that the one before it holds again.

        Parameters
        ----------
        ids
            Ids of the items.
        label
            Only a record of this label. Defaults to any.
        by
            Only a record by this person or head. Defaults to any.

        Returns
        -------
        list of Label or Fc7Error
            The record that is gone, or a `NotFound` error if there is none.
        """
        return self._session.run(label_records.undo(self.name, ids, label, by), timeout_s)

    def remove(
        self,
        ids: Iterable[str] | None = None,
        *,
        where: Where | None = None,
        timeout_s: float | None = None,
        report: Callable[[Removed], object] | None = None,
    ) -> list[Removed]:
        """Delete items: those with the given ids, or those that match a filter.

        Give one of ``ids`` and ``where``.

        Parameters
        ----------
        ids
            Ids of the items.
        where
            Delete all items that match this filter. See `search`. Items that others add meanwhile may stay.
        timeout_s
            Seconds for the whole call. Defaults to the client's ``timeout_s``.
        report
            Called for each id as soon as the server has answered. If a later part of the call fails, it has been told
            of everything that was deleted before.

        Returns
        -------
        list of Removed
            One result per id. An id that is not stored has a `NotFound` error. With ``where``, one result per deleted
            item.

        Raises
        ------
        InvalidArgument
            Neither ``ids`` nor ``where`` is given, or both are, or the filter cannot be read.
        """
        return self._session.run(collection.delete_items(self, ids, where, report), timeout_s)
