"""The client that awaits: the same methods as `fc7.client`, on the running event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from fc7._async_session import AsyncSession
from fc7._operations import admin, collection, feature, model
from fc7._operations import head as heads
from fc7._operations.feature import OnError, OnStreamError
from fc7._session import Session
from fc7.async_collection import AsyncCollection
from fc7.client import connect_local, find_server
from fc7.endpoint import Endpoint
from fc7.explain import AsyncExplain
from fc7.feature_stream import AsyncFeatureStream
from fc7.features import Features
from fc7.images import ImageLike
from fc7.results import (
    Classification,
    CollectionFacts,
    Golden,
    Head,
    Metric,
    Model,
    ServerInfo,
)


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
        endpoint = find_server(address, data, models, device, threads, token_file, tls_ca)

        def reach() -> Endpoint | Session:
            return endpoint or connect_local(data, models=models, device=device, threads=threads)._session

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
