"""The client that awaits: the same methods as `fc7.client`, on the running event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fc7._calls import admin, collection, feature, items, model
from fc7._calls import head as heads
from fc7._calls.feature import OnError, OnStreamError
from fc7._calls.items import Payload
from fc7._session import AsyncSession, Session
from fc7.channel import Target
from fc7.client import connect_local, find_server
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
from fc7.stream import AsyncFeatureStream


class AsyncClient:
    """A server of fc7, or the same server started in this process; an asynchronous context manager.

    It belongs to the event loop that first uses it. Images are read in other threads; ``report`` is
    called on the loop. Cancelling the task cancels the call under way. Of many long lists at once, four batches are
    under way; the others wait for their turn.

    Without an address the server is reached or started, in another thread, when the block is entered or a method is
    first called; what keeps it from starting is raised there. Leaving the block, or `close`, stops it.

    Parameters
    ----------
    address, data, models, device, threads, token_file, tls_ca, timeout_s
        As `connect` takes them.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, or an argument does not go with the others.
    NotFound
        A file that is named does not exist.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        data: Path | str | None = None,
        models: Sequence[str] = (),
        device: str = "auto",
        threads: int | None = None,
        token_file: Path | str | None = None,
        tls_ca: Path | str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        target = find_server(address, data, models, device, threads, token_file, tls_ca)

        def reach() -> Target | Session:
            return target or connect_local(data, models=models, device=device, threads=threads)._session

        self._session = AsyncSession(reach, timeout_s)

    async def __aenter__(self) -> AsyncClient:
        await self._session.connect()
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
        self,
        images: Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnStreamError = "yield",
        timeout_s: float | None = None,
    ) -> AsyncFeatureStream:
        """Yield one feature or error per image, as `Client.extract_stream`."""
        facts = feature.StreamFacts()
        operation = feature.extract_stream(images, layer, model, ensemble, views, on_error, facts)
        return AsyncFeatureStream(self._session.iterate(operation, timeout_s), facts)

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the server's models, as `Client.models`."""
        return await self._session.run(model.list_models(), timeout_s)

    async def model(self, name: str = "", *, timeout_s: float | None = None) -> Model:
        """Return one model, as `Client.model`."""
        return await self._session.run(model.get_model(name), timeout_s)

    async def golden(self, name: str = "", *, timeout_s: float | None = None) -> Golden:
        """Return a model's golden pictures, as `Client.golden`."""
        return await self._session.run(model.get_golden(name), timeout_s)

    async def create_collection(
        self, name: str, *, layer: str = "", model: str = "", metric: Metric = "cosine", timeout_s: float | None = None
    ) -> AsyncCollection:
        """Create an empty collection, as `Client.create_collection`."""
        return self._collection(await self._session.run(collection.create(name, layer, model, metric), timeout_s))

    async def collection(self, name: str, *, check: bool = True, timeout_s: float | None = None) -> AsyncCollection:
        """Return a collection, as `Client.collection`."""
        facts = await self._session.run(collection.get(name), timeout_s) if check else collection.unknown(name)
        return self._collection(facts)

    async def collections(self, *, timeout_s: float | None = None) -> list[AsyncCollection]:
        """Return all collections, by name."""
        return [self._collection(facts) for facts in await self._session.run(collection.list_all(), timeout_s)]

    async def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Delete a collection and all its items."""
        await self._session.run(collection.delete(name), timeout_s)

    async def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str = "label",
        images: ImageLike | Iterable[ImageLike] | None = None,
        features: Features | None = None,
        labels: Iterable[str] | None = None,
        layer: str = "",
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head, as `Client.train_head`."""
        plan = heads.plan(name, collection, label, layer, model, features)
        return await self._session.run(heads.train(plan, images, features, labels, report), timeout_s)

    async def publish_head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Make a version the one that `classify` uses; 0 for the newest."""
        return await self._session.run(heads.publish(name, version), timeout_s)

    async def head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Return one version of a head; 0 for the newest."""
        return await self._session.run(heads.get(name, version), timeout_s)

    async def heads(self, *, all_versions: bool = False, timeout_s: float | None = None) -> list[Head]:
        """Return the newest version of every head, by name; or all versions, oldest first."""
        return await self._session.run(heads.list_all(all_versions), timeout_s)

    async def delete_head(
        self,
        name: str,
        version: int | None = None,
        *,
        all_versions: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Delete a version of a head that is not published or, with ``all_versions``, the whole head."""
        await self._session.run(heads.delete(name, version, all_versions), timeout_s)

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
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[Classification]:
        """Return the classes of each image, as `Client.classify`."""
        return await self._session.run(
            heads.classify(images, head, model, ensemble, views, top, report, head_version), timeout_s
        )

    @property
    def explain(self) -> AsyncExplain:
        """Why the networks answer as they do, in pixels, as `Client.explain`."""
        return AsyncExplain(self._session)

    async def server_info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's versions, device, limits and data folder; needs scope admin."""
        return await self._session.run(admin.get_server_info(), timeout_s)

    async def check_ready(self, *, timeout_s: float = 5.0) -> None:
        """Raise unless a server is there and takes calls, as `Client.check_ready`."""
        await self._session.run(admin.check_ready(), timeout_s)

    async def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether a server is there and takes calls; False while it starts, drains or is away."""
        return await self._session.run(admin.check_health(), timeout_s)

    def _collection(self, facts: CollectionFacts) -> AsyncCollection:
        return AsyncCollection(**vars(facts), _session=self._session)


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
        new = items.from_images(images, ids, root, payloads)
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
        new = items.from_features(features, ids, payloads)
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
