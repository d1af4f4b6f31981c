"""Names, ids, labels and file names that no message can hold: refused in words, without harm to their neighbours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_fakes import Awaited, Fake

import fc7
from fc7._operations import collection
from fc7.images import text_of
from fc7.results import CollectionFacts
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import common_pb2

HALF = "caf\udce9"  # what Python makes of a file name whose last byte is 0xe9


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        yield server


@pytest.fixture(params=[fc7.connect, Awaited.connect], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, fake: Fake) -> Iterator[Any]:
    with request.param(fake.address) as one:
        yield one


@pytest.mark.parametrize(("wrong", "said"), [(HALF, r"'caf\\udce9' is not text"), (7, "must be a string .got int")])
@pytest.mark.parametrize(
    "call",
    [
        lambda client, text: client.collection(text),
        lambda client, text: client.create_collection(text),
        lambda client, text: client.create_collection("c", layer=text),
        lambda client, text: client.delete_collection(text),
        lambda client, text: client.collection("c").search(id=text),
        lambda client, text: client.extract(b"image", model=text),
        lambda client, text: list(client.extract_stream([b"image"], layer=text)),
        lambda client, text: client.classify(b"image", head=text),
        lambda client, text: client.head(text),
        lambda client, text: client.publish_head(text),
        lambda client, text: client.delete_head(text),
        lambda client, text: client.model(text),
        lambda client, text: client.golden(text),
        lambda client, text: client.train_head(text, collection="c"),
        lambda client, text: client.train_head("h", collection="c", label=text),
        lambda client, text: client.train_head("h", images=[b"1", b"2"], labels=["a", text]),
    ],
)
def test_a_name_that_is_no_text(client: Any, call: Callable[[Any, Any], object], wrong: Any, said: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=said):
        call(client, wrong)


def test_an_id_that_is_no_text_fails_alone(client: Any, fake: Fake) -> None:
    added = client.collection("c").add([b"1", b"2", b"3"], ids=["a", HALF, 7])
    assert [(item.id, item.status) for item in added] == [("a", "added"), (HALF, "failed"), ("7", "failed")]
    assert [type(item.error) for item in added] == [type(None), fc7.InvalidArgument, fc7.InvalidArgument]
    assert [(item.id, len(item.image.encoded)) for item in fake.collections.upserts[0].items] == [("a", 1)]


def test_a_payload_that_is_no_text_fails_alone(client: Any) -> None:
    added = client.collection("c").add([b"1", b"2"], ids=["a", "b"], payloads=[{"name": HALF}, {}])
    assert [item.status for item in added] == ["failed", "added"]
    assert "surrogates" in str(added[0].error)


def answered(operation: Any, response: Any) -> tuple[Any, Any]:
    """Run an operation of one call; return its request and its value."""
    request = next(operation).request
    with pytest.raises(StopIteration) as ended:
        operation.send(response)
    return request, ended.value.value


def test_asking_for_ids_that_are_no_text() -> None:
    unknown = common_pb2.ItemError(reason="NOT_FOUND", message="no item ''")
    wrong = pb.GetItemResult(error=unknown)
    facts = CollectionFacts("c", 3, fc7.Provenance(*"abcdefg"), "cosine", 3, "exact", "")
    request, got = answered(
        collection.get_items(facts, ["i1", HALF, 7], False),
        pb.GetItemsResponse(results=[pb.GetItemResult(item=pb.Item(id="i1")), wrong, wrong]),
    )
    assert list(request.ids) == ["i1", "", ""]
    assert got[0].id == "i1"
    assert [type(error) for error in got[1:]] == [fc7.InvalidArgument] * 2
    request, removed = answered(
        collection.delete_items(facts, [HALF, "i2"], None, None),
        pb.DeleteItemsResponse(results=[pb.DeleteItemResult(error=unknown), pb.DeleteItemResult(id="i2")]),
    )
    assert [item.id for item in removed] == [HALF, "i2"]
    assert [type(item.error) for item in removed] == [fc7.InvalidArgument, type(None)]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_file_name_that_is_no_text_is_escaped(client: Any, fake: Fake, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(b"image")
    collection = client.collection("c")
    assert [item.id for item in collection.add([path])] == ["caf\\xe9.jpg"]
    assert [item.id for item in collection.add([path], root=tmp_path)] == ["caf\\xe9.jpg"]
    (sent, _) = (request.items[0] for request in fake.collections.upserts)
    assert sent.payload_json == f'{{"path":"{tmp_path}/caf\\\\xe9.jpg"}}'


def test_a_name_that_no_file_has_fails_alone(client: Any) -> None:
    added = client.collection("c").add(["\ud800.jpg"])
    assert [item.id for item in added] == ["\\ud800.jpg"]
    assert isinstance(added[0].error, fc7.InvalidArgument)
    assert text_of("äß.jpg") == "äß.jpg"
