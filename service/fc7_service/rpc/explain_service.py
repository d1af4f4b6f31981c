"""ExplainService: messages to calls of the explainer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Aborted, Fc7Error, InvalidArgument, Reason
from fc7.v1 import common_pb2, explain_pb2_grpc
from fc7.v1 import explain_pb2 as pb
from fc7_service.collections.registry import Collections
from fc7_service.explain import occlusion
from fc7_service.explain.classes import Classes, LinearLayer
from fc7_service.explain.deconvnet import MAX_UNITS
from fc7_service.explain.explain_thread import Stopwatch
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.explanations import MatchSide
from fc7_service.explain.prepared_image import ImageInput, PreparedImage
from fc7_service.explain.projection import Place, Projection
from fc7_service.explain.top_images import DIGEST_BYTES, TopImages
from fc7_service.features.extractor import Extractor
from fc7_service.heads.registry import Heads
from fc7_service.rpc.messages import (
    check_answer,
    content_sha256,
    read_image,
    write_provenance,
    write_tensor,
    write_timing,
)
from fc7_service.rpc.request_models import model_of_provenance

_THREADS = 2  # that read and write messages of thousands of parts
_LAYER, _UNITS, _CARRIERS, _MATCHED = "conv5", 9, 9, 5  # where a request says nothing


class ExplainServicer(explain_pb2_grpc.ExplainServiceServicer):
    """Why a network answers as it does."""

    def __init__(self, explainer: Explainer, extractor: Extractor, heads: Heads, collections: Collections) -> None:
        self._explainer, self._extractor, self._heads, self._collections = explainer, extractor, heads, collections
        self._threads = ThreadPoolExecutor(_THREADS, "explain messages")

    async def ProjectUnit(self, request: pb.ProjectUnitRequest, context: Any) -> pb.ProjectUnitResponse:  # noqa: N802
        """Project units of a layer to the pixels that made them fire."""
        model, layer = self._extractor.models.bundle(request.model).name, request.layer or _LAYER
        n_strongest = _count(request.strongest, _UNITS)
        n_named = min(len(request.units), MAX_UNITS)  # more are refused in other words
        self._check_room(model, layer, n_named or n_strongest, "units" if n_named else "strongest")
        view, projections, stopwatch = await self._explainer.project_units(
            model,
            layer,
            _image(request.image),
            units=request.units,
            positions=request.positions,
            n_strongest=n_strongest,
            rule=request.rule,
        )
        return pb.ProjectUnitResponse(
            view=_view(view),
            projections=_projections(projections),
            provenance=write_provenance(self._explainer.provenance(model, layer)),
            timing=write_timing(stopwatch.timing),
        )

    async def TopUnits(  # noqa: N802
        self, requests: AsyncIterator[pb.TopUnitsRequest], context: Any
    ) -> AsyncIterator[pb.TopUnitsResponse]:
        """Find the images that excite each unit of a layer most."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("part") != "plan":
            raise InvalidArgument("the first message of TopUnits must be the plan", name="plan")
        plan = first.plan
        model, layer = self._extractor.models.bundle(plan.model).name, plan.layer or _LAYER
        if not plan.digests or len(plan.digests) % DIGEST_BYTES:
            raise InvalidArgument(
                f"digests must have {DIGEST_BYTES} bytes per image, for at least one image "
                f"(got {len(plan.digests)} bytes)",
                name="digests",
            )
        known = await self._explainer.known_top_images(model, layer, plan.digests, plan.units)
        if known is not None:
            yield await self._top(model, layer, known, plan.units, Stopwatch())
            return
        top: TopImages | None = None
        batches = self._batches(plan.digests, requests)
        passing = self._explainer.find_top_images(model, layer, plan.digests, batches)
        async with aclosing(passing) as passes:
            async for so_far in passes:
                top, stopwatch = so_far
                yield pb.TopUnitsResponse(n_done=top.n_done)
        if top is None:
            yield pb.TopUnitsResponse(is_missing=True)
        elif top.n_done * DIGEST_BYTES < len(plan.digests):
            raise InvalidArgument(
                f"{top.n_done} images came for {len(plan.digests) // DIGEST_BYTES} digests. Send one image per digest",
                name="images",
            )
        else:
            yield await self._top(model, layer, top, plan.units, stopwatch)

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, context: Any) -> pb.ExplainMatchResponse:  # noqa: N802
        """Split the cosine of two images."""
        model, layer = await self._pair(request)
        n_strongest = _count(request.strongest, _MATCHED)
        self._check_room(model, layer, 2 * n_strongest, "strongest")
        found, stopwatch = await self._explainer.explain_match(
            model,
            layer,
            _image(request.query),
            _image(request.neighbour),
            n_strongest=n_strongest,
            rule=request.rule,
        )
        return pb.ExplainMatchResponse(
            score=found.score,
            unit_layer=found.unit_layer,
            contributions=_tensor(found.units),
            rest=found.rest,
            query=_side(found.query),
            neighbour=_side(found.neighbour),
            provenance=write_provenance(self._explainer.provenance(model, layer)),
            timing=write_timing(stopwatch.timing),
        )

    async def ExplainClass(self, request: pb.ExplainClassRequest, context: Any) -> pb.ExplainClassResponse:  # noqa: N802
        """Split the logit of a class."""
        model, classes = await self._classes(request.head, request.model)
        n_strongest = _count(request.strongest, _CARRIERS)
        self._check_room(model, classes.layer if classes else "logits", n_strongest, "strongest")
        found, stopwatch = await self._explainer.explain_class(
            model,
            classes,
            request.label,
            _image(request.image),
            n_strongest=n_strongest,
            rule=request.rule,
        )
        shares = found.contributions
        return pb.ExplainClassResponse(
            label=found.label,
            probability=found.probability,
            logit=shares.total,
            unit_layer=shares.unit_layer,
            contributions=_tensor(shares.units),
            rest=shares.units_rest,
            view=_view(found.view),
            positions=_tensor(shares.positions),
            positions_rest=shares.positions_rest,
            projections=_projections(found.projections),
            provenance=write_provenance(self._explainer.provenance(model, found.layer)),
            head_version=classes.head_version if classes else 0,
            timing=write_timing(stopwatch.timing),
        )

    async def Occlude(self, request: pb.OccludeRequest, context: Any) -> AsyncIterator[pb.OccludeResponse]:  # noqa: N802
        """Sweep a grey square over an image."""
        model, classes = await self._classes(request.head, request.model)
        sweeping = self._explainer.occlude(
            model, classes, request.label, _image(request.image), square_px=request.square_px, grid=request.grid
        )
        async with aclosing(sweeping) as sweeps:
            async for so_far in sweeps:
                sweep, stopwatch = so_far
                yield pb.OccludeResponse(n_done=sweep.n_done)
        yield pb.OccludeResponse(result=_occlusion(sweep, stopwatch))

    def _check_room(self, model: str, layer: str, n_projections: int, name: str) -> None:
        """Refuse, before any work, projections that no answer could hold."""
        check_answer(n_projections * self._explainer.projection_bytes(model, layer), name)

    async def _pair(self, request: pb.ExplainMatchRequest) -> tuple[str, str]:
        """Return the model and the layer of a match."""
        if not request.collection:
            bundle = self._extractor.models.bundle(request.model)
            return bundle.name, bundle.provenance(request.layer).layer
        for field, value in (("model", request.model), ("layer", request.layer)):
            if value:
                raise InvalidArgument(
                    f"{field} {value[:64]!r} cannot be combined with collection {request.collection[:64]!r}, which has "
                    "its own. Leave it empty",
                    name=field,
                )
        with await self._collections.use_soon(request.collection) as collection:
            provenance = collection.provenance
        return model_of_provenance(self._extractor, provenance, f"collection {request.collection!r}"), provenance.layer

    async def _classes(self, head: str, model: str) -> tuple[str, Classes | None]:
        """Return the model and the classes of a head; no classes where a network's own are meant."""
        if not head:
            return self._extractor.models.bundle(model).name, None
        if model:
            raise InvalidArgument(
                f"model {model[:64]!r} cannot be combined with a head, which has its own. Leave it empty", name="model"
            )
        classifier = await asyncio.get_running_loop().run_in_executor(self._threads, self._heads.classifier, head)
        version, softmax = classifier.version, classifier.softmax
        linear = LinearLayer(
            mean=softmax.mean,
            weights=softmax.weights / (softmax.scale * softmax.temperature),
            bias=softmax.bias / softmax.temperature,
        )
        classes = Classes(version.provenance.layer, version.classes, linear, version.version)
        return model_of_provenance(self._extractor, version.provenance, f"head {head!r}"), classes

    async def _top(
        self, model: str, layer: str, top: TopImages, units: Sequence[int], stopwatch: Stopwatch
    ) -> pb.TopUnitsResponse:
        chosen = list(units) or list(range(len(top.values)))
        places = await self._explainer.top_places(model, layer, top, chosen)

        def write() -> pb.TopUnitsResponse:
            result = pb.TopResult(
                units=[
                    pb.TopUnit(unit=unit, images=[pb.TopImage(index=index, place=_place(at)) for index, at in found])
                    for unit, found in zip(chosen, places, strict=True)
                ],
                failed=[
                    pb.FailedTopImage(
                        index=index, error=common_pb2.ItemError(code=code, reason=reason, message=message, name=name)
                    )
                    for index, (code, reason, message, name) in top.failed.items()
                ],
                provenance=write_provenance(self._explainer.provenance(model, layer)),
                timing=write_timing(stopwatch.timing),
            )
            return pb.TopUnitsResponse(result=result)

        run = asyncio.get_running_loop().run_in_executor
        return await run(self._threads, write)  # tens of thousands of messages: others are answered meanwhile

    async def _batches(
        self, digests: bytes, requests: AsyncIterator[pb.TopUnitsRequest]
    ) -> AsyncIterator[list[ImageInput | Fc7Error]]:
        """Yield the images of a pass, each the one that the plan names."""
        run, n_seen = asyncio.get_running_loop().run_in_executor, 0
        async for request in requests:
            if request.WhichOneof("part") == "plan":
                raise InvalidArgument("send the plan once, in the first message", name="plan")
            images = request.images.images
            yield await run(self._threads, _read_batch, images, digests, n_seen)
            n_seen += len(images)


def _read_batch(images: Sequence[common_pb2.Image], digests: bytes, first: int) -> list[ImageInput | Fc7Error]:
    for index, image in enumerate(images, first):
        named = digests[DIGEST_BYTES * index : DIGEST_BYTES * (index + 1)]
        if not named:
            raise InvalidArgument(f"more images came than the {index} of the plan. Send each once", name="images")
        if bytes.fromhex(content_sha256(image)) != named:
            raise Aborted(
                f"image {index} is not the one in the plan: it changed. Call again",
                name="images",
                reason=Reason.IMAGE_CHANGED,
            )
    return [read_image(image) for image in images]


def _image(message: common_pb2.Image) -> ImageInput:
    image = read_image(message)
    if isinstance(image, Fc7Error):
        raise image
    return image


def _count(count: int, usual: int) -> int:
    if not 0 <= count <= MAX_UNITS:
        raise InvalidArgument(f"strongest must be 1 to {MAX_UNITS}, or 0 for {usual} (got {count})", name="strongest")
    return count or usual


def _tensor(values: NDArray[Any] | None) -> common_pb2.Tensor | None:
    return None if values is None else write_tensor(np.asarray(values, np.float32))


def _view(view: PreparedImage) -> pb.View:
    left, top, right, bottom = view.crop
    return pb.View(pixels=write_tensor(view.pixels), left=left, top=top, right=right, bottom=bottom)


def _place(place: Place) -> pb.Place:
    left, top, right, bottom = place.box
    return pb.Place(
        unit=place.unit, value=place.value, y=place.y, x=place.x, left=left, top=top, right=right, bottom=bottom
    )


def _projections(found: Sequence[Projection]) -> list[pb.Projection]:
    return [pb.Projection(place=_place(one.place), pixels=write_tensor(one.pixels)) for one in found]


def _side(side: MatchSide) -> pb.MatchSide:
    shares = side.contributions
    return pb.MatchSide(
        view=_view(side.view),
        positions=_tensor(shares.positions),
        positions_rest=shares.positions_rest,
        projections=_projections(side.projections),
    )


def _occlusion(sweep: occlusion.OcclusionSweep, stopwatch: Stopwatch) -> pb.Occlusion:
    found, classes = occlusion.read_maps(sweep), sweep.classes
    best, labels = occlusion.labels_of(found.best, classes.labels)
    return pb.Occlusion(
        label=classes.labels[found.class_index],
        probability=found.probability,
        view=_view(sweep.view),
        square_px=sweep.square_px,
        probabilities=_tensor(found.probabilities),
        best=best,
        labels=labels,
        activity_layer=sweep.activity_layer,
        activity_unit=found.activity_unit,
        activities=_tensor(found.activities),
        provenance=write_provenance(sweep.network.provenance(classes.layer)),
        head_version=classes.head_version,
        timing=write_timing(stopwatch.timing),
    )
