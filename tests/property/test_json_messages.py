"""Messages as JSON: what the HTTP door reads is what protobuf's own library reads, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from fc7.errors import InvalidArgument
from fc7.v1 import collection_pb2, feature_pb2, head_pb2
from fc7_service.http.json_messages import JsonCodec

KINDS = (
    collection_pb2.UpsertItemsRequest,
    collection_pb2.QueryItemsResponse,
    feature_pb2.ExtractResponse,
    head_pb2.TrainHeadResponse,
    head_pb2.ClassifyRequest,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values_of(field: Any) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type._concrete_class)
    if field.enum_type is not None:
        return st.sampled_from(list(field.enum_type.values_by_number))
    bits = 31 if field.type == field.TYPE_INT32 else 63
    return {
        field.CPPTYPE_STRING: st.binary(max_size=9) if field.type == field.TYPE_BYTES else TEXT,
        field.CPPTYPE_BOOL: st.booleans(),
        field.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
        field.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
    }.get(field.cpp_type, st.integers(-(2**bits), 2**bits - 1))


@st.composite
def messages(draw: Any, kind: type[Message]) -> Message:
    """Any message of a class."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()) or (field.message_type and field.message_type.GetOptions().map_entry):
            continue
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values_of(field), max_size=3)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values_of(field)))
        else:
            setattr(message, field.name, draw(values_of(field)))
    return message


ANY = st.one_of(map(messages, KINDS))


@given(ANY)
def test_what_is_written_is_read_by_both(message: Message) -> None:
    text = JsonCodec().write(message)
    assert JsonCodec().read(type(message), text) == message
    assert json_format.Parse(text, type(message)()) == message


@given(ANY, st.booleans())
def test_what_the_library_writes_is_read(message: Message, with_own_names: bool) -> None:
    text = json_format.MessageToJson(message, preserving_proto_field_name=with_own_names)
    assert JsonCodec().read(type(message), text.encode()) == message


NAMES = st.sampled_from(["id", "image", "encoded", "pixels", "vector", "values", "shape", "data", "payload_json"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(NAMES, JSON_VALUES, max_size=4), max_size=3), JSON_VALUES)
def test_whatever_comes_is_read_as_the_library_reads_it_or_refused(items: list[Any], mode: Any) -> None:
    kind, values = collection_pb2.UpsertItemsRequest, {"items": items, "mode": mode}
    with contextlib.suppress(InvalidArgument):
        read = JsonCodec().read(kind, json.dumps(values).encode())
        assert read == json_format.ParseDict(values, kind())


@given(st.binary(max_size=20), st.booleans(), st.booleans())
def test_base64_of_both_alphabets_is_read_with_padding_and_without(data: bytes, is_url: bool, is_padded: bool) -> None:
    text = (base64.urlsafe_b64encode if is_url else base64.b64encode)(data).decode()
    values = {"images": [{"encoded": text if is_padded else text.rstrip("=")}]}
    read = JsonCodec().read(head_pb2.ClassifyRequest, json.dumps(values).encode())
    assert read.images[0].encoded == data


@pytest.mark.parametrize("text", ["a", "ab=c", "ab\n", "äb==", "ab c", "====x"])
def test_base64_with_anything_else_in_it_is_refused(text: str) -> None:
    values = {"images": [{}, {"encoded": text}]}
    with pytest.raises(InvalidArgument) as caught:
        JsonCodec().read(head_pb2.ClassifyRequest, json.dumps(values).encode())
    assert caught.value.name == "images[1].encoded"
