"""The client that awaits its answers, on the running event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from fc7._async_session import AsyncSession
from fc7._connect import connect_local, find_server
from fc7._operations import admin, collection, feature, head_items, head_labels, head_trials, model
from fc7._operations import head as heads
from fc7._operations import head_export as head_exports
from fc7._operations import head_report as head_reports
from fc7._operations import head_weights as weights_of_heads
from fc7._operations.feature import OnError, OnStreamError
from fc7._session import Session
from fc7.async_collection import AsyncCollection
from fc7.endpoint import Endpoint
from fc7.explain import AsyncExplain
from fc7.feature_stream import AsyncFeatureStream
from fc7.features import Features
from fc7.filters import Where
from fc7.head_report import HeadReport
from fc7.head_trials import ComparedHeads, ItemSample, Shadow
from fc7.head_weights import HeadWeights
from fc7.images import ImageLike
from fc7.results import (
    Classification,
    ClassifiedItem,
    CollectionFacts,
    Golden,
    Head,
    Metric,
    Model,
    ReloadedModel,
    ServerInfo,
    Suggestion,
)
from fc7.searches import Hit


class AsyncClient:
    """A connection to a server for asyncio. Its methods are those of `Client`; it is an asynchronous context manager.

    - Without an address, the server is started or reached in another thread, when the block is entered or a method
      is first called. Errors of that are raised there.
    - A client belongs to the event loop that first uses it. Images are read in other threads. ``report`` is called
      on the loop.
    - Cancelling a task cancels its call. If many long lists are sent at once, four batches are on their way, and the
      others wait.

    Parameters
    ----------
    address, data, models, device, threads, token_file, tls_ca, tls_client, timeout_s
        See `connect`.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, or an argument does not fit the others.
    NotFound
        A file does not exist.

    Examples
    --------
    >>> async def count() -> int:
    ...     async with fc7.AsyncClient(data="data") as client:
    ...         return len(await client.collections())
    >>> asyncio.run(count())
    0
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        data: Path | str | None = None,
        models: Sequence[str] = (),
        device: str = "auto",
        threads: int | None = None,
        token_file: Path | str | None = None,
        tls_ca: Path | str | None = None,
        tls_client: Path | str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        endpoint = find_server(address, data, models, device, threads, token_file, tls_ca, tls_client)

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
        """Close the connection. Stop the server if it was started here."""
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
        """Return one feature per image, in input order. See `Client.extract`."""
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
        """Yield one feature or error per image, in input order. See `Client.extract_stream`."""
        facts = feature.StreamFacts()
        operation = feature.extract_stream(images, layer, model, ensemble, views, on_error, facts)
        return AsyncFeatureStream(self._session.iterate(operation, timeout_s), facts)

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the server's models, the default one first. See `Client.models`."""
        return await self._session.run(model.list_models(), timeout_s)

    async def model(self, name: str = "", *, timeout_s: float | None = None) -> Model:
        """Return one model with its classes and its card. See `Client.model`."""
        return await self._session.run(model.get_model(name), timeout_s)

    async def golden(self, name: str = "", *, timeout_s: float | None = None) -> Golden:
        """Return a model's reference pictures and their features. See `Client.golden`."""
        return await self._session.run(model.get_golden(name), timeout_s)

    async def load_model(
        self, bundle: str | os.PathLike[str], *, default: bool = False, timeout_s: float | None = None
    ) -> Model:
        """Have the server serve one more model. See `Client.load_model`."""
        return await self._session.run(model.load(bundle, default), timeout_s)

    async def reload_model(
        self,
        name: str = "",
        bundle: str | os.PathLike[str] = "",
        *,
        keep_old: bool = False,
        timeout_s: float | None = None,
    ) -> ReloadedModel:
        """Have the server replace a model by a newer version of it. See `Client.reload_model`."""
        return await self._session.run(model.reload(name, bundle, keep_old), timeout_s)

    async def unload_model(self, name: str, *, timeout_s: float | None = None) -> int:
        """Have the server stop serving a model. See `Client.unload_model`."""
        return await self._session.run(model.unload(name), timeout_s)

    async def create_collection(
        self,
        name: str,
        *,
        layer: str = "",
        model: str = "",
        metric: Metric = "cosine",
        recall: float | None = None,
        timeout_s: float | None = None,
    ) -> AsyncCollection:
        """Create an empty collection for the features of one layer of one model. See `Client.create_collection`."""
        operation = collection.create(name, layer, model, metric, recall)
        return self._collection(await self._session.run(operation, timeout_s))

    async def collection(self, name: str, *, check: bool = True, timeout_s: float | None = None) -> AsyncCollection:
        """Return a collection. See `Client.collection`."""
        facts = await self._session.run(collection.get(name), timeout_s) if check else collection.unknown(name)
        return self._collection(facts)

    async def collections(self, *, timeout_s: float | None = None) -> list[AsyncCollection]:
        """Return all collections, sorted by name. See `Client.collections`."""
        return [self._collection(facts) for facts in await self._session.run(collection.list_all(), timeout_s)]

    async def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Delete a collection and all its items. See `Client.delete_collection`."""
        await self._session.run(collection.delete(name), timeout_s)

    async def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str | None = "label",
        records: bool = False,
        group: str | None = None,
        instant: bool = False,
        balanced: bool = False,
        images: ImageLike | Iterable[ImageLike] | None = None,
        features: Features | None = None,
        labels: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        weights: Iterable[float] | None = None,
        source: str = "",
        layer: str = "",
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head. See `Client.train_head`."""
        plan = heads.plan(name, collection, label, layer, model, features, source, group, records, instant, balanced)
        return await self._session.run(
            heads.train(plan, images, features, labels, report, ids, groups, weights), timeout_s
        )

    async def publish_head(
        self, name: str, version: int = 0, *, refuse_unknown: bool = False, timeout_s: float | None = None
    ) -> Head:
        """Make a version the one that `classify` uses. See `Client.publish_head`."""
        return await self._session.run(heads.publish(name, version, refuse_unknown), timeout_s)

    async def head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Return one version of a head. See `Client.head`."""
        return await self._session.run(heads.get(name, version), timeout_s)

    async def head_report(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> HeadReport:
        """Return what is known about a version and its training pictures. See `Client.head_report`."""
        return await self._session.run(head_reports.get(name, version), timeout_s)

    async def head_weights(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> HeadWeights:
        """Return the weights of a head, for use elsewhere. See `Client.head_weights`."""
        return await self._session.run(weights_of_heads.get(name, version), timeout_s)

    async def import_head(
        self, name: str, weights: HeadWeights, *, source: str = "", timeout_s: float | None = None
    ) -> Head:
        """Store weights that were fitted elsewhere as the next version of a head. See `Client.import_head`."""
        return await self._session.run(weights_of_heads.store(name, weights, source), timeout_s)

    async def compare_heads(
        self,
        first: str,
        second: str,
        *,
        collection: str | None = None,
        label: str | None = "label",
        records: bool = False,
        where: Where | None = None,
        images: ImageLike | Iterable[ImageLike] | None = None,
        labels: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> ComparedHeads:
        """Say which of two heads is better on the same labelled pictures. See `Client.compare_heads`."""
        operation = head_trials.compare(first, second, collection, label, records, where, images, labels, ids, report)
        return await self._session.run(operation, timeout_s)

    async def set_shadow(
        self, name: str, version: int | None, *, share: float = 0.1, timeout_s: float | None = None
    ) -> Shadow | None:
        """Let a version answer a share of the live calls, out of sight. See `Client.set_shadow`."""
        return await self._session.run(head_trials.set_shadow(name, version, share), timeout_s)

    async def shadow(self, name: str, *, timeout_s: float | None = None) -> Shadow | None:
        """Return how often the version in the shadow agreed with the published one. See `Client.shadow`."""
        return await self._session.run(head_trials.get_shadow(name), timeout_s)

    async def export_head(
        self, name: str, folder: str | os.PathLike[str], *, version: int = 0, timeout_s: float | None = None
    ) -> Head:
        """Write a head and its network to a folder. See `Client.export_head`."""
        return await self._session.run(head_exports.export(name, Path(folder), version), timeout_s)

    async def heads(self, *, all_versions: bool = False, timeout_s: float | None = None) -> list[Head]:
        """Return the newest version of every head, or all versions. See `Client.heads`."""
        return await self._session.run(heads.list_all(all_versions), timeout_s)

    async def delete_head(
        self,
        name: str,
        version: int | None = None,
        *,
        all_versions: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Delete one version of a head, or the whole head. See `Client.delete_head`."""
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
        refuse_unknown: bool = False,
        coverage: float | None = None,
        also: Sequence[str] = (),
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[Classification]:
        """Return the most probable classes of each image, in input order. See `Client.classify`."""
        operation = heads.classify(
            images, head, model, ensemble, views, top, report, head_version, refuse_unknown, coverage, also
        )
        return await self._session.run(operation, timeout_s)

    async def classify_items(
        self,
        collection: str,
        *,
        head: str,
        head_version: int = 0,
        where: Where | None = None,
        write: str | None = None,
        refuse_unknown: bool = False,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[ClassifiedItem]:
        """Classify the items of a collection from their stored features. See `Client.classify_items`."""
        operation = head_items.classify(collection, head, head_version, where, write, refuse_unknown, report)
        return await self._session.run(operation, timeout_s)

    async def rank_items(
        self,
        collection: str,
        label: str,
        *,
        head: str,
        head_version: int = 0,
        k: int = 10,
        near_score: float | None = None,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> list[Hit]:
        """Return the items that are most probably of a class, best first. See `Client.rank_items`."""
        operation = head_items.rank(collection, label, head, head_version, k, near_score, where)
        return await self._session.run(operation, timeout_s)

    async def suggest_items(
        self,
        collection: str,
        *,
        head: str,
        head_version: int = 0,
        n: int = 20,
        strategy: str = "auto",
        label: str = "label",
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> list[Suggestion]:
        """Return which items to label next. See `Client.suggest_items`."""
        operation = head_items.suggest(collection, head, head_version, n, strategy, label, where)
        return await self._session.run(operation, timeout_s)

    async def label_items(
        self,
        collection: str,
        *,
        head: str,
        above: float,
        head_version: int = 0,
        where: Where | None = None,
        dry_run: bool = False,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[ClassifiedItem]:
        """Write label records by a head about the items that it is sure of. See `Client.label_items`."""
        operation = head_labels.label_items(collection, head, head_version, above, where, dry_run, report)
        return await self._session.run(operation, timeout_s)

    async def sample_items(
        self,
        collection: str,
        label: str,
        *,
        head: str,
        head_version: int = 0,
        n: int = 100,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> ItemSample:
        """Draw items for a person to check, for counting a class. See `Client.sample_items`."""
        operation = head_trials.sample_items(collection, label, head, head_version, n, where)
        return await self._session.run(operation, timeout_s)

    @property
    def explain(self) -> AsyncExplain:
        """Explanations: which parts of a picture an answer rests on. See `Client.explain`."""
        return AsyncExplain(self._session)

    async def server_info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's versions, device, limits and data folder. See `Client.server_info`."""
        return await self._session.run(admin.get_server_info(), timeout_s)

    async def check_ready(self, *, timeout_s: float = 5.0) -> None:
        """Raise an error that says why, unless the server takes calls. See `Client.check_ready`."""
        await self._session.run(admin.check_ready(), timeout_s)

    async def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the server takes calls. See `Client.is_ready`."""
        return await self._session.run(admin.check_health(), timeout_s)

    def _collection(self, facts: CollectionFacts) -> AsyncCollection:
        return AsyncCollection(**vars(facts), _session=self._session)
