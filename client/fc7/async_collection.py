"""A collection, as the client that awaits returns it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fc7._async_session import AsyncSession
from fc7._operations import collection, new_items
from fc7._operations.new_items import Payload
from fc7.errors import Fc7Error
from fc7.features import Features
from fc7.images import ImageLike
from fc7.results import (
    Added,
    CollectionFacts,
    Hit,
    Item,
    Removed,
)


@dataclass(repr=False, eq=False)
class AsyncCollection(CollectionFacts):
    """A named set of items, as `Collection`."""

    _session: AsyncSession

    def __aiter__(self) -> AsyncIterator[Item]:
        return self.items()

    async def refresh(self, *, timeout_s: float | None = None) -> None:
        """Ask the server for the facts of this collection as they are now."""
        vars(self).update(vars(await self._session.run(collection.get(self.name), timeout_s)))

    async def add(
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
        """Add or replace images, as `Collection.add`."""
        new = new_items.from_images(images, ids, root, payloads)
        return await self._session.run(collection.upsert(self, new, True, replace, report), timeout_s)

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
        """Add features that were extracted before, as `Collection.add_vectors`."""
        new = new_items.from_features(features, ids, payloads)
        return await self._session.run(collection.upsert(self, new, False, replace, report), timeout_s)

    async def search(
        self,
        image: ImageLike | None = None,
        *,
        id: str | None = None,
        features: Features | None = None,
        k: int = 10,
        timeout_s: float | None = None,
    ) -> list[Hit]:
        """Return the nearest items, as `Collection.search`."""
        return await self._session.run(collection.search(self.name, image, id, features, k), timeout_s)

    async def search_many(
        self,
        images: ImageLike | Iterable[ImageLike] | None = None,
        *,
        ids: Iterable[str] | None = None,
        features: Features | None = None,
        k: int = 10,
        timeout_s: float | None = None,
    ) -> list[list[Hit] | Fc7Error]:
        """Return the nearest items of each image, stored item or row of features, in input order.

        A query that fails is answered by its error.
        """
        operation = collection.search_many(self.name, images, ids, features, k)
        return await self._session.run(operation, timeout_s)

    async def get(
        self, ids: Iterable[str], *, with_features: bool = False, timeout_s: float | None = None
    ) -> list[Item | Fc7Error]:
        """Return the items of these ids, or why they are not there, in the order given."""
        return await self._session.run(collection.get_items(self, ids, with_features), timeout_s)

    def items(self, *, with_features: bool = False, timeout_s: float | None = None) -> AsyncIterator[Item]:
        """Yield all items in the order of their first insertion, fetched page by page."""
        return self._session.iterate(collection.list_items(self, with_features), timeout_s)

    async def remove(self, ids: Iterable[str], *, timeout_s: float | None = None) -> list[Removed]:
        """Delete items; one that was not there has its error."""
        return await self._session.run(collection.delete_items(self, ids), timeout_s)
