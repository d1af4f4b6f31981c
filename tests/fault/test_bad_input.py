"""What bad input gets, through both doors: status, text and exit code; and the server goes on."""

from __future__ import annotations

import re
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fc7
from doors import holder_of, private_door
from fc7.cli import main
from fc7.cli.folder_scan import FolderScan
from fc7.errors import Fc7Error
from fc7.v1 import collection_pb2, common_pb2
from fc7.v1.collection_pb2_grpc import CollectionServiceStub
from servers import WAIT_S, jpeg, serving, write_jpegs

Attempt = Callable[[], Any]


@dataclass
class Door:
    """A way to a server: the Python client, and the command with the options that lead to it."""

    client: fc7.Client
    options: list[str]
    pictures: Path  # a/0.jpg a/1.jpg b/0.jpg b/1.jpg

    def run(self, *args: object) -> Result:
        return CliRunner().invoke(main, [*map(str, args), *self.options])

    def refuses(self, attempt: Attempt, code: str, text: str) -> Fc7Error:
        with pytest.raises(Fc7Error) as caught:
            attempt()
        check(caught.value, code, text)
        return caught.value

    def exits(self, exit_code: int, text: str, *args: object) -> Result:
        result = self.run(*args)
        assert result.exit_code == exit_code, result.output
        assert re.search(text, result.stderr), result.stderr
        assert "Traceback" not in result.output
        return result


def check(error: Fc7Error | None, code: str, text: str) -> None:
    assert error is not None
    assert error.code == code, error
    assert re.search(text, error.message), error.message


def nested(depth: int) -> str:
    """A payload of so many levels."""
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


@pytest.fixture(scope="module", params=["embedded", "remote"])
def shared(
    request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp(request.param)
    pictures = folder / "pictures"
    write_jpegs(pictures, ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"])
    data = folder / "data"
    if request.param == "embedded":
        with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
            yield Door(client, ["--data", str(data)], pictures)
    else:
        with serving(data, "--model", str(tiny_bundle)) as served, fc7.connect(served.address) as client:
            yield Door(client, ["--server", served.address], pictures)
            assert served.process.poll() is None


@pytest.fixture
def door(shared: Door) -> Iterator[Door]:
    """The door, and after the test the proof that the server goes on."""
    if "c" not in [c.name for c in shared.client.collections()]:
        shared.client.create_collection("c").add(shared.pictures.rglob("*.jpg"), root=shared.pictures)
    yield shared
    assert shared.client.is_ready()
    assert shared.client.extract(jpeg(0)).values.shape == (1, 8)
    assert shared.client.collection("c").count == 4


def png(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


BAD = {
    "truncated": (jpeg(1)[: len(jpeg(1)) // 2], "truncated"),
    "empty": (b"", "empty"),
    "no image": (b"not a picture", "not an image"),
    "a billion pixels": (png(40_000, 25_000), "pixels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_fails_alone(door: Door, tmp_path: Path, kind: str) -> None:
    data, text = BAD[kind]
    features = door.client.extract([jpeg(1), data, jpeg(2)], on_error="skip")
    assert features.rows == [0, 2]
    assert [f.index for f in features.failed] == [1]
    check(features.failed[0].error, "INVALID_ARGUMENT", text)
    error = door.refuses(lambda: door.client.extract([jpeg(1), data]), "INVALID_ARGUMENT", text)
    assert isinstance(error, fc7.ImageDecodeError)

    added = door.client.create_collection(f"bad-{kind.replace(' ', '-')}").add([jpeg(1), data], ids=["good", "bad"])
    assert [a.status for a in added] == ["added", "failed"]
    check(added[1].error, "INVALID_ARGUMENT", text)
    check(door.client.collection("c").search_many([data], k=1)[0], "INVALID_ARGUMENT", text)  # type: ignore[arg-type]
    check(door.client.classify([data])[0].error, "INVALID_ARGUMENT", text)

    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "bad.jpg").write_bytes(data)
    (folder / "good.jpg").write_bytes(jpeg(3))
    door.exits(1, text, "extract", folder, "--output", tmp_path / "f.npz")
    assert np.load(tmp_path / "f.npz")["ids"].tolist() == ["good.jpg"]
    door.exits(1, text, "classify", folder)
    door.exits(1, text, "add", f"cli-{kind.replace(' ', '-')}", folder)


def test_unknown_names(door: Door, tmp_path: Path) -> None:
    image, out = door.pictures / "a" / "0.jpg", tmp_path / "f.npz"
    door.refuses(lambda: door.client.extract(image, model="nope"), "NOT_FOUND", "model 'nope'.*tiny")
    door.exits(3, "model 'nope'", "extract", image, "--model", "nope", "--output", out)
    door.refuses(lambda: door.client.extract(image, layer="fc99"), "NOT_FOUND", "no layer 'fc99'.*conv5")
    door.exits(3, "no layer 'fc99'", "extract", image, "--layer", "fc99", "--output", out)
    door.refuses(lambda: door.client.collection("nope"), "NOT_FOUND", "nope")
    door.exits(3, "nope", "search", "nope", image)
    door.exits(3, "nope", "collection", "delete", "nope", "--yes")
    door.refuses(lambda: door.client.head("nope"), "NOT_FOUND", "nope")
    door.exits(3, "nope", "classify", image, "--head", "nope")
    door.exits(3, "nope", "head", "publish", "nope")
    door.refuses(lambda: door.client.collection("c").search(id="nope"), "NOT_FOUND", "nope")
    door.exits(3, "nope", "search", "c", "--id", "nope")
    found = door.client.collection("c").get(["nope", "a/0.jpg"])
    check(found[0], "NOT_FOUND", "nope")  # type: ignore[arg-type]
    assert not isinstance(found[1], Fc7Error)
    removed = door.client.collection("c").remove(["nope"])
    check(removed[0].error, "NOT_FOUND", "nope")
    door.exits(1, "nope", "remove", "c", "nope")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a\0b", "a\nb", "é"])
def test_names_that_cannot_be_one(door: Door, name: str) -> None:
    door.refuses(lambda: door.client.create_collection(name), "INVALID_ARGUMENT", "name")
    door.refuses(lambda: door.client.train_head(name, collection="c"), "INVALID_ARGUMENT", "name")
    if "\0" not in name:
        door.exits(2, "name", "collection", "create", name)


def test_vectors_that_do_not_belong(door: Door) -> None:
    collection = door.client.collection("c")
    features = door.client.extract(jpeg(1))

    def vector(values: list[float], provenance: fc7.Provenance = features.provenance) -> fc7.Features:
        return fc7.Features(np.array([values], np.float32), provenance, [0], [], features.timing)

    door.refuses(lambda: collection.search(features=vector([1.0] * 7)), "INVALID_ARGUMENT", "7.*8|8.*7")
    door.refuses(lambda: collection.search(features=vector([np.nan] * 8)), "INVALID_ARGUMENT", "NaN|finite")
    door.refuses(lambda: collection.search(features=vector([np.inf] * 8)), "INVALID_ARGUMENT", "finite")
    added = collection.add_vectors(vector([np.nan] * 8), ["n"])
    check(added[0].error, "INVALID_ARGUMENT", "NaN|finite")
    other = door.client.extract(jpeg(1), layer="fc6")
    error = door.refuses(lambda: collection.search(features=other), "FAILED_PRECONDITION", "provenance")
    assert other.provenance.digest[:12] in error.message
    assert collection.provenance.digest[:12] in error.message
    check(collection.add_vectors(other, ["o"])[0].error, "FAILED_PRECONDITION", "provenance")


def test_k(door: Door) -> None:
    image = door.pictures / "a" / "0.jpg"
    collection = door.client.collection("c")
    door.refuses(lambda: collection.search(image, k=0), "INVALID_ARGUMENT", "must be at least 1")
    door.exits(2, r"'-k': 0 is not in the range 1<=x", "search", "c", image, "-k", 0)
    assert len(collection.search(image, k=1000)) == 4
    assert len(collection.search(id="a/0.jpg", k=1000)) == 3
    assert door.client.create_collection(f"empty-{id(door)}").search(image, k=5) == []


def test_folders_with_one_class_or_none(door: Door, tmp_path: Path) -> None:
    write_jpegs(tmp_path / "one", ["a/0.jpg", "a/1.jpg"])
    door.exits(2, "class", "head", "train", "h", tmp_path / "one")
    (tmp_path / "none").mkdir()
    door.exits(2, "image", "head", "train", "h", tmp_path / "none")
    door.exits(2, "", "head", "train", "h", tmp_path / "none", "--collection", "c")
    door.refuses(lambda: door.client.train_head("h", images=[jpeg(1)], labels=["a"]), "INVALID_ARGUMENT", "class")
    door.refuses(lambda: door.client.train_head("h", images=[], labels=[]), "INVALID_ARGUMENT", "class|image")
    door.refuses(lambda: door.client.train_head("h", collection="c"), "INVALID_ARGUMENT", "label")
    assert "h" not in [head.name for head in door.client.heads()]


def test_a_file_that_vanishes_between_listing_and_reading(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "img" / f"{i}.jpg" for i in range(3)]
    write_jpegs(tmp_path / "img", [p.name for p in paths])
    from fc7.cli import add as module

    listed = module.find_items

    def vanish(given: tuple[Path, ...], way_out: str, scan: FolderScan) -> Any:
        found = listed(given, way_out, scan)
        paths[1].unlink()
        return found

    monkeypatch.setattr(module, "find_items", vanish)
    result = door.exits(1, "1.jpg", "add", "vanishing", tmp_path / "img")
    assert "2 added" in result.stdout
    features = door.client.extract(paths, on_error="skip")
    assert features.rows == [0, 2]
    check(features.failed[0].error, "NOT_FOUND", "1.jpg")


def test_two_inputs_with_one_id_are_refused_before_any_work(door: Door, tmp_path: Path) -> None:
    write_jpegs(tmp_path, ["x/0.jpg", "y/x/0.jpg"])
    door.exits(2, "0.jpg", "add", "twice", tmp_path / "x", tmp_path / "y" / "x")
    assert "twice" not in [c.name for c in door.client.collections()]
    added = door.client.collection("c").add([jpeg(8), jpeg(9)], ids=["same", "same"])
    check(added[1].error, "INVALID_ARGUMENT", "same")
    assert door.client.collection("c").remove(["same"])[0].error is None


def test_paths_that_are_not_there(door: Door, tmp_path: Path) -> None:
    door.exits(3, "missing", "extract", tmp_path / "missing", "--output", tmp_path / "x.npz")
    door.exits(2, "npz", "extract", door.pictures, "--output", tmp_path / "x.csv")
    assert not list(tmp_path.glob("x.*"))


def test_garbage_bytes_on_the_wire(door: Door) -> None:
    with open_channel(door) as channel:
        for service, method in [("Feature", "Extract"), ("Collection", "UpsertItems"), ("Head", "Classify")]:
            call = channel.unary_unary(f"/fc7.v1.{service}Service/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff" * 40, timeout=WAIT_S)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "are not the message" in caught.value.details()
        stream = channel.stream_stream("/fc7.v1.FeatureService/StreamExtract")
        with pytest.raises(grpc.RpcError) as caught:
            list(stream(iter([b"\xff" * 40]), timeout=WAIT_S))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/fc7.v1.FeatureService/Nope")(b"", timeout=WAIT_S)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def open_channel(door: Door) -> grpc.Channel:
    return (
        grpc.insecure_channel(door.options[1]) if door.options[0] == "--server" else private_door(Path(door.options[1]))
    )


def test_bytes_that_are_not_even_http2(door: Door) -> None:
    if door.options[0] != "--server":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(holder_of(Path(door.options[1])).address.removeprefix("unix:"))
    else:
        host, port = door.options[1].split(":")
        connection = socket.create_connection((host, int(port)))
    with connection:
        connection.settimeout(WAIT_S)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(range(256)) * 4)
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass  # closed by reset: as good


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("float32", [2], b"\0" * 7),
        ("float32", [-1], b""),
        ("float32", [2**62, 4], b""),
        ("int128", [1], b"\0" * 16),
        ("uint8", [4, 4, 3], b"\0" * 47),
        ("float32", [1] * 9, b"\0" * 4),
        ("float32", [4, 4, 3], b"\0" * 192),
    ],
)
def test_tensors_that_are_not_what_they_say(door: Door, dtype: str, shape: list[int], data: bytes) -> None:
    tensor = common_pb2.Tensor(dtype=dtype, shape=shape, data=data)
    request = collection_pb2.QueryItemsRequest(
        collection="c", k=1, queries=[collection_pb2.Query(image=common_pb2.Image(pixels=tensor))]
    )
    with open_channel(door) as channel:
        answer = CollectionServiceStub(channel).QueryItems(request, timeout=WAIT_S)
    assert answer.results[0].error.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("[1]", "not a JSON object"),
        ("{", "cannot be stored"),
        ("NaN", "NaN is not JSON"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[" * 5000 + "]" * 5000, "5000 levels deep, but the limit is 64"),
        ('{"a": "' + "x" * 70_000 + '"}', "the limit is 65536"),
        ('{"a": 1, "b": 2, "a": 3}', "key 'a' occurs twice"),
        ('{"a": 1e400}', "does not fit a double"),
        *((nested(depth), f"{depth} levels deep") for depth in (65, 500, 986, 990, 1000)),
    ],
)
def test_payloads_that_cannot_be_stored_fail_alone(door: Door, payload: str, text: str) -> None:
    items = [
        collection_pb2.NewItem(id=f"p{i}", image=common_pb2.Image(encoded=jpeg(1)), payload_json=one)
        for i, one in enumerate((payload, nested(64)))
    ]
    request = collection_pb2.UpsertItemsRequest(collection="c", items=items)
    with open_channel(door) as channel:
        stub = CollectionServiceStub(channel)
        bad, good = stub.UpsertItems(request, timeout=WAIT_S).results
        stored = stub.GetItems(collection_pb2.GetItemsRequest(collection="c", ids=["p1"]), timeout=WAIT_S)
        stub.DeleteItems(collection_pb2.DeleteItemsRequest(collection="c", ids=["p1"]), timeout=WAIT_S)
    assert bad.status == collection_pb2.UPSERT_STATUS_FAILED
    assert bad.error.code == "INVALID_ARGUMENT"
    assert bad.error.reason == "INVALID_PAYLOAD"
    assert text in bad.error.message
    assert not good.HasField("error")
    assert stored.results[0].item.payload_json == nested(64)


@pytest.mark.parametrize("label", ["two\nlines", "a\0b", "\x1b[31mred", "\x85"])
def test_labels_that_are_more_than_a_line(door: Door, label: str) -> None:
    attempt = lambda: door.client.train_head("h", images=[jpeg(i) for i in range(4)], labels=[label, label, "b", "b"])  # noqa: E731
    door.refuses(attempt, "INVALID_ARGUMENT", "control character")


@pytest.mark.parametrize("item_id", ["", "x" * 1025, "a\0b", "a\nb", "\x7f"])
def test_ids_that_cannot_be_one(door: Door, item_id: str) -> None:
    added = door.client.collection("c").add([jpeg(1)], ids=[item_id])
    check(added[0].error, "INVALID_ARGUMENT", "id")
