"""The description of the HTTP door for programs: OpenAPI 3.1, from the descriptors and the comments of the contract.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool

from fc7_service.http.picture_form import FORM, places_of
from fc7_service.http.refusals import HTTP_STATUS

_JSON, _PROTO, _LINES = "application/json", "application/proto", "application/x-ndjson"
_INTEGER = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_CODES = sorted({"canceled" if code == "cancelled" else code for code in HTTP_STATUS})
_ERROR = {
    "type": "object",
    "description": "Why a request was refused.",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"enum": _CODES},
        "message": {"type": "string", "description": "What is wrong and what to do. The text may change."},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": {"type": "string", "description": "Name of a protobuf message."},
                    "value": {"type": "string", "description": "The message as base64."},
                    "debug": {"type": "object", "description": "The message as JSON; `reason` is for programs."},
                },
            },
        },
    },
}


def describe(handlers: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description.

    Parameters
    ----------
    handlers
        Every method by its full name.
    others
        Path items of the routes that are no methods, by their paths.
    """
    methods = {path: {"post": _operation(_method(path))} for path in sorted(handlers)}
    messages = _all_messages(_method(path) for path in handlers)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fc7",
            "version": importlib.metadata.version("fc7"),
            "description": "Pictures to features, similarity collections, heads and explanations.",
        },
        "paths": methods | dict(others),
        "components": {
            "schemas": {message.name: _schema(message) for message in messages} | {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def refusals() -> dict[str, Any]:
    """Return the answer that every route may give."""
    return {"default": {"description": "The request was refused.", "content": {_JSON: _content("Error")}}}


@cache
def comments() -> dict[str, str]:
    """Return the comment of each part of the contract by its full name."""
    text = importlib.resources.files("fc7.v1").joinpath("comments.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _method(path: str) -> Any:
    service, _, name = path.removeprefix("/").rpartition("/")
    return descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)


def _operation(method: Any) -> dict[str, Any]:
    asked, answered = method.input_type, method.output_type
    takes = {_LINES if method.client_streaming else _JSON: _content(asked.name)}
    gives = {_LINES if method.server_streaming else _JSON: _content(answered.name)}
    parameters: list[Any] = []
    if not method.client_streaming and not method.server_streaming:
        takes[_PROTO], gives[_PROTO] = {}, {}
    if not method.client_streaming and (places := places_of(asked)):
        takes |= {"image/*": {}, FORM: {"schema": {"type": "object", "properties": dict.fromkeys(places, _FILE)}}}
        parameters = [_parameter(field) for field in asked.fields if field.message_type is None]
    return {
        "operationId": f"{method.containing_service.name}_{method.name}",
        "tags": [method.containing_service.name],
        "description": comments()[method.full_name],
        "parameters": parameters,
        "requestBody": {"required": True, "content": takes},
        "responses": {"200": {"description": comments()[answered.full_name], "content": gives}} | refusals(),
    }


_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}


def _parameter(field: Any) -> dict[str, Any]:
    return {
        "name": field.name,
        "in": "query",
        "description": f"With a picture as body: {comments()[field.full_name]}",
        "schema": _field(field),
    }


def _all_messages(methods: Iterable[Any]) -> list[Any]:
    """Return every message that methods take or give, with those inside them."""
    found: dict[str, Any] = {}
    waiting = [kind for method in methods for kind in (method.input_type, method.output_type)]
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting += [_inner(field) for field in message.fields if _inner(field) is not None]
    return sorted(found.values(), key=lambda message: message.name)


def _inner(field: Any) -> Any:
    """Return the message that a field holds, or that the values of a map are; None if there is none."""
    kind = field.message_type
    return kind.fields_by_name["value"].message_type if kind is not None and kind.GetOptions().map_entry else kind


def _schema(message: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": comments().get(message.full_name, ""),
        "properties": {field.json_name: _described(field) for field in message.fields},
        "additionalProperties": False,
    }


def _described(field: Any) -> dict[str, Any]:
    text = comments().get(field.full_name, "")
    others = [one.json_name for one in field.containing_oneof.fields] if field.containing_oneof is not None else []
    if len(others) > 1:
        text += f" One of {', '.join(others)}."
    return {"description": text} | _field(field)


def _field(field: Any) -> dict[str, Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _value(kind.fields_by_name["value"])}
    return {"type": "array", "items": _value(field)} if field.is_repeated else _value(field)


def _value(field: Any) -> dict[str, Any]:
    if field.message_type is not None:
        return {"$ref": f"#/components/schemas/{field.message_type.name}"}
    if field.enum_type is not None:
        meanings = [
            f"`{v.name}`: {comments()[f'{field.enum_type.full_name}.{v.name}']}" for v in field.enum_type.values
        ]
        names = list(field.enum_type.values_by_name)
        return {"anyOf": [{"enum": names, "description": " ".join(meanings)}, {"type": "integer"}]}
    if field.type == field.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.type == field.TYPE_STRING:
        return {"type": "string"}
    if field.type == field.TYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return _NUMBER
    return _INTEGER | {"format": "int32" if field.type == field.TYPE_INT32 else "int64"}


def _content(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}
