"""ModelService: what the bundles say of themselves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fc7.v1 import model_pb2, model_pb2_grpc
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features.extractor import Extractor
from fc7_service.rpc.messages import write_tensor


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """ListModels, GetModel, GetGolden."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Any) -> model_pb2.ListModelsResponse:  # noqa: N802
        """List the models, the default one first."""
        return model_pb2.ListModelsResponse(models=[self._facts(b) for b in self._extractor.bundles.values()])

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Any) -> model_pb2.GetModelResponse:  # noqa: N802
        """Return one model with its classes and card."""
        bundle = self._extractor.bundle(request.name)
        model = self._facts(bundle)
        model.classes.extend(model_pb2.ClassLabel(id=c.id, name=c.name) for c in bundle.classes)
        model.card = bundle.card()
        return model_pb2.GetModelResponse(model=model)

    async def GetGolden(self, request: model_pb2.GetGoldenRequest, context: Any) -> model_pb2.GetGoldenResponse:  # noqa: N802
        """Return the golden vectors."""
        bundle = self._extractor.bundle(request.name)
        await asyncio.to_thread(bundle.check_files)  # who asks for these wants to know whether the bundle is whole
        golden = await asyncio.to_thread(read_golden, bundle)
        return model_pb2.GetGoldenResponse(
            pixels=write_tensor(golden.pixels),
            inputs=write_tensor(golden.inputs),
            layers=[
                model_pb2.GoldenLayer(
                    name=name,
                    values=write_tensor(values),
                    pixels=write_tensor(golden.own_pixels[name]) if name in golden.own_pixels else None,
                )
                for name, values in golden.layers.items()
            ],
        )

    def _facts(self, bundle: Bundle) -> model_pb2.Model:
        return model_pb2.Model(
            name=bundle.name,
            network=bundle.network,
            layers=[
                model_pb2.Layer(
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
            provider=self._extractor.provider(bundle.name),
            default_layer=bundle.default_layer,
            recommended_layers=bundle.recommended,
        )
