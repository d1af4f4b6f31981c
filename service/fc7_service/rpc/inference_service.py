"""The Open Inference Protocol, `inference.GRPCInferenceService`, beside fc7's own services.

The protocol: https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument, NotFound, Reason
from fc7_service.bundle.bundle import Bundle
from fc7_service.features.batcher import Batcher
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.features.image_work import ImageInput
from fc7_service.rpc.inference_counts import InferenceCounts
from fc7_service.rpc.inference_messages import pb
from fc7_service.rpc.inference_tensors import (
    INPUT,
    add_classes,
    add_numbers,
    check_image,
    describe,
    read_images,
    read_top,
)
from fc7_service.rpc.message_limits import MAX_ITEMS
from fc7_service.rpc.messages import check_answer
from fc7_service.served.changes import ModelChanges
from fc7_service.served.served_model import ServedModel

EXTENSIONS = (
    *("classification", "model_configuration", "binary_tensor_data", "parameters", "statistics", "model_repository"),
)
_PLATFORM = "fc7_onnxruntime"
_FP32, _STRING = 11, 13  # of the protocol's enum DataType


class InferenceServicer:
    """Answers the Open Inference Protocol. Each layer of a model is an output; images are the input.

    Parameters
    ----------
    extractor
        Computes the layers.
    changes
        Loads and unloads models.
    is_ready
        Tells whether the server takes calls.
    """

    def __init__(self, extractor: Extractor, changes: ModelChanges, is_ready: Callable[[], bool]) -> None:
        self._extractor, self._models, self._changes, self._is_ready = extractor, extractor.models, changes, is_ready

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tell that the server runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tell whether the server takes calls."""
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tell whether a model takes calls; one that does not exist does not."""
        try:
            self._choose(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._is_ready())

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Describe the server."""
        return pb.ServerMetadataResponse(name="fc7", version=importlib.metadata.version("fc7"), extensions=EXTENSIONS)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Describe the input and the outputs of a model."""
        model, bundle = self._choose(request.name, request.version)
        versions = sorted(one.version for one in self._models.models.values() if one.bundle.name == model.bundle.name)
        return pb.ModelMetadataResponse(
            name=model.bundle.name,
            versions=map(str, versions),
            platform=_PLATFORM,
            inputs=[describe(INPUT, "BYTES", [-1])],
            outputs=[describe(layer.name, "FP32", [-1, layer.dim]) for layer in bundle.layers.values()],
        )

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the configuration of a model."""
        model, bundle = self._choose(request.name, request.version)
        outputs = [
            pb.ModelOutput(name=layer.name, data_type=_FP32, dims=[layer.dim]) for layer in bundle.layers.values()
        ]
        config = pb.ModelConfig(
            name=model.bundle.name,
            platform=_PLATFORM,
            max_batch_size=MAX_ITEMS,
            input=[pb.ModelInput(name=INPUT, data_type=_STRING, dims=[1])],
            output=outputs,
        )
        return pb.ModelConfigResponse(config=config)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute outputs of a model."""
        model, bundle = self._choose(request.model_name, request.model_version)
        start, counts = time.monotonic(), model.open(InferenceCounts, InferenceCounts)
        try:
            async with asyncio.timeout(_timeout_s(request)):
                answer, n_images, timing = await self._infer(request, model, bundle)
        except TimeoutError:
            counts.fail(time.monotonic() - start)
            raise DeadlineExceeded("the request's parameter timeout has passed. Allow more time") from None
        except BaseException:
            counts.fail(time.monotonic() - start)
            raise
        counts.succeed(time.monotonic() - start, n_images, timing)
        return answer

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer one request after the other; an error is an answer, too."""
        async for request in requests:
            try:
                answer = pb.ModelStreamInferResponse(infer_response=await self.ModelInfer(request, context))
            except Fc7Error as error:
                answer = pb.ModelStreamInferResponse(error_message=error.message)
                answer.infer_response.id = request.id
            answer.infer_response.parameters["triton_final_response"].bool_param = True
            yield answer

    async def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the statistics of a model, or of all if none is named."""
        try:
            models = [self._choose(request.name, request.version)[0]] if request.name else self._models.models.values()
        except NotFound as error:
            raise InvalidArgument(error.message, name="name", reason=Reason.INVALID_ARGUMENT) from None
        return pb.ModelStatisticsResponse(model_stats=[_statistics(model) for model in models])

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        """List the models; all that are listed are ready."""
        rows = [(model.bundle.name, str(model.version)) for model in self._models.models.values()]
        index = [pb.RepositoryIndexResponse.ModelIndex(name=n, version=v, state="READY") for n, v in rows]
        return pb.RepositoryIndexResponse(models=index)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Load a bundle, or load a model that is served once more from its bundle."""
        if request.parameters:
            raise InvalidArgument("a model is loaded as its bundle says. Leave parameters empty", name="parameters")
        if request.model_name in self._models.models:
            await self._changes.reload(request.model_name, "", keeps_old=False)
        else:
            await self._changes.load(request.model_name, is_default=False)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Unload a model; nothing happens if there is none of that name."""
        if request.model_name in self._models.models:
            await self._changes.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _choose(self, name: str, version: str) -> tuple[ServedModel, Bundle]:
        if version and not (version.isascii() and version.isdecimal()):
            raise InvalidArgument(f"the version must be a number (got {version[:64]!r})", name="model_version")
        if not name:
            raise NotFound("the request names no model. Name one", name="model_name", reason=Reason.MODEL_NOT_FOUND)
        return self._models.choose(f"{name}:{version}" if version else name)

    async def _infer(self, request: Any, model: ServedModel, bundle: Bundle) -> tuple[Any, int, Timing]:
        """Return the answer, the number of images and the time that they took."""
        images = read_images(request)
        wanted = {output.name: read_top(output) for output in request.outputs} or dict.fromkeys(bundle.layers, 0)
        for name in wanted:
            if name not in bundle.layers:
                raise InvalidArgument(
                    f"model {bundle.name!r} has no output {name[:64]!r}. It has {', '.join(bundle.layers)}",
                    name=name[:64],
                )
        check_answer(4 * len(images) * sum(bundle.layers[name].dim for name in wanted), "outputs")
        parts = await asyncio.gather(*(self._layer(images, bundle, name) for name in wanted))
        answer = pb.ModelInferResponse(model_name=model.bundle.name, model_version=str(model.version), id=request.id)
        for (name, top), (values, _) in zip(wanted.items(), parts, strict=True):
            if top:
                labels = [c.name for c in bundle.classes] if len(bundle.classes) == values.shape[1] else []
                add_classes(answer, name, values, top, labels)
            else:
                await asyncio.to_thread(add_numbers, answer, name, values)
        return answer, len(images), sum((timing for _, timing in parts), Timing())

    async def _layer(self, images: list[ImageInput], bundle: Bundle, layer: str) -> tuple[NDArray[np.float32], Timing]:
        """Return one layer (N, D) of all images."""
        found = await extract_images(self._extractor, images, bundle.name, layer)
        return np.stack([check_image(index, row) for index, row in enumerate(found.rows)]), found.timing


def _timeout_s(request: Any) -> float | None:
    """Return the request's own time limit, which it gives in microseconds."""
    microseconds = request.parameters["timeout"].int64_param if "timeout" in request.parameters else 0
    return microseconds / 1e6 if microseconds > 0 else None


def _statistics(model: ServedModel) -> Any:
    counts, batcher = model.open(InferenceCounts, InferenceCounts), model.opened(Batcher)
    n_runs = batcher.n_batches if isinstance(batcher, Batcher) else 0
    return counts.write(model.bundle.name, model.version, n_runs)
