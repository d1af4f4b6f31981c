"""ModelService: what the bundles say of themselves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fc7.errors import InvalidArgument
from fc7.v1 import model_pb2 as pb
from fc7.v1 import model_pb2_grpc
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features.extractor import Extractor
from fc7_service.rpc.messages import write_tensor
from fc7_service.served.changes import ModelChanges, wait_until_released
from fc7_service.served.served_model import ServedModel


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """The networks of a server: what they are, and which ones there are."""

    def __init__(self, extractor: Extractor, changes: ModelChanges) -> None:
        self._extractor, self._models, self._changes = extractor, extractor.models, changes

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:  # noqa: N802
        """List the models, the default one first."""
        return pb.ListModelsResponse(models=[self._facts(one, name) for name, one in self._models.models.items()])

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:  # noqa: N802
        """Return one model with its classes and card."""
        found, bundle = self._models.choose(request.name)
        model = self._facts(found, bundle.name, bundle)
        model.classes.extend(pb.ClassLabel(id=c.id, name=c.name) for c in bundle.classes)
        model.card = bundle.card()
        return pb.GetModelResponse(model=model)

    async def GetGolden(self, request: pb.GetGoldenRequest, context: Any) -> pb.GetGoldenResponse:  # noqa: N802
        """Return the golden vectors."""
        bundle = self._models.bundle(request.name)
        await asyncio.to_thread(bundle.check_files)  # who asks for these wants to know whether the bundle is whole
        golden = await asyncio.to_thread(read_golden, bundle)
        return pb.GetGoldenResponse(
            pixels=write_tensor(golden.pixels),
            inputs=write_tensor(golden.inputs),
            layers=[
                pb.GoldenLayer(
                    name=name,
                    values=write_tensor(values),
                    pixels=write_tensor(golden.own_pixels[name]) if name in golden.own_pixels else None,
                )
                for name, values in golden.layers.items()
            ],
            files=[
                pb.GoldenFile(name=file.name, encoded=file.encoded, layer=file.layer, values=write_tensor(file.values))
                for file in golden.files
            ],
        )

    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:  # noqa: N802
        """Serve one more network."""
        if not request.bundle:
            raise InvalidArgument("bundle is empty. Name a shipped bundle, or the path of another one", name="bundle")
        loaded = await self._changes.load(request.bundle, is_default=request.is_default)
        return pb.LoadModelResponse(model=self._facts(loaded))

    async def ReloadModel(self, request: pb.ReloadModelRequest, context: Any) -> pb.ReloadModelResponse:  # noqa: N802
        """Replace a network by a newer version of it."""
        new, old = await self._changes.reload(request.name, request.bundle, keeps_old=request.keep_old)
        n_calls = 0 if request.keep_old else await wait_until_released(old)
        return pb.ReloadModelResponse(model=self._facts(new), old_version=old.version, running_calls=n_calls)

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Any) -> pb.UnloadModelResponse:  # noqa: N802
        """Serve a network no longer."""
        if not request.name:
            raise InvalidArgument("name is empty. Name the model to unload", name="name")
        unloaded = await self._changes.unload(request.name)
        return pb.UnloadModelResponse(running_calls=await wait_until_released(unloaded))

    def _facts(self, model: ServedModel, name: str = "", bundle: Bundle | None = None) -> pb.Model:
        """Return what a network is, under the name that it has now unless another one is given."""
        bundle = bundle or model.bundle
        return pb.Model(
            name=name or next((n for n, one in self._models.models.items() if one is model), model.key),
            network=bundle.network,
            layers=[
                pb.Layer(
                    name=layer.name,
                    dim=layer.dim,
                    shape=layer.shape,
                    provenance_digest=bundle.provenance(layer.name).digest,
                    transform=layer.transform,
                    recipe_json=json.dumps(layer.recipe.to_dict()) if layer.recipe else "",
                )
                for layer in bundle.layers.values()
            ],
            recipe_json=json.dumps(bundle.recipe.to_dict()),
            graph_sha256=bundle.graph_sha256,
            provider=self._extractor.provider(model),
            version=model.version,
            running_calls=model.n_users,
            default_layer=bundle.default_layer,
            recommended_layers=bundle.recommended,
        )
