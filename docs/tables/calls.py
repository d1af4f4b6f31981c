"""The calls of the service: from the `.proto` files with their comments, and from the table of scopes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from fc7_service.tokens import SCOPE_OF_CALL, SCOPES
from tables.markdown import code, table

PROTO = Path(__file__).parents[2] / "proto"
# Numbers of fields in descriptor.proto: how a comment's path names its place.
MESSAGE, ENUM, SERVICE = 4, 5, 6  # of a file
FIELD, METHOD, VALUE, ONEOF = 2, 2, 2, 8  # of a message, a service, an enum, a message


def scopes() -> str:
    """Return a row for each scope, with the calls that it adds."""
    rows = []
    for scope, meaning in SCOPES.items():
        names = sorted(path.rpartition("/")[2] for path, needed in SCOPE_OF_CALL.items() if needed == scope)
        rows.append((code(scope), meaning, ", ".join(map(code, names))))
    return table(("Scope", "What it allows", "Calls"), rows)


def calls() -> str:
    """Return every service with its calls, and every message and enum with its fields."""
    files = _descriptors()
    parts = [part for file in files for part in _services(file)]
    parts += [part for file in files for part in _messages(file)]
    return "\n\n".join(parts)


def _descriptors() -> list[FileDescriptorProto]:
    files = sorted(PROTO.glob("fc7/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        words = ["protoc", f"-I{PROTO}", f"--descriptor_set_out={out}", "--include_source_info", *map(str, files)]
        assert protoc.main(words) == 0, "protoc failed"
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}


def _services(file: FileDescriptorProto) -> Iterator[str]:
    comments = _comments(file)
    for number, service in enumerate(file.service):
        yield f"## {service.name}"
        yield comments[SERVICE, number]
        yield table(("Call", "Request", "Answer", "Scope", "What it does"), _methods(file, service, number))


def _methods(file: FileDescriptorProto, service: ServiceDescriptorProto, number: int) -> Iterator[Sequence[str]]:
    comments = _comments(file)
    for i, method in enumerate(service.method):
        request = "stream of " * method.client_streaming + _link(method.input_type)
        answer = "stream of " * method.server_streaming + _link(method.output_type)
        scope = SCOPE_OF_CALL.get(f"/{file.package}.{service.name}/{method.name}", "admin")
        yield code(method.name), request, answer, code(scope), comments[SERVICE, number, METHOD, i]


def _messages(file: FileDescriptorProto) -> Iterator[str]:
    comments = _comments(file)
    yield f"## Messages of {Path(file.name).name}"
    for number, message in enumerate(file.message_type):
        yield f"### {message.name}"
        yield comments[MESSAGE, number]
        if message.field:
            rows = [_field(message, field, (MESSAGE, number), i, comments) for i, field in enumerate(message.field)]
            yield table(("Field", "Type", "Number", "Meaning"), rows)
    for number, enum in enumerate(file.enum_type):
        yield f"### {enum.name}"
        yield comments[ENUM, number]
        yield table(("Value", "Number", "Meaning"), _values(enum, number, comments))


def _field(
    message: DescriptorProto,
    field: FieldDescriptorProto,
    path: tuple[int, ...],
    i: int,
    comments: dict[tuple[int, ...], str],
) -> Sequence[str]:
    meaning = comments[*path, FIELD, i]
    if field.HasField("oneof_index") and not field.proto3_optional:
        meaning += f" One of `{message.oneof_decl[field.oneof_index].name}`."
    entries = {entry.name: entry.field for entry in message.nested_type if entry.options.map_entry}
    if pair := entries.get(field.type_name.rpartition(".")[2]):
        kind = f"map of {_type(pair[0])} to {_type(pair[1])}"
    else:
        kind = f"list of {_type(field)}" if field.label == FieldDescriptorProto.LABEL_REPEATED else _type(field)
    if field.proto3_optional:
        kind += ", optional"
    return code(field.name), kind, str(field.number), meaning


def _values(enum: EnumDescriptorProto, number: int, comments: dict[tuple[int, ...], str]) -> Iterator[Sequence[str]]:
    for i, value in enumerate(enum.value):
        yield code(value.name), str(value.number), comments.get((ENUM, number, VALUE, i), "")


def _type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return code(FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower())


def _link(name: str) -> str:
    """Return a link to a message or an enum of the page."""
    short = name.rpartition(".")[2]
    return f"[{short}](#{short.lower()})"
