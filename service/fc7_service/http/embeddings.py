"""Features as OpenAI's clients ask for embeddings: `POST /v1/embeddings` and `GET /v1/models`.

Pictures come as data URLs in `input`. The model is the name of a network, or of a network and a layer, as in
`alexnet-64/fc7`.
https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import numpy as np
from google.protobuf.message import Message
from google.rpc import status_pb2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fc7.errors import InvalidArgument, Reason
from fc7.grpc_errors import read_item_error
from fc7.v1 import feature_pb2, model_pb2
from fc7_service.http.body import Body
from fc7_service.http.calls import Calls, Form, read_kind, refused
from fc7_service.http.door import Door
from fc7_service.http.json_messages import parse_json
from fc7_service.http.openapi import refusals
from fc7_service.http.refusals import to_object
from fc7_service.rpc.codec import Codec

_EXTRACT = "/fc7.v1.FeatureService/Extract"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_KNOWN = {"model", "input", "encoding_format", "dimensions", "user"}


class EmbeddingsCodec(Codec):
    """Reads and writes one request for embeddings as a call of Extract."""

    def __init__(self) -> None:
        self._model, self._is_base64, self._dim = "", False, 0

    def read(self, kind: type[Message], data: bytes) -> feature_pb2.ExtractRequest:
        """Return the call that a request stands for.

        Raises
        ------
        InvalidArgument
            The request is malformed, or an input is no picture. The error names it.
        """
        values = parse_json(data)
        if not isinstance(values, dict):
            raise _refused("body", "the body must be a JSON object with a model and an input")
        if unknown := sorted(values.keys() - _KNOWN):
            raise _refused(unknown[0], f"there is no field {unknown[0][:64]!r}. The fields are: {', '.join(_KNOWN)}")
        model, inputs = values.get("model"), values.get("input")
        if not isinstance(model, str):
            raise _refused("model", "model must be the name of a network, or of a network and a layer: alexnet-64/fc7")
        self._model = model
        encoding = values.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise _refused("encoding_format", "encoding_format must be float or base64")
        self._is_base64, self._dim = encoding == "base64", values.get("dimensions") or 0
        inputs = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(inputs, list):
            raise _refused("input", "input must be a picture as a data URL, or a list of them")
        network, _, layer = self._model.partition("/")
        asked = feature_pb2.ExtractRequest(model=network, layer=layer)
        for i, url in enumerate(inputs):
            asked.images.add(encoded=_read_picture(url, f"input[{i}]"))
        return asked

    def write(self, answer: feature_pb2.ExtractResponse) -> bytes:
        """Return the list of embeddings.

        Raises
        ------
        Fc7Error
            The error of the first picture that has one.
        InvalidArgument
            The features have another length than was asked for.
        """
        for i, item in enumerate(answer.items):
            if item.HasField("error"):
                error = read_item_error(item.error)
                raise type(error)(f"input[{i}]: {error.message}", name=f"input[{i}]", reason=Reason[error.reason])
        rows = np.frombuffer(answer.features.data, "<f4").reshape(tuple(answer.features.shape))
        if self._dim not in (0, rows.shape[1]):
            raise _refused(
                "dimensions", f"features of {self._model!r} have {rows.shape[1]} dimensions (got {self._dim!r})"
            )
        data = [
            {
                "object": "embedding",
                "index": i,
                "embedding": base64.b64encode(row.tobytes()).decode() if self._is_base64 else row.tolist(),
            }
            for i, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # clients require it; pictures have no tokens
        return json.dumps({"object": "list", "data": data, "model": self._model, "usage": usage}).encode()


def routes(door: Door) -> list[Route]:
    """Return both routes."""

    def read_form(request: Request, body: Body) -> Form:
        if read_kind(request) != "application/json":
            form = refused(_EXTRACT, 415, "Content-Type must be application/json", "content-type")
        else:
            form = Form(_EXTRACT, EmbeddingsCodec(), body.only())
        form.write_error = write_error
        return form

    async def list_models(request: Request) -> Response:
        answer = await door.ask(request, "/fc7.v1.ModelService/ListModels", model_pb2.ListModelsRequest())
        names = [name for m in answer.models for name in (m.name, *(f"{m.name}/{layer.name}" for layer in m.layers))]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "fc7"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    return [
        Route("/v1/embeddings", Calls(door, read_form), methods=["POST"]),
        Route("/v1/models", list_models, methods=["GET"]),
    ]


def write_error(status: status_pb2.Status) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    error = to_object(status)
    info: dict[str, Any] = next((detail["debug"] for detail in error["details"] if "reason" in detail["debug"]), {})
    return {
        "error": {
            "message": error["message"],
            "type": error["code"],
            "param": info.get("metadata", {}).get("name"),
            "code": info.get("reason"),
        }
    }


def _read_picture(url: Any, name: str) -> bytes:
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    if match is None:
        raise _refused(name, f"{name} must be a picture as a data URL: data:image/jpeg;base64,... (texts are not read)")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise _refused(name, f"{name} is a data URL without valid base64") from None


def _refused(name: str, text: str) -> InvalidArgument:
    return InvalidArgument(text, name=name, reason=Reason.MALFORMED_MESSAGE)


_TEXT, _LIST = {"type": "string"}, {"const": "list"}
DESCRIPTION: dict[str, Any] = {
    "/v1/embeddings": {
        "post": {
            "operationId": "embeddings",
            "tags": ["OpenAI"],
            "description": "Extract features of pictures, as OpenAI's clients ask for embeddings.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["model", "input"],
                            "properties": {
                                "model": {"type": "string", "examples": ["alexnet-64", "alexnet-64/fc7"]},
                                "input": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
                                "encoding_format": {"enum": ["float", "base64"]},
                                "dimensions": {"type": "integer"},
                                "user": _TEXT,
                            },
                        }
                    }
                },
            },
            "responses": {
                "200": {
                    "description": "The features.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["object", "data", "model", "usage"],
                                "properties": {"object": _LIST, "data": {"type": "array"}, "model": _TEXT},
                            }
                        }
                    },
                },
                "default": {
                    "description": "The request was refused.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["error"],
                                "properties": {"error": {"type": "object", "required": ["message", "type"]}},
                            }
                        }
                    },
                },
            },
        }
    },
    "/v1/models": {
        "get": {
            "operationId": "models",
            "tags": ["OpenAI"],
            "description": "List the networks, and each with its layers.",
            "responses": {
                "200": {
                    "description": "The names.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["object", "data"],
                                "properties": {"object": _LIST, "data": {"type": "array"}},
                            }
                        }
                    },
                }
            }
            | refusals(),
        }
    },
}
