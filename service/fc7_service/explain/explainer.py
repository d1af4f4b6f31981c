"""Explanations of a server's networks: each call becomes jobs for the one thread that explains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument, Reason
from fc7_service.bundle.provenance import Provenance
from fc7_service.explain import occlusion
from fc7_service.explain.classes import Classes, classes_of_last_layer, network_classes
from fc7_service.explain.deconvnet import STRONGEST_POSITION, check_units, peaks, project_units, strongest_units
from fc7_service.explain.explain_thread import MAX_CALLS, ExplainThread, Stopwatch, TakeTurn
from fc7_service.explain.explanations import ClassExplanation, MatchExplanation, explain_class, explain_match
from fc7_service.explain.network import Network, check_rule
from fc7_service.explain.prepared_image import ImageInput, PreparedImage, PrepareImage
from fc7_service.explain.projection import Place, Projection
from fc7_service.explain.session_cache import OpenSession, SessionCache
from fc7_service.explain.top_images import DIGEST_BYTES, TopImages, TopImagesStore
from fc7_service.served.table import ModelTable

T = TypeVar("T")

_MAX_PASSES = MAX_CALLS // 2  # a pass may last for hours; the other places are for short calls
_PATIENCE_S = 60.0


class Explainer:
    """Explains what networks see in images.

    Each call raises ResourceExhausted if too many calls are running, and Unavailable once the explainer is closed.

    Parameters
    ----------
    models
        The networks.
    open_session
        Opens a session over an ONNX file, with the same settings as for features.
    prepare_image
        Prepares an image as a recipe says.
    folder
        For passes over many images; made when it is needed.
    turn
        Waits for the turn of each job, and holds it.
    """

    def __init__(
        self,
        models: ModelTable,
        *,
        open_session: OpenSession,
        prepare_image: PrepareImage,
        folder: Path,
        turn: TakeTurn,
    ) -> None:
        self._thread = ExplainThread(turn)
        self._sessions = SessionCache(open_session, self._thread.check)
        self._models = models
        self._prepare_image = prepare_image
        self._top_images = TopImagesStore(folder)
        self._own: WeakKeyDictionary[Network, Classes] = (
            WeakKeyDictionary()
        )  # own classes with the weights of their last layer

    def close(self) -> None:
        """Let the running job end."""
        self._thread.close()

    async def project_units(
        self,
        model: str,
        layer: str,
        image: ImageInput,
        *,
        units: Sequence[int],
        positions: Sequence[int],
        n_strongest: int,
        rule: str,
    ) -> tuple[PreparedImage, list[Projection], Stopwatch]:
        """Project units of a layer (those named, or the strongest) to the pixels that made them fire.

        Raises
        ------
        InvalidArgument
            A rule, unit or position does not exist, or positions come without units.
        FailedPrecondition, NotFound
            The network has no deconvnet, or its deconvnet does not reach this layer.
        ImageDecodeError
            The image cannot be read.
        """
        network, rule = self._network(model), check_rule(rule)
        if positions and not units:
            raise InvalidArgument("positions need units. Name one unit per position", name="positions")

        def job() -> tuple[PreparedImage, list[Projection]]:
            network.deconv_layer(layer)
            view = self._view(network, layer, image, stopwatch)
            chosen = list(units) or strongest_units(network, layer, view, n_strongest)
            at = list(positions) or [STRONGEST_POSITION] * len(chosen)
            return view, project_units(network, layer, view, chosen, at, rule)

        with self._thread.hold_place() as stopwatch:
            return *await self._thread.run(stopwatch, job), stopwatch

    async def explain_match(
        self, model: str, layer: str, query: ImageInput, neighbour: ImageInput, *, n_strongest: int, rule: str
    ) -> tuple[MatchExplanation, Stopwatch]:
        """Split the cosine of two images' features, and project the units that contribute most to it.

        Raises
        ------
        InvalidArgument
            There is no such rule.
        FailedPrecondition
            A feature is zero everywhere, so that it has no direction.
        ImageDecodeError
            An image cannot be read.
        """
        network, rule = self._network(model), check_rule(rule)

        def job() -> MatchExplanation:
            views = [self._view(network, layer, image, stopwatch) for image in (query, neighbour)]
            return explain_match(network, layer, views, n_strongest, rule)

        with self._thread.hold_place() as stopwatch:
            return await self._thread.run(stopwatch, job), stopwatch

    async def explain_class(
        self, model: str, classes: Classes | None, label: str, image: ImageInput, *, n_strongest: int, rule: str
    ) -> tuple[ClassExplanation, Stopwatch]:
        """Split the logit of a class (an empty label: the most probable), and project the units that contribute most.

        Parameters
        ----------
        classes
            The classes of a head; None for the network's own.

        Raises
        ------
        InvalidArgument
            There is no such rule, or several classes have the label.
        NotFound
            There is no such class.
        FailedPrecondition
            The network has no classes of its own, or they are not linear in any layer.
        ImageDecodeError
            The image cannot be read.
        """
        network, rule = self._network(model), check_rule(rule)

        def job() -> ClassExplanation:
            all_classes = classes or self._own_classes(network)
            view = self._view(network, all_classes.layer, image, stopwatch)
            return explain_class(network, all_classes, label, view, n_strongest, rule)

        with self._thread.hold_place() as stopwatch:
            return await self._thread.run(stopwatch, job), stopwatch

    async def occlude(
        self, model: str, classes: Classes | None, label: str, image: ImageInput, *, square_px: int, grid: int
    ) -> AsyncGenerator[tuple[occlusion.OcclusionSweep, Stopwatch], None]:
        """Move a grey square over an image; yield the sweep after each batch until it is finished.

        Raises
        ------
        InvalidArgument
            The square or the grid is out of range, or several classes have the label.
        NotFound
            There is no such class.
        FailedPrecondition
            The network has no classes of its own.
        ImageDecodeError
            The image cannot be read.
        """
        network = self._network(model)

        def begin() -> occlusion.OcclusionSweep:
            all_classes = classes or network_classes(network)
            view = self._view(network, all_classes.layer, image, stopwatch)
            return occlusion.OcclusionSweep(network, all_classes, label, view, square_px, grid)

        with self._thread.hold_place(is_bulk=True) as stopwatch:
            sweep = await self._thread.run(stopwatch, begin)
            for first in range(0, sweep.n_views, occlusion.BATCH):
                await self._thread.run(stopwatch, partial(sweep.run, first))
                yield sweep, stopwatch

    async def known_top_images(self, model: str, layer: str, digests: bytes, units: Sequence[int]) -> TopImages | None:
        """Return the saved pass over the images with these SHA-256 digests; None if there is none.

        Raises
        ------
        InvalidArgument
            The layer does not have a unit.
        FailedPrecondition, NotFound
            The network has no deconvnet, or its deconvnet does not reach this layer.
        """
        network = self._network(model)

        def job() -> TopImages | None:
            check_units(network.deconv_layer(layer), units)
            return self._top_images.load(network.provenance(layer).digest, digests)

        with self._thread.hold_place() as stopwatch:
            return await self._thread.run(stopwatch, job)

    async def top_places(
        self, model: str, layer: str, top: TopImages, units: Sequence[int]
    ) -> list[list[tuple[int, Place]]]:
        """Return, for each unit, the images of a pass that excite it most, strongest first, and the places."""
        network = self._network(model)

        def job() -> list[list[tuple[int, Place]]]:
            known, px = network.deconv_layer(layer), network.recipe(layer).crop_px
            _, width = network.map_size(known, px)
            return [
                [(picture, known.place(unit, divmod(at, width), value, px)) for picture, value, at in top.of(unit)]
                for unit in units
            ]

        # No place is held: the call has just given up its own, and its work must not be lost.
        return await self._thread.run(Stopwatch(), job)

    def projection_bytes(self, model: str, layer: str) -> int:
        """Return the size of one projection, float32 (P, P, 3), in bytes; 0 if the network has no deconvnet."""
        network = self._network(model)
        return 3 * 4 * network.recipe(layer).crop_px ** 2 if network.has_deconvnet else 0

    def provenance(self, model: str, layer: str) -> Provenance:
        """Return the provenance of a layer's activations."""
        return self._network(model).provenance(layer)

    async def find_top_images(
        self, model: str, layer: str, digests: bytes, batches: AsyncIterator[Sequence[ImageInput | Fc7Error]]
    ) -> AsyncGenerator[tuple[TopImages, Stopwatch], None]:
        """Find the nine images that excite each unit most; yield the pass so far after each batch.

        The pass is saved at the end, if as many images have come as there are digests.

        Raises
        ------
        InvalidArgument
            Too many images cannot be read.
        FailedPrecondition, NotFound
            The network has no deconvnet, or its deconvnet does not reach this layer.
        DeadlineExceeded
            No batch came within a minute.
        """
        network = self._network(model)

        def take(images: Sequence[ImageInput | Fc7Error]) -> None:
            views, numbers = [], []
            for number, image in enumerate(images, top.n_done):
                try:
                    if isinstance(image, Fc7Error):
                        raise image
                    views.append(self._view(network, layer, image, stopwatch))
                    numbers.append(number)
                except Fc7Error as error:
                    top.fail(number, error)
            if views:
                top.add(*peaks(network, layer, views), numbers)
            top.n_done += len(images)

        with self._thread.hold_place(_MAX_PASSES, is_bulk=True) as stopwatch:
            top = TopImages((await self._thread.run(stopwatch, lambda: network.deconv_layer(layer))).channels)
            async for batch in _in_time(batches):
                for first in range(0, len(batch), occlusion.BATCH):
                    part = batch[first : first + occlusion.BATCH]
                    await self._thread.run(stopwatch, partial(take, part))
                yield top, stopwatch
            if top.n_done * DIGEST_BYTES == len(digests):
                provenance = network.provenance(layer).digest
                await self._thread.run(stopwatch, lambda: self._top_images.save(provenance, digests, top))

    def _network(self, model: str) -> Network:
        """Return a network by the name of a model, as `ModelTable.choose` takes it."""
        served, bundle = self._models.choose(model)
        return served.open((Network, bundle.name), lambda: Network(bundle, self._sessions))

    def _own_classes(self, network: Network) -> Classes:
        if network not in self._own:
            self._own[network] = classes_of_last_layer(network, network_classes(network))
        return self._own[network]

    def _view(self, network: Network, layer: str, image: ImageInput, stopwatch: Stopwatch) -> PreparedImage:
        with stopwatch.decoding():
            return self._prepare_image(image, network.recipe(layer))


async def _in_time(batches: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield batches as they come; end a call whose next batch does not come, because it holds a place."""
    while True:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                batch = await anext(batches, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no image came for {_PATIENCE_S:g} s. Call again",
                name="images",
                reason=Reason.ARRIVAL_TOO_SLOW,
            ) from None
        if batch is None:
            return
        yield batch
