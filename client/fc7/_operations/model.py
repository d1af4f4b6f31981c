"""ModelService: the trained networks that a server holds."""

from __future__ import annotations

import json

from fc7._operations.conversion import check_text, read_tensor
from fc7._operations.steps import Operation, SendRequest
from fc7.results import Golden, Layer, Model
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
    )


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
    )
