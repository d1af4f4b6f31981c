"""Pictures as bodies of requests over HTTP: forms, parameters, and the places that they fill."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.errors import Fc7Error, InvalidArgument
from fc7.v1 import collection_pb2, common_pb2, explain_pb2, feature_pb2, head_pb2
from fc7_service.http.picture_form import PictureCodec, read_form

BOUNDARY = "----of-the-form"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts: tuple[str, bytes, str | None]) -> bytes:
    """A form as curl and browsers send it: name, content and, for a file, its name."""
    pieces = []
    for name, content, filename in parts:
        file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: image/jpeg'
        head = f'Content-Disposition: form-data; name="{name}"{file}'
        pieces.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


def read(kind: Any, body: bytes, query: str = "", content_type: str = FORM) -> Any:
    return PictureCodec(content_type, urllib.parse.parse_qsl(query, keep_blank_values=True)).read(kind, body)


def image(data: bytes) -> common_pb2.Image:
    return common_pb2.Image(encoded=data)


def test_a_body_that_is_a_picture_fills_the_first_place() -> None:
    asked = read(collection_pb2.QueryItemsRequest, b"jpeg", "collection=photos&k=5", "image/jpeg")
    query = collection_pb2.Query(image=image(b"jpeg"))
    assert asked == collection_pb2.QueryItemsRequest(collection="photos", k=5, queries=[query])
    classified = read(head_pb2.ClassifyRequest, b"jpeg", "head=h&ensemble=a&ensemble=b", "image/png")
    assert classified == head_pb2.ClassifyRequest(head="h", ensemble=["a", "b"], images=[image(b"jpeg")])
    projected = read(explain_pb2.ProjectUnitRequest, b"jpeg", "units=3&units=4&layer=conv5", "image/png")
    assert projected == explain_pb2.ProjectUnitRequest(layer="conv5", units=[3, 4], image=image(b"jpeg"))


def test_a_form_has_several_pictures_and_fields() -> None:
    body = form(("image", b"one", "a.jpg"), ("payload_json", b"{}", None), ("images", b"two", "b.jpg"))
    with pytest.raises(InvalidArgument, match="payload_json"):
        read(feature_pb2.ExtractRequest, body)
    body = form(("image", b"one", "a.jpg"), ("views", b"10", None), ("images", b"two\r\n--x", "b.jpg"))
    assert read(feature_pb2.ExtractRequest, body) == feature_pb2.ExtractRequest(
        images=[image(b"one"), image(b"two\r\n--x")], views=10
    )
    match = read(explain_pb2.ExplainMatchRequest, form(("query", b"q", "q"), ("neighbour", b"n", "n")), "layer=fc7")
    assert match == explain_pb2.ExplainMatchRequest(layer="fc7", query=image(b"q"), neighbour=image(b"n"))


def test_items_are_named_by_their_files_or_one_by_one() -> None:
    body = form(("image", b"one", "á b.jpg"), ("image", b"two", "c.jpg"), ("payload_json", b'{"n": 1}', None))
    with pytest.raises(InvalidArgument, match="came 1 times with 2 pictures"):
        read(collection_pb2.UpsertItemsRequest, body, "collection=c")
    body = form(("image", b"one", "á b.jpg"), ("image", b"two", "c.jpg"))
    items = read(collection_pb2.UpsertItemsRequest, body, "mode=UPSERT_MODE_MERGE").items
    assert [(item.id, item.image.encoded) for item in items] == [("á b.jpg", b"one"), ("c.jpg", b"two")]
    items = read(collection_pb2.UpsertItemsRequest, body, "id=1&id=2&payload_json={}&payload_json=[]").items
    assert [(item.id, item.payload_json) for item in items] == [("1", "{}"), ("2", "[]")]


def test_booleans_and_empty_texts_are_read() -> None:
    asked = read(head_pb2.ClassifyRequest, b"x", "model=&top=0", "image/webp")
    assert asked == head_pb2.ClassifyRequest(images=[image(b"x")])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("kk=1", "kk"),
        ("k=one", "k"),
        ("k=1&k=2", "k"),
        ("id=a", "id"),  # excludes a picture
        ("vector=a", "vector"),
        ("queries=a", "queries[0]"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(collection_pb2.QueryItemsRequest, b"x", query, "image/jpeg")
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (form(("image", b"x", "a")), "multipart/form-data", "no boundary"),
        (form(("image", b"x", "a")), "multipart/form-data; boundary=other", "cut short"),
        (form(("image", b"x", "a"))[:-5], FORM, "cut short"),
        (b"", FORM, "cut short"),
        (f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--".encode(), FORM, "no name"),
        (f"--{BOUNDARY}\r\nno blank line\r\n--{BOUNDARY}--".encode(), FORM, "no name"),
        (f"--{BOUNDARY}\r\n".encode() * 20_000, FORM, "more than"),
        (form(("picture", b"x", "a")), FORM, "Name it image, images"),
        (form(("model", b"\xff", None)), FORM, "no text"),
    ],
)
def test_a_malformed_form_is_refused(body: bytes, content_type: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        read(feature_pb2.ExtractRequest, body, "", content_type)


@given(st.lists(st.tuples(st.text("abc", min_size=1), st.binary(), st.none() | st.text("abc ."))))
def test_what_a_form_holds_is_read_back(parts: list[tuple[str, bytes, str | None]]) -> None:
    read_back = [(part.name, part.content, part.filename) for part in read_form(FORM, form(*parts))]
    assert read_back == parts


@given(st.binary(), st.text(max_size=20))
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    for content_type in (FORM, f"multipart/form-data; boundary={kind}"):
        try:
            read(collection_pb2.UpsertItemsRequest, body, "", content_type)
        except Fc7Error:
            continue
