"""Requests and answers are bounded, in our words; nothing that a caller sends makes the server answer INTERNAL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fc7
from fc7.v1 import collection_pb2, collection_pb2_grpc, common_pb2, feature_pb2, feature_pb2_grpc
from fc7_service.bundle.folder import open_bundle
from fc7_service.collections.registry import Collections
from fc7_service.data_folder import DataFolder
from fc7_service.features.batcher import Batcher, Request
from fc7_service.features.extractor import Extractor
from fc7_service.rpc import collection_service, interceptor, messages
from fc7_service.rpc.message_limits import MAX_ITEMS
from fc7_service.served.table import ModelTable
from fc7_service.server import Server
from fc7_service.settings import Settings
from servers import WAIT_S, jpeg, serving


@pytest.fixture(scope="module")
def channel(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    data = tmp_path_factory.mktemp("limits")
    with serving(data, "--model", str(tiny_bundle)) as served:
        with fc7.connect(served.address) as client:
            client.create_collection("c", layer="conv5").add(
                [jpeg(i) for i in range(20)], ids=[str(i) for i in range(20)]
            )
        options = (("grpc.max_receive_message_length", -1),)
        with grpc.insecure_channel(served.address, options) as opened:
            yield opened


def refused(call: object, request: object, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=WAIT_S)  # type: ignore[operator]
    assert caught.value.code() is code, caught.value.details()
    assert text in caught.value.details()


def test_too_many_items_in_one_request(channel: grpc.Channel) -> None:
    stub = feature_pb2_grpc.FeatureServiceStub(channel)
    many = feature_pb2.ExtractRequest(images=[common_pb2.Image(encoded=b"")] * (MAX_ITEMS + 1))
    refused(stub.Extract, many, grpc.StatusCode.INVALID_ARGUMENT, f"the limit is {MAX_ITEMS}")
    assert stub.Extract(feature_pb2.ExtractRequest(images=[common_pb2.Image(encoded=jpeg(1))])).items


def test_answers_that_would_not_fit_are_refused_before_the_work(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked, work = [], Extractor.extract

    async def extract(self: Extractor, images: Sequence[Any], **options: Any) -> Any:
        worked.append(len(images))
        return await work(self, images, **options)

    monkeypatch.setattr(Extractor, "extract", extract)
    images, n_bytes = [jpeg(i) for i in range(5)], 4 * open_bundle(tiny_bundle).layers["conv5"].dim
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 5 * n_bytes - 1)
        with pytest.raises(
            fc7.ResourceExhausted, match=f"{5 * n_bytes} bytes, but the limit is {5 * n_bytes - 1}.* images"
        ):
            client.extract(images, layer="conv5")
        assert worked == []
        monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 6 * n_bytes)  # with what stands around the features
        assert client.extract(images, layer="conv5").values.shape == (5, n_bytes // 4)
        assert worked == [5]


def test_answers_to_as_much_as_may_be_asked_fit(channel: grpc.Channel, tiny_bundle: Path) -> None:
    collections = collection_pb2_grpc.CollectionServiceStub(channel)
    queries = [collection_pb2.Query(id="1")] * 4000
    request = collection_pb2.QueryItemsRequest(collection="c", queries=queries, k=1000)
    answer = collections.QueryItems(request, timeout=WAIT_S)
    assert len(answer.results[0].hits) == 19
    assert open_bundle(tiny_bundle).layers["conv5"].dim * 4 * MAX_ITEMS < fc7_message_bytes()
    ids = ["1"] * 4000
    everything = collections.GetItems(
        collection_pb2.GetItemsRequest(collection="c", ids=ids, with_features=True), timeout=WAIT_S
    )
    assert len(everything.results) == 4000


def fc7_message_bytes() -> int:
    from fc7.v1 import MAX_MESSAGE_BYTES

    return MAX_MESSAGE_BYTES


def test_sizes_are_checked_in_our_words() -> None:
    from fc7_service.rpc.messages import check_answer

    check_answer(fc7_message_bytes(), "ids")
    with pytest.raises(fc7.ResourceExhausted, match="fewer ids"):
        check_answer(fc7_message_bytes() + 1, "ids")


@pytest.mark.parametrize("token", ["x", "-1", "9" * 5000, "²", "1.0"])
def test_page_tokens_that_are_none(channel: grpc.Channel, token: str) -> None:
    stub = collection_pb2_grpc.CollectionServiceStub(channel)
    request = collection_pb2.ListItemsRequest(collection="c", page_token=token)
    refused(stub.ListItems, request, grpc.StatusCode.INVALID_ARGUMENT, "page_token")


def test_pages_end_and_lose_nothing(channel: grpc.Channel) -> None:
    stub, token, ids = collection_pb2_grpc.CollectionServiceStub(channel), "", []
    for _ in range(20):
        request = collection_pb2.ListItemsRequest(collection="c", page_size=7, page_token=token, with_features=True)
        answer = stub.ListItems(request, timeout=WAIT_S)
        ids += [item.id for item in answer.items]
        token = answer.next_page_token
        if not token:
            break
    assert ids == [str(i) for i in range(20)]


@pytest.mark.parametrize("text", ["😀" * 1000, "x" * 100_000, "\n\x00\x1b[31m" * 500])
def test_errors_that_quote_the_caller_keep_their_code(channel: grpc.Channel, text: str) -> None:
    stub = collection_pb2_grpc.CollectionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetCollection(collection_pb2.GetCollectionRequest(name=text), timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_ids_alone_do_not_bring_more_features_than_the_memory_holds(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand ids are a small message, and a gigabyte where a layer has 200,000 numbers."""
    library = Collections(tmp_path)
    made = library.create("c", open_bundle(tiny_bundle).provenance("conv5"), 4)
    monkeypatch.setattr(collection_service, "MAX_WAITING_BYTES", 2 * 4 * made.dim)
    servicer = collection_service.CollectionServicer(
        library, Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=1)
    )
    items = [collection_pb2.NewItem(id=str(i), content_sha256="0" * 64) for i in range(3)]
    queries = [collection_pb2.Query(id=str(i)) for i in range(3)]
    with pytest.raises(fc7.ResourceExhausted, match="features of 3 items"):
        await servicer.UpsertItems(collection_pb2.UpsertItemsRequest(collection="c", items=items), None)
    with pytest.raises(fc7.ResourceExhausted, match="features of 3 items"):
        await servicer.QueryItems(collection_pb2.QueryItemsRequest(collection="c", queries=queries, k=1), None)
    answer = await servicer.UpsertItems(collection_pb2.UpsertItemsRequest(collection="c", items=items[:2]), None)
    assert [result.error.code for result in answer.results] == ["NOT_FOUND"] * 2
    library.close()


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [2**40, 0], [0], []])
def test_shapes_that_hold_nothing(channel: grpc.Channel, shape: list[int]) -> None:
    stub = feature_pb2_grpc.FeatureServiceStub(channel)
    pixels = common_pb2.Tensor(dtype="uint8", shape=shape, data=b"")
    answer = stub.Extract(feature_pb2.ExtractRequest(images=[common_pb2.Image(pixels=pixels)]), timeout=WAIT_S)
    assert answer.items[0].error.code == "INVALID_ARGUMENT"


async def test_a_watch_of_health_does_not_hold_up_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    """Calls under way may take an hour here: a watch is ended at once."""
    folder = DataFolder(tmp_path)
    server = Server(Settings(tmp_path, listen=None, models=(str(tiny_bundle),), drain_s=3600), folder)
    async with grpc.aio.insecure_channel((await server.start()).address) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.wait_for(server.stop(), WAIT_S)
    folder.release()


async def test_watches_of_health_leave_room_for_calls(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has no token may watch, so that a thousand watches would take the place of every other call."""
    monkeypatch.setattr(interceptor, "MAX_WATCHES", 2)
    folder = DataFolder(tmp_path)
    server = Server(Settings(tmp_path, listen=None, models=(str(tiny_bundle),)), folder)
    async with grpc.aio.insecure_channel((await server.start()).address) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            await stub.Watch(health_pb2.HealthCheckRequest()).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        await server.stop()
    folder.release()


def test_a_drain_waits_for_a_request_that_is_still_arriving(tiny_bundle: Path, tmp_path: Path) -> None:
    """A call counts as under way from its first byte, also before its handler runs."""
    import os
    import socket
    import threading

    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        host, port = served.address.split(":")
        slow, there, go_on = socket.create_server(("127.0.0.1", 0)), threading.Event(), threading.Event()

        def relay() -> None:
            """Hand the request on, and keep the rest of it back until the server ends."""
            client, _ = slow.accept()
            with client, socket.create_connection((host, int(port))) as server:

                def back() -> None:
                    with contextlib.suppress(OSError):
                        while data := server.recv(65536):
                            client.sendall(data)

                returning = threading.Thread(target=back)
                returning.start()
                n = 0
                with contextlib.suppress(OSError):
                    while data := client.recv(16384):
                        server.sendall(data)
                        n += len(data)
                        if n > 200_000 and not there.is_set():
                            there.set()
                            go_on.wait(WAIT_S)
                    server.shutdown(socket.SHUT_RDWR)
                returning.join(WAIT_S)

        relaying = threading.Thread(target=relay)
        relaying.start()
        pixels = common_pb2.Tensor(dtype="uint8", shape=[1000, 1000, 3], data=os.urandom(3_000_000))
        request = feature_pb2.ExtractRequest(images=[common_pb2.Image(pixels=pixels)])
        with slow, grpc.insecure_channel(served.address) as beside:
            watch = health_pb2_grpc.HealthStub(beside).Watch(health_pb2.HealthCheckRequest(service=""))
            states = (answer.status for answer in watch)
            assert next(states) == health_pb2.HealthCheckResponse.SERVING
            with grpc.insecure_channel(f"127.0.0.1:{slow.getsockname()[1]}") as opened:
                call = feature_pb2_grpc.FeatureServiceStub(opened).Extract.future(request, timeout=WAIT_S)
                assert there.wait(WAIT_S)
                served.process.terminate()
                assert next(states) == health_pb2.HealthCheckResponse.NOT_SERVING
                with pytest.raises(grpc.RpcError):  # watches end when it no longer takes calls
                    next(states)
                go_on.set()
                assert call.result().items[0].HasField("error") is False
        relaying.join(WAIT_S)
        assert served.process.wait(WAIT_S) == 0


def test_a_stream_that_is_left_leaves_nothing_behind(tiny_bundle: Path, tmp_path: Path) -> None:
    """Also when its reader waits for a place: more images were sent than may be under way."""
    from fc7_service.rpc.feature_service import FeatureServicer

    async def run() -> None:
        made = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=1)
        servicer = FeatureServicer(made)

        async def requests():  # type: ignore[no-untyped-def]
            for i in range(1000):
                yield feature_pb2.StreamExtractRequest(image=common_pb2.Image(encoded=jpeg(i % 5)))

        before = asyncio.all_tasks()
        answers = servicer.StreamExtract(requests(), None)
        await anext(answers)
        for _ in range(100):
            await asyncio.sleep(0)
        await answers.aclose()
        for _ in range(100):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        made.close()

    asyncio.run(run())


def test_a_stream_is_read_no_further_than_its_bytes_allow(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fc7_service.rpc import feature_service

    async def run() -> None:
        made = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=1)
        sizes = [len(jpeg(i % 5)) for i in range(200)]
        monkeypatch.setattr(feature_service, "_MOST_BYTES_AT_ONCE", 3 * max(sizes))
        n_answered = n_running = most = 0
        extract = feature_service.extract_images

        async def counted(*args: Any, **options: Any) -> Any:
            nonlocal n_running, most
            n_running += 1
            most = max(most, n_running)
            try:
                return await extract(*args, **options)
            finally:
                n_running -= 1

        monkeypatch.setattr(feature_service, "extract_images", counted)

        async def requests():  # type: ignore[no-untyped-def]
            for i in range(200):
                yield feature_pb2.StreamExtractRequest(image=common_pb2.Image(encoded=jpeg(i % 5)))

        async for answer in feature_service.FeatureServicer(made).StreamExtract(requests(), None):
            assert not answer.HasField("error")
            n_answered += 1
        assert n_answered == 200
        assert 0 < most <= 5  # without the limit, 32
        made.close()

    asyncio.run(run())


def test_a_copy_of_a_data_folder_leaves_the_originals_door_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    import shutil

    from fc7_service.data_folder import read_running_server

    with serving(tmp_path / "a", "--model", str(tiny_bundle)):
        holder = read_running_server(tmp_path / "a")
        assert holder is not None
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        with fc7.connect(data=tmp_path / "b", models=[str(tiny_bundle)]) as client:
            assert client.is_ready()
        assert Path(holder.address.removeprefix("unix:")).exists()
        with fc7.connect(data=tmp_path / "a") as client:
            assert client.server_info().pid == holder.pid


def test_answers_of_a_search_are_bounded_by_bytes(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        collection = client.create_collection("c")
        payloads = [{"text": "x" * 10_000} for _ in range(20)]
        collection.add([jpeg(i) for i in range(20)], ids=[str(i) for i in range(20)], payloads=payloads)
        monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 100_000)
        with pytest.raises(fc7.ResourceExhausted, match="smaller k"):
            collection.search(jpeg(1), k=20)
        assert len(collection.search(jpeg(1), k=5)) == 5


def test_a_log_that_cannot_be_written_fails_no_call(tiny_bundle: Path, tmp_path: Path) -> None:
    import subprocess

    from servers import clean_environment, serve_command

    with open("/dev/full", "w") as full:
        command = serve_command(tmp_path, "--model", str(tiny_bundle))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=full, text=True, env=clean_environment())
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            with fc7.connect(address) as client:
                assert client.extract(jpeg(1)).values.shape == (1, 8)
                with pytest.raises(fc7.NotFound):
                    client.collection("nope")
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def test_a_stream_waits_where_a_call_is_refused(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fc7_service.features import extractor

    monkeypatch.setattr(extractor, "MAX_WAITING_IMAGES", 2)
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        rows = list(client.extract_stream([jpeg(i) for i in range(100)]))
    assert all(isinstance(row, np.ndarray) for row in rows)


def test_a_caller_who_leaves_at_the_wrong_moment_does_not_end_the_engine() -> None:
    """The first look sees the caller there, the second sees it gone: an empty batch is not the end."""

    class Leaving(asyncio.Future):  # type: ignore[type-arg]
        looks = 0

        def cancelled(self) -> bool:
            self.looks += 1
            return self.looks > 1

    class Engine:
        provider = "test"

        def run(self, batch, layers):  # type: ignore[no-untyped-def]
            return [batch.reshape(len(batch), -1)]

    async def run() -> None:
        made = Batcher(Engine)
        tensors, loop = np.ones((1, 3, 1, 1), np.float32), asyncio.get_running_loop()
        for future in (loop.create_future(), Leaving(loop=loop), loop.create_future()):
            made.put(Request(tensors, "x", future))
        row = await asyncio.wait_for(future, 20)
        assert row.values.tolist() == [[1, 1, 1]]
        await asyncio.to_thread(made.close)

    asyncio.run(run())


def test_every_method_of_the_contract_has_its_scope() -> None:
    from fc7.v1 import admin_pb2, explain_pb2, head_pb2, model_pb2
    from fc7_service.tokens import SCOPE_OF_CALL, SCOPES

    assert set(SCOPE_OF_CALL.values()) == set(SCOPES)
    modules = (admin_pb2, collection_pb2, explain_pb2, feature_pb2, head_pb2, model_pb2)
    contract = {
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert contract == {method for method in SCOPE_OF_CALL if method.startswith("/fc7.")}


def test_incidents_of_an_embedded_server_are_logged(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fc7_service.rpc import feature_service

    async def fail(*args: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(feature_service, "extract_images", fail)
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client, pytest.raises(fc7.Fc7Error) as caught:
        client.extract(jpeg(1))
    assert caught.value.code == "INTERNAL"
    assert "ZeroDivisionError" not in caught.value.message
    (record,) = [r for r in caplog.records if r.name == "fc7_service.rpc.call"]
    assert record.exc_info is not None
    assert record.getMessage().split()[1] in caught.value.message


@pytest.mark.parametrize(
    "text", ["read sha256:abc", "read sha256:é", "read a b", "nobody x", "# only a comment", "\xff\xfe"]
)
def test_token_files_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    from fc7_service.tokens import read_tokens

    (tmp_path / "tokens").write_text(text, encoding="latin-1" if "\xff" in text else "utf-8")
    if text == "\xff\xfe":
        assert len(read_tokens(tmp_path / "tokens")) == 1  # any text is a token; nobody can send this one
        return
    with pytest.raises(fc7.InvalidArgument, match="token"):
        read_tokens(tmp_path / "tokens")


def test_labels_that_do_not_match_the_logits(tiny_bundle: Path, tmp_path: Path) -> None:
    import hashlib
    import json
    import shutil

    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "b"))
    (folder / "labels.tsv").write_text("a\tb\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / "labels.tsv").read_bytes()
    manifest["files"]["labels.tsv"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fc7.DataLoss, match="labels"):
        open_bundle(folder)


def test_the_door_of_a_killed_holder_is_removed(tiny_bundle: Path, tmp_path: Path) -> None:
    from fc7_service.data_folder import read_running_server

    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        holder = read_running_server(tmp_path)
        assert holder is not None
        door = Path(holder.address.removeprefix("unix:")).parent
        assert door.is_dir()
        served.process.kill()
        served.process.wait(20)
    assert door.is_dir()
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]):
        assert not door.exists()


def test_a_call_says_how_urgent_it_is(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", str(tiny_bundle)) as served, grpc.insecure_channel(served.address) as channel:
        stub = feature_pb2_grpc.FeatureServiceStub(channel)  # type: ignore[no-untyped-call]
        request = feature_pb2.ExtractRequest(layer="fc7", images=[common_pb2.Image(encoded=jpeg(1))])
        for urgency in ("interactive", "bulk"):
            answer = stub.Extract(request, metadata=(("fc7-class", urgency),))
            assert list(answer.features.shape) == [1, 8]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Extract(request, metadata=(("fc7-class", "urgent"),))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "interactive, bulk (got 'urgent')" in caught.value.details()
