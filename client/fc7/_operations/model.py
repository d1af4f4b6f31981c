"""ModelService: the trained networks that a server holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fc7._operations.conversion import check_text, read_tensor
from fc7._operations.steps import Operation, SendRequest
from fc7.results import Golden, GoldenFile, Layer, Model, ReloadedModel
from fc7.v1 import model_pb2 as pb
from fc7.v1.model_pb2_grpc import ModelServiceStub


def list_models() -> Operation[list[Model]]:
    """Return the models, the default one first."""
    response: pb.ListModelsResponse = yield SendRequest(ModelServiceStub, "ListModels", pb.ListModelsRequest())
    return [_read_model(model) for model in response.models]


def get_model(name: str) -> Operation[Model]:
    """Return one model, whole."""
    response: pb.GetModelResponse = yield SendRequest(
        ModelServiceStub, "GetModel", pb.GetModelRequest(name=check_text(name, "name"))
    )
    return _read_model(response.model)


def get_golden(name: str) -> Operation[Golden]:
    """Return a model's golden vectors."""
    response: pb.GetGoldenResponse = yield SendRequest(
        ModelServiceStub, "GetGolden", pb.GetGoldenRequest(name=check_text(name, "name"))
    )
    return Golden(
        pixels=read_tensor(response.pixels),
        inputs=read_tensor(response.inputs),
        layers={layer.name: read_tensor(layer.values) for layer in response.layers},
        own_pixels={layer.name: read_tensor(layer.pixels) for layer in response.layers if layer.HasField("pixels")},
        files={file.name: GoldenFile(file.encoded, file.layer, read_tensor(file.values)) for file in response.files},
    )


def load(bundle: str | os.PathLike[str], is_default: bool) -> Operation[Model]:
    """Serve one more network; return it."""
    request = pb.LoadModelRequest(bundle=_bundle(bundle), is_default=is_default)
    response: pb.LoadModelResponse = yield SendRequest(ModelServiceStub, "LoadModel", request)
    return _read_model(response.model)


def reload(name: str, bundle: str | os.PathLike[str], keep_old: bool) -> Operation[ReloadedModel]:
    """Replace a network by a newer version of it."""
    request = pb.ReloadModelRequest(name=check_text(name, "name"), bundle=_bundle(bundle), keep_old=keep_old)
    response: pb.ReloadModelResponse = yield SendRequest(ModelServiceStub, "ReloadModel", request)
    return ReloadedModel(_read_model(response.model), response.old_version, response.running_calls)


def unload(name: str) -> Operation[int]:
    """Serve a network no longer; return how many calls still use it."""
    request = pb.UnloadModelRequest(name=check_text(name, "name"))
    response: pb.UnloadModelResponse = yield SendRequest(ModelServiceStub, "UnloadModel", request)
    return response.running_calls


def _bundle(bundle: str | os.PathLike[str]) -> str:
    """Return what the server takes: text as it is, a path from the root of the file system."""
    return check_text(bundle if isinstance(bundle, str) else str(Path(bundle).absolute()), "bundle")


def _read_layer(layer: pb.Layer, model: pb.Model) -> Layer:
    return Layer(
        name=layer.name,
        dim=layer.dim,
        shape=tuple(layer.shape),
        provenance_digest=layer.provenance_digest,
        transform=layer.transform,
        recipe=json.loads(layer.recipe_json or model.recipe_json),
    )


def _read_model(model: pb.Model) -> Model:
    return Model(
        name=model.name,
        network=model.network,
        layers=[_read_layer(layer, model) for layer in model.layers],
        recipe=json.loads(model.recipe_json),
        graph_sha256=model.graph_sha256,
        classes=[(label.id, label.name) for label in model.classes],
        card=model.card,
        provider=model.provider,
        default_layer=model.default_layer,
        recommended_layers=dict(model.recommended_layers),
        version=model.version,
        running_calls=model.running_calls,
    )
