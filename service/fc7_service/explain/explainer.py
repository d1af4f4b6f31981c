"""Explanations of a server's networks: each call becomes jobs of the one worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.provenance import Provenance
from fc7_service.explain import occlusion
from fc7_service.explain.classes import Classes, last_linear, own_classes
from fc7_service.explain.network import Network, OpenSession, check_rule
from fc7_service.explain.project import STRONGEST, check_units, peaks, project, strongest
from fc7_service.explain.split import Shares, share
from fc7_service.explain.top import Passes, Top
from fc7_service.explain.view import ImageInput, Look, Place, Projection, View
from fc7_service.explain.worker import Clock, Worker


@dataclass(frozen=True, slots=True)
class Units:
    """Projections of one picture."""

    view: View
    projections: list[Projection]
    provenance: Provenance
    clock: Clock


@dataclass(frozen=True, slots=True)
class Side:
    """One picture of a match."""

    view: View
    shares: Shares
    projections: list[Projection]


@dataclass(frozen=True, slots=True)
class Match:
    """A cosine, split; shares of units are the mean of both sides', which differ where the feature is a sum of maps."""

    score: float
    unit_layer: str
    units: np.ndarray[tuple[int], np.dtype[np.float64]]
    rest: float
    query: Side
    neighbour: Side
    provenance: Provenance
    clock: Clock


@dataclass(frozen=True, slots=True)
class ClassShares:
    """A logit, split."""

    label: str
    probability: float
    shares: Shares
    view: View
    projections: list[Projection]
    provenance: Provenance
    clock: Clock


class Explainer:
    """Explains what networks make of pictures.

    Parameters
    ----------
    bundles
        The networks.
    open_session
        Makes a session of an ONNX file, with the settings that features have.
    look
        Makes the view of an image by a recipe.
    folder
        For passes over many pictures; made when it is needed.
    """

    def __init__(self, bundles: Iterable[Bundle], *, open_session: OpenSession, look: Look, folder: Path) -> None:
        self._networks = {bundle.name: Network(bundle, open_session) for bundle in bundles}
        self._look = look
        self._passes = Passes(folder)
        self._worker = Worker()
        self._own: dict[str, Classes] = {}  # own classes with the weights of their last layer

    def close(self) -> None:
        """Let the job under way end."""
        self._worker.close()

    async def unit(
        self,
        model: str,
        layer: str,
        image: ImageInput,
        *,
        units: Sequence[int],
        positions: Sequence[int],
        n_strongest: int,
        rule: str,
    ) -> Units:
        """Project units of a layer, those named or the strongest, to the pixels that made them fire.

        Raises
        ------
        InvalidArgument
            A rule, unit or position that does not exist; positions without units.
        FailedPrecondition, NotFound
            The network has no deconvnet, or not of this layer.
        ImageDecodeError
            The image cannot be read.
        """
        network, rule = self._networks[model], check_rule(rule)
        if positions and not units:
            raise InvalidArgument("positions come without units: name a unit for each", name="positions")

        def job() -> Units:
            network.deconv_layer(layer)
            view = self._view(network, layer, image, clock)
            chosen = list(units) or strongest(network, layer, view, n_strongest)
            at = list(positions) or [STRONGEST] * len(chosen)
            return Units(view, project(network, layer, view, chosen, at, rule), network.provenance(layer), clock)

        with self._worker.place() as clock:
            return await self._worker.do(clock, job)

    async def match(
        self, model: str, layer: str, query: ImageInput, neighbour: ImageInput, *, n_strongest: int, rule: str
    ) -> Match:
        """Split the cosine of two images' features; project the units that carry most in both.

        Raises
        ------
        FailedPrecondition
            A feature is zero everywhere: it has no direction.
        ImageDecodeError
            An image cannot be read.
        """
        network, rule = self._networks[model], check_rule(rule)

        def job() -> Match:
            views = [self._view(network, layer, image, clock) for image in (query, neighbour)]
            (found,) = network.run((layer,), np.stack([view.tensor for view in views]))
            features = np.asarray(found, np.float32).reshape(2, -1)
            norms = np.linalg.norm(features.astype(np.float64), axis=1)
            if not norms.all():
                raise FailedPrecondition(f"layer {layer!r} is zero for one of the images: no cosine", name=layer)
            directions = features[::-1] / norms.prod()
            shares = [
                share(network, layer, view, feature, direction)
                for view, feature, direction in zip(views, features, directions, strict=True)
            ]
            units = (shares[0].units + shares[1].units) / 2
            carriers = _carriers(units, n_strongest)
            sides = [
                Side(view, one, self._projections(network, one, view, carriers, rule))
                for view, one in zip(views, shares, strict=True)
            ]
            score = shares[0].total
            return Match(
                score=score,
                unit_layer=shares[0].unit_layer,
                units=units,
                rest=score - float(units.sum()),
                query=sides[0],
                neighbour=sides[1],
                provenance=network.provenance(layer),
                clock=clock,
            )

        with self._worker.place() as clock:
            return await self._worker.do(clock, job)

    async def label(
        self, model: str, classes: Classes | None, label: str, image: ImageInput, *, n_strongest: int, rule: str
    ) -> ClassShares:
        """Split the logit of a class, the most probable one for an empty label; project the units that carry most.

        Parameters
        ----------
        classes
            A head's; None for the network's own.

        Raises
        ------
        NotFound
            No such class.
        FailedPrecondition
            The network has no classes of its own, or none that are linear in a layer.
        ImageDecodeError
            The image cannot be read.
        """
        network, rule = self._networks[model], check_rule(rule)

        def job() -> ClassShares:
            who = classes or self._own_classes(network)
            view = self._view(network, who.layer, image, clock)
            (found,) = network.run((who.layer,), view.tensor[np.newaxis])
            feature = np.asarray(found, np.float32).reshape(-1)
            probabilities = who.predict(feature[np.newaxis])[0]
            index = who.index(label) if label else int(probabilities.argmax())
            linear = who.linear
            assert linear is not None  # of a head always, of own classes as `last_linear` made them
            shares = share(
                network,
                who.layer,
                view,
                feature,
                linear.weights[:, index].astype(np.float64),
                linear.mean,
                float(linear.bias[index]),
            )
            carriers = _carriers(shares.units, n_strongest)
            return ClassShares(
                label=who.labels[index],
                probability=float(probabilities[index]),
                shares=shares,
                view=view,
                projections=self._projections(network, shares, view, carriers, rule),
                provenance=network.provenance(who.layer),
                clock=clock,
            )

        with self._worker.place() as clock:
            return await self._worker.do(clock, job)

    async def occlude(
        self, model: str, classes: Classes | None, label: str, image: ImageInput, *, square_px: int, grid: int
    ) -> AsyncGenerator[tuple[occlusion.Sweep, Clock], None]:
        """Sweep a grey square over an image; yield the sweep after each batch, until it is finished.

        Raises
        ------
        InvalidArgument
            A square or a grid out of range.
        NotFound
            No such class.
        FailedPrecondition
            The network has no classes of its own.
        ImageDecodeError
            The image cannot be read.
        """
        network = self._networks[model]

        def begin() -> occlusion.Sweep:
            who = classes or own_classes(network)
            return occlusion.Sweep(network, who, label, self._view(network, who.layer, image, clock), square_px, grid)

        with self._worker.place() as clock:
            sweep = await self._worker.do(clock, begin)
            for first in range(0, sweep.n_views, occlusion.BATCH):
                await self._worker.do(clock, lambda first=first: sweep.run(first))  # type: ignore[misc]
                yield sweep, clock

    async def known_top(self, model: str, layer: str, digests: bytes, units: Sequence[int]) -> Top | None:
        """Return the pass over pictures of these SHA-256 digests if it is known.

        Raises
        ------
        InvalidArgument
            A unit that the layer has not.
        FailedPrecondition, NotFound
            The network has no deconvnet, or not of this layer.
        """
        network = self._networks[model]

        def job() -> Top | None:
            check_units(network.deconv_layer(layer), units)
            return self._passes.load(network.provenance(layer).digest, digests)

        with self._worker.place() as clock:
            return await self._worker.do(clock, job)

    async def top_places(self, model: str, layer: str, top: Top, units: Sequence[int]) -> list[list[tuple[int, Place]]]:
        """Return for each unit the pictures of a pass that excite it most, strongest first, and where."""
        network = self._networks[model]

        def job() -> list[list[tuple[int, Place]]]:
            known, px = network.deconv_layer(layer), network.recipe(layer).crop_px
            _, width = network.map_size(known, px)
            return [
                [(picture, known.place(unit, divmod(at, width), value, px)) for picture, value, at in top.of(unit)]
                for unit in units
            ]

        with self._worker.place() as clock:
            return await self._worker.do(clock, job)

    def provenance(self, model: str, layer: str) -> Provenance:
        """Return what makes the activations of a layer."""
        return self._networks[model].provenance(layer)

    async def top(
        self, model: str, layer: str, digests: bytes, batches: AsyncIterator[Sequence[ImageInput | Fc7Error]]
    ) -> AsyncGenerator[tuple[Top, Clock], None]:
        """Find the nine pictures that excite each unit most; yield the pass so far after each batch.

        Keep it at the end, when as many pictures have come as there are digests.
        """
        network = self._networks[model]

        def take(images: Sequence[ImageInput | Fc7Error]) -> None:
            views, numbers = [], []
            for number, image in enumerate(images, top.n_done):
                try:
                    if isinstance(image, Fc7Error):
                        raise image
                    views.append(self._view(network, layer, image, clock))
                    numbers.append(number)
                except Fc7Error as error:
                    top.failed[number] = (error.code, error.reason, error.message, error.name)
            if views:
                top.add(*peaks(network, layer, views), numbers)
            top.n_done += len(images)

        with self._worker.place() as clock:
            top = Top((await self._worker.do(clock, lambda: network.deconv_layer(layer))).channels)
            async for batch in batches:
                for first in range(0, len(batch), occlusion.BATCH):
                    part = batch[first : first + occlusion.BATCH]
                    await self._worker.do(clock, lambda part=part: take(part))  # type: ignore[misc]
                yield top, clock
            if top.n_done * 32 == len(digests):
                provenance = network.provenance(layer).digest
                await self._worker.do(clock, lambda: self._passes.save(provenance, digests, top))

    def _own_classes(self, network: Network) -> Classes:
        name = network.bundle.name
        if name not in self._own:
            self._own[name] = last_linear(network, own_classes(network))
        return self._own[name]

    def _view(self, network: Network, layer: str, image: ImageInput, clock: Clock) -> View:
        with clock.decoding():
            return self._look(image, network.recipe(layer))

    def _projections(
        self, network: Network, shares: Shares, view: View, units: Sequence[int], rule: str
    ) -> list[Projection]:
        if not network.can_project(shares.unit_layer):
            return []
        return project(network, shares.unit_layer, view, units, [int(shares.places[unit]) for unit in units], rule)


def _carriers(units: np.ndarray[tuple[int], np.dtype[np.float64]], count: int) -> list[int]:
    """Return the units with the largest shares, the largest first."""
    return [int(unit) for unit in np.argsort(-units, kind="stable")[:count]]
