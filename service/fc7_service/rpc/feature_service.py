"""FeatureService: messages to calls of the extractor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error
from fc7.v1 import common_pb2, feature_pb2, feature_pb2_grpc
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.ensemble import join
from fc7_service.features.extractor import Extractor
from fc7_service.rpc.messages import (
    Extracted,
    check_answer,
    extract,
    extract_patiently,
    read_models,
    read_views,
    write_error,
    write_provenance,
    write_tensor,
    write_timing,
)

_AHEAD = 32  # images of one stream under way at once


class FeatureServicer(feature_pb2_grpc.FeatureServiceServicer):
    """Extract, StreamExtract."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    async def Extract(self, request: feature_pb2.ExtractRequest, context: Any) -> feature_pb2.ExtractResponse:  # noqa: N802
        """Return one layer for each image of a batch."""
        n_views = read_views(request.views)
        models = read_models(self._extractor, request.model, request.ensemble)
        dim = sum(self._dim(model, request.layer) for model in models)
        check_answer(4 * dim * len(request.images), "images")
        parts = [await extract(self._extractor, request.images, model, request.layer, n_views) for model in models]
        return await asyncio.to_thread(_answer, parts, bool(request.ensemble), dim)  # up to a whole message

    async def StreamExtract(  # noqa: N802
        self, requests: AsyncIterator[feature_pb2.StreamExtractRequest], context: Any
    ) -> AsyncIterator[feature_pb2.StreamExtractResponse]:
        """Answer image by image, in the order sent, with a bounded number under way."""
        pending: asyncio.Queue[asyncio.Task[Extracted] | None] = asyncio.Queue(_AHEAD)

        async def read() -> None:
            models, layer, n_views, is_joined = [""], "", 1, False
            is_first = True
            try:
                async for request in requests:
                    if is_first:
                        layer, is_first = request.layer, False
                        n_views, is_joined = read_views(request.views), bool(request.ensemble)
                        models = read_models(self._extractor, request.model, request.ensemble)
                        for model in models:
                            self._extractor.bundle(model).provenance(layer)  # an unknown name ends the stream
                    task = asyncio.create_task(extract_one(request.image, models, layer, n_views, is_joined))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    await pending.put(task)
            finally:
                await pending.put(None)

        async def extract_one(
            image: common_pb2.Image, models: list[str], layer: str, n_views: int, is_joined: bool
        ) -> Extracted:
            parts = [await extract_patiently(self._extractor, [image], model, layer, n_views) for model in models]
            return _join(parts) if is_joined else parts[0]

        tasks: set[asyncio.Task[Extracted]] = set()
        reader = asyncio.create_task(read())
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
            for left in tasks:
                left.cancel()
            while not pending.empty():  # the reader's last word needs a place
                pending.get_nowait()

    def _dim(self, model: str, layer: str) -> int:
        bundle = self._extractor.bundle(model)
        return bundle.layers[bundle.provenance(layer).layer].dim


def _answer(parts: list[Extracted], is_ensemble: bool, dim: int) -> feature_pb2.ExtractResponse:
    found = _join(parts) if is_ensemble else parts[0]
    values = [row for row in found.rows if not isinstance(row, Fc7Error)]
    return feature_pb2.ExtractResponse(
        features=write_tensor(np.stack(values) if values else np.empty((0, dim), np.float32)),
        items=[
            feature_pb2.ItemResult(error=write_error(row) if isinstance(row, Fc7Error) else None) for row in found.rows
        ],
        provenance=write_provenance(found.provenance),
        timing=write_timing(found.timing),
    )


def _join(parts: list[Extracted]) -> Extracted:
    """Return the members' features as one; an image that one of them cannot read has its error."""
    rows: list[NDArray[np.float32] | Fc7Error] = []
    for features in zip(*(part.rows for part in parts), strict=True):
        errors = [feature for feature in features if isinstance(feature, Fc7Error)]
        rows.append(errors[0] if errors else join(features))
    provenance = Provenance.of_ensemble([part.provenance for part in parts])
    return Extracted(rows, provenance, sum((part.timing for part in parts), Timing()))
