"""The client's methods against a small server: batches, order, items that fail, laziness, both clients alike."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_fakes import PROVENANCE, Awaited, Fake
from PIL import Image

import fc7
from fc7._operations import batches, head
from fc7._operations.steps import OpenStream, ReadStream
from fc7.images import MAX_IMAGE_BYTES
from fc7.v1 import head_pb2


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, fake: Fake) -> Iterator[Any]:
    connect = fc7.connect if request.param == "sync" else Awaited.connect
    with connect(fake.address) as one:
        yield one


def images(count: int) -> list[bytes]:
    return [bytes([i % 251]) * (i + 1) for i in range(count)]


def test_rows_keep_the_order_over_batches(client: Any, fake: Fake) -> None:
    done: list[int] = []
    features = client.extract(images(150), layer="fc6", model="m", report=done.append)
    assert [len(request.images) for request in fake.features.requests] == [64, 64, 22]
    assert {(request.layer, request.model) for request in fake.features.requests} == {("fc6", "m")}
    assert features.values.shape == (150, 3)
    assert features.values.dtype == np.float32
    assert features.values[:, 0].tolist() == list(range(1, 151))
    assert features.rows == list(range(150))
    assert done == [64, 128, 150]
    assert features.timing == fc7.Timing(3.0, 6.0, 9.0)
    assert features.provenance.to_dict()["digest"] == PROVENANCE.digest


def test_batches_are_bounded_by_bytes(client: Any, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 1000)
    sizes = [400, 400, 400, 5000, 10, 10]
    features = client.extract([b"x" * size for size in sizes])
    assert [len(request.images) for request in fake.features.requests] == [2, 1, 1, 2]
    assert features.values[:, 0].tolist() == sizes


def test_files_are_read_when_their_turn_comes(client: Any, fake: Fake) -> None:
    taken: list[int] = []
    most_ahead: list[int] = []

    def source() -> Iterator[bytes]:
        for i in range(1000):
            taken.append(i)
            yield b"image"

    fake.features.on_extract = lambda request, context: most_ahead.append(
        len(taken) - sum(len(r.images) for r in fake.features.requests)
    )
    assert len(client.extract(source())) == 1000
    assert max(most_ahead) <= 1  # the image that no longer fitted the batch


def test_every_kind_of_image_travels(client: Any, fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"file")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    features = client.extract(
        [path, str(path), b"bytes", bytearray(b"array"), memoryview(b"view"), pixels, Image.fromarray(pixels)]
    )
    sent = fake.features.requests[0].images
    assert [image.encoded for image in sent[:5]] == [b"file", b"file", b"bytes", b"array", b"view"]
    assert sent[5] == sent[6]
    assert (sent[5].pixels.dtype, list(sent[5].pixels.shape)) == ("uint8", [2, 4, 3])
    assert sent[5].pixels.data == pixels.tobytes()
    assert len(features) == 7


@pytest.mark.parametrize(
    "one", [b"bytes", np.zeros((2, 2, 3), np.uint8), Image.new("L", (3, 2))], ids=["bytes", "array", "Pillow"]
)
def test_one_image_is_a_list_of_one(client: Any, one: Any) -> None:
    assert len(client.extract(one)) == 1


def test_an_array_of_four_axes_is_a_list(client: Any) -> None:
    assert len(client.extract(np.zeros((5, 2, 2, 3), np.uint8))) == 5


@pytest.fixture
def unreadable(tmp_path: Path) -> list[tuple[Any, type[fc7.Fc7Error], str]]:
    """Images that cannot be sent: image, error, part of its text."""
    huge, pipe = tmp_path / "huge.jpg", tmp_path / "pipe.jpg"
    with huge.open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    os.mkfifo(pipe)
    noise = BytesIO()
    Image.effect_noise((64, 64), 50).save(noise, "PNG")
    broken = Image.open(BytesIO(noise.getvalue()[:1000]))
    return [
        (tmp_path / "gone.jpg", fc7.NotFound, "gone.jpg"),
        (tmp_path, fc7.InvalidArgument, "is not a file"),
        (pipe, fc7.InvalidArgument, "is not a file"),
        ("a\0b.jpg", fc7.InvalidArgument, "null"),
        (huge, fc7.ResourceExhausted, f"at most {MAX_IMAGE_BYTES}"),
        (bytes(MAX_IMAGE_BYTES + 1), fc7.ResourceExhausted, "a message holds at most"),
        (np.zeros((4, 4, 3), np.float32), fc7.InvalidArgument, "float32"),
        (np.zeros((0, 4, 3), np.uint8), fc7.InvalidArgument, "(0, 4, 3)"),
        (broken, fc7.ImageDecodeError, "Pillow cannot decode"),
        (17, fc7.InvalidArgument, "int"),
        (b"bad bytes", fc7.ImageDecodeError, "not an image"),
    ]


def test_an_unreadable_image_fails_alone(client: Any, unreadable: list[Any]) -> None:
    mixed = [b"first", *(image for image, _, _ in unreadable), b"last"]
    features = client.extract(mixed, on_error="skip")
    assert features.values[:, 0].tolist() == [5, 4]
    assert features.rows == [0, len(mixed) - 1]
    assert [failure.index for failure in features.failed] == list(range(1, len(mixed) - 1))
    for failure, (_, kind, text) in zip(features.failed, unreadable, strict=True):
        assert type(failure.error) is kind
        assert text in failure.error.message


def test_extract_raises_the_first_failure_and_says_where(client: Any, unreadable: list[Any]) -> None:
    for image, kind, text in unreadable:
        with pytest.raises(kind) as caught:
            client.extract([b"first", image, b"bad too"])
        assert caught.value.index == 1
        assert text in caught.value.message
    with pytest.raises(fc7.ImageDecodeError, match=r"^image 1: not an image$"):
        client.extract([b"first", b"bad"])


def test_classify_and_search_answer_every_image(client: Any, unreadable: list[Any]) -> None:
    mixed = [b"first", *(image for image, _, _ in unreadable), b"last"]
    kinds = [None, *(kind for _, kind, _ in unreadable), None]
    answers = client.classify(mixed, head="h")
    assert [answer.error and type(answer.error) for answer in answers] == kinds
    assert (answers[0].label, answers[0].probability, answers[-1].top) == ("5", 0.9, [("4", 0.9)])
    with pytest.raises(fc7.NotFound):
        _ = answers[1].label
    found = client.collection("c").search_many(mixed)
    assert [type(answer) if isinstance(answer, fc7.Fc7Error) else None for answer in found] == kinds
    assert found[0] == [fc7.Hit("5", 0.5, {"a": 1})]


@pytest.mark.parametrize(
    "call", [lambda c: c.extract([]), lambda c: c.extract(7), lambda c: c.extract(b"a", on_error="x")]
)
def test_calls_that_make_no_sense(client: Any, call: Any) -> None:
    with pytest.raises(fc7.InvalidArgument):
        call(client)


def test_features_of_two_provenances_do_not_mix(client: Any, fake: Fake) -> None:
    def change(request: Any, context: Any) -> None:
        PROVENANCE.digest = f"{len(fake.features.requests)}" * 64

    fake.features.on_extract = change
    try:
        with pytest.raises(fc7.Aborted, match="changed"):
            client.extract(images(65))
    finally:
        PROVENANCE.digest = "d" * 64


def test_ids_are_paths_below_the_root(client: Any, fake: Fake, tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    paths = sorted(tmp_path.rglob("*.jpg"))
    collection = client.collection("c")
    assert [added.id for added in collection.add(paths, root=tmp_path)] == ["a/1.jpg", "b/1.jpg"]
    assert [item.payload_json for item in fake.collections.upserts[0].items] == [
        f'{{"path":"{path}"}}' for path in paths
    ]
    assert [added.id for added in collection.add(str(paths[0]))] == ["1.jpg"]
    with pytest.raises(fc7.InvalidArgument, match="below root"):
        collection.add(paths, root=tmp_path / "a")
    with pytest.raises(fc7.InvalidArgument, match="image 0 has no path"):
        collection.add([b"bytes"])


def test_each_item_is_reported_with_its_own_status(client: Any, fake: Fake, tmp_path: Path) -> None:
    reported: list[fc7.Added] = []
    batch_of: list[int] = []

    def report(added: fc7.Added) -> None:
        reported.append(added)
        batch_of.append(len(fake.collections.upserts))

    ids = ["new", "old", "gone", "bad", "nan", "new", *(f"n{i}" for i in range(60))]
    pictures = [b"1", b"2", tmp_path / "gone.jpg", b"bad", b"3", b"4", *images(60)]
    payloads: list[Any] = [{"n": 1}, {}, {}, {}, {"x": float("nan")}, {}, *({} for _ in range(60))]
    added = client.collection("c").add(pictures, ids=ids, payloads=payloads, report=report)
    assert added == reported
    assert batch_of == [1] * 64 + [2] * 2  # before the next batch is sent
    assert [a.status for a in added[:6]] == ["added", "replaced", "failed", "failed", "failed", "failed"]
    errors = [type(a.error) for a in added[2:6]]
    assert errors == [fc7.NotFound, fc7.ImageDecodeError, fc7.InvalidArgument, fc7.InvalidArgument]
    assert "is used twice" in added[5].error.message
    assert {a.status for a in added[6:]} == {"added"}
    assert [item.id for request in fake.collections.inquiries for item in request.items] == ids
    sent = [own for i, own in enumerate(ids) if i not in (2, 4, 5)]  # what failed here is not sent
    assert [item.id for request in fake.collections.upserts for item in request.items] == sent


def test_only_bytes_that_are_not_stored_are_sent(client: Any, fake: Fake) -> None:
    pictures = images(70)
    fake.collections.stored = {f"i{n}": hashlib.sha256(pictures[n]).hexdigest() for n in range(70) if n not in (3, 69)}
    pixels = np.zeros((2, 2, 3), np.uint8)
    fake.collections.stored["pixels"] = hashlib.sha256(b"pixels2,2,3" + pixels.tobytes()).hexdigest()
    added = client.collection("c").add([*pictures, pixels], ids=[*(f"i{n}" for n in range(70)), "pixels"])
    assert [a.id for a in added if a.status == "added"] == ["i3", "i69"]
    assert {a.status for a in added} == {"added", "skipped"}
    assert [[item.image.encoded for item in request.items] for request in fake.collections.upserts] == [
        [pictures[3]], [pictures[69]],
    ]  # fmt: skip
    assert all(not item.image.encoded for request in fake.collections.inquiries for item in request.items)


def test_a_server_that_knows_no_digests_gets_the_bytes(client: Any, fake: Fake) -> None:
    fake.collections.knows_digests = False
    assert [a.status for a in client.collection("c").add([b"1", b"bad"], ids=["a", "b"])] == ["added", "failed"]
    assert [item.image.encoded for item in fake.collections.upserts[-1].items] == [b"1", b"bad"]


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c"], "ab"])
def test_one_id_an_image(client: Any, ids: Any) -> None:
    with pytest.raises(fc7.InvalidArgument, match=r"ids|images"):
        client.collection("c").add([b"1", b"2"], ids=ids)


def test_features_travel_with_their_provenance(client: Any, fake: Fake) -> None:
    features, collection = client.extract(images(3)), client.collection("c")
    assert [a.status for a in collection.add_vectors(features, ["x", "old", "z"])] == ["added", "replaced", "added"]
    sent = fake.collections.upserts[0].items[1].vector
    assert sent.provenance_digest == PROVENANCE.digest
    assert np.frombuffer(sent.values.data, "<f4").tolist() == [2, 1, 1]
    collection.search(features=features[2], k=7)
    query = fake.collections.queries[0]
    assert (query.k, np.frombuffer(query.queries[0].vector.values.data, "<f4")[0]) == (7, 3)
    with pytest.raises(fc7.InvalidArgument, match="3 rows"):
        collection.search(features=features)


@pytest.mark.parametrize("query", [{}, {"image": b"a", "id": "b"}, {"id": "b", "k": 0}])
def test_search_takes_one_query(client: Any, query: dict[str, Any]) -> None:
    with pytest.raises(fc7.InvalidArgument):
        client.collection("c").search(**query)


def test_search_raises_the_error_of_its_query(client: Any) -> None:
    collection = client.collection("c")
    assert collection.search(id="stored")[0].id == "stored"
    with pytest.raises(fc7.ImageDecodeError):
        collection.search(b"bad")
    with pytest.raises(fc7.NotFound):
        collection.search("gone.jpg")


def test_items_come_page_by_page(client: Any, fake: Fake) -> None:
    collection = client.collection("c")
    items = collection.items(with_features=True)
    assert next(items).id == "i0"
    assert len(fake.collections.pages) == 1
    rest = list(items)
    assert [item.id for item in rest] == fake.collections.ids[1:]
    assert rest[0].feature.tolist() == [1, 2, 3]
    assert len(fake.collections.pages) == 3


def test_training_leaves_unreadable_images_out(client: Any, fake: Fake, tmp_path: Path) -> None:
    pictures = [b"1", tmp_path / "gone.jpg", *images(70), b"bad"]
    labels = [f"l{i % 2}" for i in range(73)]
    done: list[int] = []
    head = client.train_head("h", images=pictures, labels=labels, report=done.append)
    assert [(f.index, type(f.error)) for f in head.failed] == [(1, fc7.NotFound), (72, fc7.ImageDecodeError)]
    assert fake.heads.labels == labels
    assert head.classes == ["l0", "l1"]
    assert done == [64, 73, 73]


def test_a_training_that_breaks_off_here_breaks_off_there(client: Any, fake: Fake) -> None:
    with pytest.raises(fc7.InvalidArgument, match="labels ends after 70"):
        client.train_head("h", images=images(80), labels=["a"] * 70)
    assert fake.heads.ended.wait(10)
    assert not fake.heads.is_trained  # never a training on a part

    def broken() -> Iterator[bytes]:
        yield from images(70)
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError):
        client.train_head("h", images=broken(), labels=["a"] * 80)


def test_a_training_is_read_to_its_end() -> None:
    """Otherwise the call is still under way when an embedded server stops, and gRPC prints a traceback."""
    operation = head.train(head.plan("h", "c", "label", "", "", None), None, None, None, None)
    assert isinstance(next(operation), OpenStream)
    step = operation.send("stream")
    assert isinstance(step, ReadStream)
    assert isinstance(operation.send(head_pb2.TrainHeadResponse(head=head_pb2.Head(name="h", version=2))), ReadStream)
    with pytest.raises(StopIteration) as ended:
        operation.send(None)
    assert ended.value.value.version == 2


@pytest.mark.parametrize(
    "source", [{}, {"collection": "c", "images": [b"1"], "labels": ["a"]}, {"images": [b"1"]}, {"labels": ["a"]}]
)
def test_training_takes_one_source(client: Any, source: dict[str, Any]) -> None:
    with pytest.raises(fc7.InvalidArgument, match="takes collection="):
        client.train_head("h", **source)


def test_a_stream_answers_in_order(client: Any, tmp_path: Path) -> None:
    answers = list(client.extract_stream(iter([b"a", tmp_path / "gone.jpg", b"bad", b"bcd"])))
    assert [type(answer) for answer in answers] == [np.ndarray, fc7.NotFound, fc7.ImageDecodeError, np.ndarray]
    assert answers[3].tolist() == [3, ord("b"), ord("d")]


def test_a_stream_without_end_can_be_left(client: Any, fake: Fake) -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield b"x" * 100_000

    stream = client.extract_stream(forever())
    for _ in range(20):
        assert next(stream)[0] == 100_000
    stream.close()
    assert fake.features.stream_ended.wait(10)


def test_the_time_of_a_call_is_bounded(client: Any, fake: Fake) -> None:
    is_over = threading.Event()
    fake.features.on_extract = lambda request, context: is_over.wait(10)
    with pytest.raises(fc7.DeadlineExceeded, match="timeout_s"):
        client.extract(b"a", timeout_s=0.2)
    is_over.set()
    with pytest.raises(fc7.DeadlineExceeded, match="timeout_s"):
        client.extract(b"a", timeout_s=0.0)


def test_ctrl_c_cancels_the_call(fake: Fake) -> None:
    is_cancelled = threading.Event()

    def interrupt(request: Any, context: Any) -> None:
        context.add_callback(is_cancelled.set)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        is_cancelled.wait(10)

    with fc7.connect(fake.address) as client:
        for i in range(10):  # at whatever moment of the call it comes
            is_cancelled.clear()
            fake.features.on_extract = interrupt
            with pytest.raises(KeyboardInterrupt):
                client.extract(b"a")
            assert is_cancelled.wait(10)
            fake.features.on_extract = lambda request, context: None
            assert len(client.extract(b"the client goes on")) == 1
            assert len(fake.features.requests) == 2 * (i + 1)


def test_a_closed_client_says_so(client: Any) -> None:
    client.close()
    with pytest.raises(fc7.FailedPrecondition, match="closed"):
        client.models()
