"""The client that awaits: the same methods as `fc7.client`, on the running event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fc7._calls import admin, collection, feature, items, model
from fc7._calls import head as heads
from fc7._calls.feature import OnError
from fc7._calls.items import Payload
from fc7._session import AsyncSession
from fc7.channel import read_target
from fc7.errors import Fc7Error
from fc7.explain import AsyncExplain
from fc7.features import Features
from fc7.images import ImageLike
from fc7.results import (
    Added,
    Classification,
    CollectionFacts,
    Golden,
    Head,
    Hit,
    Item,
    Metric,
    Model,
    Removed,
    ServerInfo,
)


class AsyncClient:
    """A server of fc7 by its address; an asynchronous context manager.

    It belongs to the event loop that first uses it. Images are read in other threads; ``report`` is
    called on the loop. Cancelling the task cancels the call under way.

    Parameters
    ----------
    address
        HOST:PORT.
    token_file
        A file that holds the token to send.
    tls_ca
        PEM file of the authority that signed the server's certificate; TLS is used.
    timeout_s
        Seconds for each request to the server (long lists take many); 300 by default.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT.
    NotFound
        A file that is named does not exist.
    """

    def __init__(
        self,
        address: str,
        *,
        token_file: Path | str | None = None,
        tls_ca: Path | str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._session = AsyncSession(read_target(address, token_file, tls_ca), timeout_s)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def extract(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnError = "raise",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Features:
        """Return one feature an image, as `Client.extract`."""
        return await self._session.run(
            feature.extract(images, layer, model, ensemble, views, on_error, report), timeout_s
        )

    def extract_stream(
        self, images: Iterable[ImageLike], *, layer: str = "", model: str = "", views: int = 1
    ) -> AsyncIterator[NDArray[np.float32] | Fc7Error]:
        """Yield one feature or error an image, as `Client.extract_stream`."""
        return self._session.iterate(feature.extract_stream(images, layer, model, views))

    async def models(self) -> list[Model]:
        """Return the server's models, as `Client.models`."""
        return await self._session.run(model.list_models())

    async def model(self, name: str = "") -> Model:
        """Return one model, as `Client.model`."""
        return await self._session.run(model.get_model(name))

    async def golden(self, name: str = "") -> Golden:
        """Return a model's golden pictures, as `Client.golden`."""
        return await self._session.run(model.get_golden(name))

    async def create_collection(
        self, name: str, *, layer: str = "", model: str = "", metric: Metric = "cosine"
    ) -> AsyncCollection:
        """Create an empty collection, as `Client.create_collection`."""
        return self._collection(await self._session.run(collection.create(name, layer, model, metric)))

    async def collection(self, name: str) -> AsyncCollection:
        """Return a collection."""
        return self._collection(await self._session.run(collection.get(name)))

    async def collections(self) -> list[AsyncCollection]:
        """Return all collections, by name."""
        return [self._collection(facts) for facts in await self._session.run(collection.list_all())]

    async def delete_collection(self, name: str) -> None:
        """Delete a collection and all its items."""
        await self._session.run(collection.delete(name))

    async def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str = "label",
        images: ImageLike | Iterable[ImageLike] | None = None,
        labels: Iterable[str] | None = None,
        layer: str = "",
        model: str = "",
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head, as `Client.train_head`."""
        plan = heads.plan(name, collection, label, layer, model)
        return await self._session.run(heads.train(plan, images, labels, report))

    async def publish_head(self, name: str, version: int = 0) -> Head:
        """Make a version the one that `classify` uses; 0 for the newest."""
        return await self._session.run(heads.publish(name, version))

    async def head(self, name: str, version: int = 0) -> Head:
        """Return one version of a head; 0 for the newest."""
        return await self._session.run(heads.get(name, version))

    async def heads(self, *, all_versions: bool = False) -> list[Head]:
        """Return the newest version of every head, by name; or all versions, oldest first."""
        return await self._session.run(heads.list_all(all_versions))

    async def delete_head(self, name: str, version: int = 0) -> None:
        """Delete a head, or one version of it; the published version is refused."""
        await self._session.run(heads.delete(name, version))

    async def classify(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        head: str = "",
        head_version: int = 0,
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        top: int = 5,
        report: Callable[[int], object] | None = None,
    ) -> list[Classification]:
        """Return the classes of each image, as `Client.classify`."""
        return await self._session.run(heads.classify(images, head, model, ensemble, views, top, report, head_version))

    @property
    def explain(self) -> AsyncExplain:
        """Why the networks answer as they do, in pixels, as `Client.explain`."""
        return AsyncExplain(self._session)

    async def server_info(self) -> ServerInfo:
        """Return the server's versions, device, limits and data folder; needs scope admin."""
        return await self._session.run(admin.get_server_info())

    async def check_ready(self) -> None:
        """Raise unless a server is there and takes calls, as `Client.check_ready`."""
        await self._session.run(admin.check_ready())

    async def is_ready(self) -> bool:
        """Return whether a server is there and takes calls; False while it starts, drains or is away."""
        return await self._session.run(admin.check_health())

    def _collection(self, facts: CollectionFacts) -> AsyncCollection:
        return AsyncCollection(**vars(facts), _session=self._session)


@dataclass(frozen=True, repr=False)
class AsyncCollection(CollectionFacts):
    """A named set of items, as `Collection`."""

    _session: AsyncSession = field(compare=False)

    async def add(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        ids: Iterable[str] | None = None,
        root: Path | str | None = None,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add or replace images, as `Collection.add`."""
        new = items.from_images(images, ids, root, payloads)
        return await self._session.run(collection.upsert(self.name, new, True, replace, report))

    async def add_vectors(
        self,
        features: Features,
        ids: Iterable[str],
        *,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add features that were extracted before, as `Collection.add_vectors`."""
        new = items.from_features(features, ids, payloads)
        return await self._session.run(collection.upsert(self.name, new, False, replace, report))

    async def search(
        self, image: ImageLike | None = None, *, id: str | None = None, features: Features | None = None, k: int = 10
    ) -> list[Hit]:
        """Return the nearest items, as `Collection.search`."""
        return await self._session.run(collection.search(self.name, image, id, features, k))

    async def search_many(self, images: ImageLike | Iterable[ImageLike], *, k: int = 10) -> list[list[Hit] | Fc7Error]:
        """Return the nearest items of each image, or its error, in input order."""
        return await self._session.run(collection.search_many(self.name, images, k))

    async def get(self, ids: Iterable[str], *, with_features: bool = False) -> list[Item | Fc7Error]:
        """Return the items of these ids, or why they are not there, in the order given."""
        return await self._session.run(collection.get_items(self, ids, with_features))

    def items(self, *, with_features: bool = False) -> AsyncIterator[Item]:
        """Yield all items in the order of their first insertion, fetched page by page."""
        return self._session.iterate(collection.list_items(self, with_features))

    async def remove(self, ids: Iterable[str]) -> list[Removed]:
        """Delete items; one that was not there has its error."""
        return await self._session.run(collection.delete_items(self.name, ids))
