"""Adding items to a collection: which are stored at once, and which images must first be extracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, NotFound, Reason
from fc7_service.collections.collection import Collection
from fc7_service.collections.rows import Item, StoredItem


@dataclass(frozen=True, slots=True)
class NewItem:
    """What a caller wants to store: a feature, or an image of which only the digest matters here."""

    id: str
    content_sha256: str  # hex, of the feature's or the image's bytes
    payload: dict[str, Any]
    vector: NDArray[np.float32] | None = None  # (D,), or None for an image
    has_image: bool = False  # the image was sent, and not only its digest
    has_thumbnail: bool = False  # a thumbnail of the image is to be kept


class Upsert:
    """One call that adds items. Each item ends with a status or with an error of its own.

    Call ``sort``, then ``add_features`` with the features of the images that ``unextracted`` lists, ``add_thumbnails``
    with the thumbnails of those that ``undrawn`` lists, and ``store``.

    Parameters
    ----------
    collection
        Takes the items.
    items
        What to store. An error in the place of an item stays in its place.
    """

    def __init__(self, collection: Collection, items: Sequence[NewItem | Fc7Error]) -> None:
        self._collection, self._items = collection, items
        self._outcomes: list[str | Fc7Error] = [item if isinstance(item, Fc7Error) else "" for item in items]
        self._ready: dict[int, Item] = {}  # position in the call -> item to store
        self.unextracted: list[int] = []  # positions of the items whose images must be extracted
        self.undrawn: list[int] = []  # positions of the items whose images need thumbnails
        self._thumbnails: dict[int, bytes] = {}  # position in the call -> WebP

    def sort(self) -> None:
        """Decide what happens to each item; the feature of stored content is used again."""
        valid = {i: item for i, item in enumerate(self._items) if not isinstance(item, Fc7Error)}
        ids = [item.id for item in valid.values()]
        stored, drawn = self._collection.get(ids, True), self._collection.thumbnails.contents(ids)
        for (i, item), old in zip(valid.items(), stored, strict=True):
            vector = item.vector
            if vector is None and isinstance(old, StoredItem) and old.content_sha256 == item.content_sha256:
                vector = old.vector
            is_drawn = drawn.get(item.id) == item.content_sha256
            if not is_drawn and item.has_image and (item.has_thumbnail or item.id in drawn):
                self.undrawn.append(i)
            if vector is not None and (is_drawn or item.has_image or not item.has_thumbnail):
                self._add(i, item, vector)
            elif item.has_image:
                self.unextracted.append(i)
            else:
                self._outcomes[i] = NotFound(
                    f"Item {item.id!r} is not stored with these bytes. Send them",
                    name=item.id,
                    reason=Reason.CONTENT_NOT_STORED,
                )

    def add_features(self, features: Sequence[NDArray[np.float32] | Fc7Error]) -> None:
        """Take the feature (D,), or the error, of each image that ``unextracted`` lists."""
        for i, feature in zip(self.unextracted, features, strict=True):
            item = self._items[i]
            if isinstance(feature, Fc7Error):
                self._outcomes[i] = feature
            elif not isinstance(item, Fc7Error):
                self._add(i, item, feature)

    def add_thumbnails(self, images: Sequence[bytes]) -> None:
        """Take the thumbnail of each image that ``undrawn`` lists; empty for an image that cannot be read."""
        self._thumbnails = dict(zip(self.undrawn, images, strict=True))

    def store(self, *, is_merged: bool) -> list[str | Fc7Error]:
        """Store what is ready, on disk when this returns; return "added", "replaced", "skipped" or an error per item.

        Raises
        ------
        ResourceExhausted, Unavailable
            As ``Collection.upsert`` does.
        """
        positions = sorted(self._ready)
        errors = self._collection.vector_errors([self._ready[i].vector for i in positions])
        for at, error in errors.items():  # for example of a black image, whose feature has no direction
            self._outcomes[positions[at]] = error
        positions = [i for at, i in enumerate(positions) if at not in errors]
        if positions:
            items = [replace(self._ready[i], thumbnail=self._thumbnails.get(i, b"")) for i in positions]
            statuses = self._collection.upsert(items, is_merged=is_merged)
            for i, status in zip(positions, statuses, strict=True):
                self._outcomes[i] = status
        return self._outcomes

    def _add(self, i: int, item: NewItem, vector: NDArray[np.float32]) -> None:
        self._ready[i] = Item(item.id, item.content_sha256, item.payload, vector)
