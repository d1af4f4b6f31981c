"""FeatureService: images in, features out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fc7.errors import Fc7Error
from fc7.v1 import feature_pb2, feature_pb2_grpc
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import ImageFeatures, extract_images, join_networks
from fc7_service.features.image_work import ImageInput
from fc7_service.rpc.messages import (
    check_answer,
    read_image,
    read_views,
    write_error,
    write_provenance,
    write_tensor,
    write_timing,
)
from fc7_service.rpc.request_models import models_of_request

_MOST_AT_ONCE = 32  # images of one stream
_MOST_BYTES_AT_ONCE = 2**26  # of images of one stream; the next image is read once fewer are held
_INLINE_BYTES = 2**18  # copying a smaller answer takes less time than waking a thread


class FeatureServicer(feature_pb2_grpc.FeatureServiceServicer):
    """Extract, StreamExtract."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    async def Extract(self, request: feature_pb2.ExtractRequest, context: Any) -> feature_pb2.ExtractResponse:  # noqa: N802
        """Extract one layer of each image of a batch."""
        plan = self._plan(request)
        dim = sum(self._dim(model, plan.layer) for model in plan.models)
        check_answer(4 * dim * len(request.images), "images")
        images = [read_image(image) for image in request.images]
        parts = [
            await extract_images(self._extractor, images, model, plan.layer, plan.n_views) for model in plan.models
        ]
        if 4 * dim * len(images) <= _INLINE_BYTES:
            return _write_features(parts, plan.is_ensemble, dim)
        return await asyncio.to_thread(_write_features, parts, plan.is_ensemble, dim)  # copies up to a whole message

    async def StreamExtract(  # noqa: N802
        self, requests: AsyncIterator[feature_pb2.StreamExtractRequest], context: Any
    ) -> AsyncIterator[feature_pb2.StreamExtractResponse]:
        """Answer image by image, in the order sent."""
        pending: asyncio.Queue[asyncio.Task[ImageFeatures] | None] = asyncio.Queue(_MOST_AT_ONCE)
        tasks: set[asyncio.Task[ImageFeatures]] = set()
        n_held, has_room = 0, asyncio.Event()

        def let_go(n_bytes: int, _: object) -> None:
            nonlocal n_held
            n_held -= n_bytes
            has_room.set()

        async def read_requests() -> None:
            nonlocal n_held
            plan: _Plan | None = None
            try:
                async for request in requests:
                    plan = plan or self._plan(request)  # only the first message holds it
                    image = read_image(request.image)
                    task = asyncio.create_task(self._extract_one(image, plan))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    n_bytes = len(image) if isinstance(image, bytes) else getattr(image, "nbytes", 0)
                    n_held += n_bytes
                    task.add_done_callback(partial(let_go, n_bytes))
                    await pending.put(task)
                    while n_held > _MOST_BYTES_AT_ONCE:
                        has_room.clear()
                        await has_room.wait()
            finally:
                await pending.put(None)

        reader = asyncio.create_task(read_requests())
        try:
            is_first = True
            while (task := await pending.get()) is not None:
                found = await task
                row = found.rows[0]
                yield feature_pb2.StreamExtractResponse(
                    feature=None if isinstance(row, Fc7Error) else write_tensor(row),
                    error=write_error(row) if isinstance(row, Fc7Error) else None,
                    provenance=write_provenance(found.provenance) if is_first else None,
                )
                is_first = False
            await reader
        finally:
            reader.cancel()
            for unfinished in tasks:
                unfinished.cancel()
            while not pending.empty():  # so that the reader can put its None
                pending.get_nowait()

    def _plan(self, request: feature_pb2.ExtractRequest | feature_pb2.StreamExtractRequest) -> _Plan:
        """Read what a call asks for; an unknown model or layer ends the call here."""
        n_views = read_views(request.views)
        models = models_of_request(self._extractor, request.model, request.ensemble)
        for model in models:
            self._extractor.models.bundle(model).provenance(request.layer)
        return _Plan(models, request.layer, n_views, bool(request.ensemble))

    async def _extract_one(self, image: ImageInput | Fc7Error, plan: _Plan) -> ImageFeatures:
        parts = [
            await extract_images(self._extractor, [image], model, plan.layer, plan.n_views, can_wait=True)
            for model in plan.models
        ]
        return join_networks(parts) if plan.is_ensemble else parts[0]

    def _dim(self, model: str, layer: str) -> int:
        bundle = self._extractor.models.bundle(model)
        return bundle.layers[bundle.provenance(layer).layer].dim


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a call wants of each image."""

    models: list[str]
    layer: str  # empty for each model's default
    n_views: int
    is_ensemble: bool


def _write_features(parts: list[ImageFeatures], is_ensemble: bool, dim: int) -> feature_pb2.ExtractResponse:
    found = join_networks(parts) if is_ensemble else parts[0]
    values = [row for row in found.rows if not isinstance(row, Fc7Error)]
    return feature_pb2.ExtractResponse(
        features=write_tensor(np.stack(values) if values else np.empty((0, dim), np.float32)),
        items=[
            feature_pb2.ItemResult(error=write_error(row) if isinstance(row, Fc7Error) else None) for row in found.rows
        ],
        provenance=write_provenance(found.provenance),
        timing=write_timing(found.timing),
    )
