"""The methods of a collection that change its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fc7._collection.part import CollectionPart
from fc7._operations import collection, new_items, payloads
from fc7._operations.new_items import Payload
from fc7.features import Features
from fc7.filters import Where
from fc7.images import ImageLike
from fc7.results import (
    Added,
    Removed,
    Updated,
)


class WritingCalls(CollectionPart):
    """Adds items, changes their payloads and deletes them."""

    def add(
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
        keep_thumbnails
            Keep a small copy of each image in the collection, as WebP of at most 256 pixels. See `get`.
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
        return self._session.run(collection.upsert(self, new, True, replace, report, keep_thumbnails), timeout_s)

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
