"""How long a call may take, what is sent again meanwhile, and who else notices when one ends early."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from client_fakes import Awaited, Fake, Features, aio_server, retry_quickly

import fc7
from fc7 import _async_session, _running, _session
from fc7._connect import find_server
from fc7.client import Client
from fc7.local_server import LocalServer
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.tokens import Tokens

CLIENTS = pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
KINDS = [fc7.Client, fc7.Collection, fc7.Explain, fc7.AsyncClient, fc7.AsyncCollection, fc7.AsyncExplain]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_method_takes_a_time(kind: Any) -> None:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name[0] == "_" or name == "close":
            continue
        parameter = inspect.signature(method).parameters["timeout_s"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.default == (5.0 if name in ("is_ready", "check_ready") else None), name


class Stuck(grpc.GenericRpcHandler):
    """A server that takes every call and answers none."""

    def __init__(self) -> None:
        self.is_over = threading.Event()

    def service(self, call: Any) -> Any:
        def wait(request: Any, context: Any) -> Any:
            context.add_callback(gone.set)
            while not (gone.is_set() or self.is_over.is_set()):
                gone.wait(0.05)
            context.abort(grpc.StatusCode.CANCELLED, "")

        def wait_and_yield(request: Any, context: Any) -> Any:
            wait(request, context)
            yield b""

        gone = threading.Event()
        name = call.method.rpartition("/")[2]
        if name in ("TrainHead", "StreamExtract", "TopUnits"):
            return grpc.stream_stream_rpc_method_handler(wait_and_yield)
        if name in ("Occlude", "GetHeadReport", "ExportHead", "ClassifyItems"):
            return grpc.unary_stream_rpc_method_handler(wait_and_yield)
        return grpc.unary_unary_rpc_method_handler(wait)


@pytest.fixture(scope="module")
def stuck() -> Iterator[str]:
    handler, pool = Stuck(), ThreadPoolExecutor(32)
    server = grpc.server(pool, handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    handler.is_over.set()
    server.stop(None).wait()
    pool.shutdown()


WEIGHTS = fc7.HeadWeights(
    fc7.Provenance("a" * 64, "m", "g" * 64, "r" * 64, "fc7", "none", "fp32"),
    ["a", "b"],
    np.zeros((4, 2), np.float32),
    np.zeros(2, np.float32),
)
CALLS: dict[str, Callable[..., Any]] = {
    "extract": lambda c, **t: c.extract(b"1", **t),
    "extract_stream": lambda c, **t: list(c.extract_stream([b"1"], **t)),
    "models": lambda c, **t: c.models(**t),
    "model": lambda c, **t: c.model(**t),
    "golden": lambda c, **t: c.golden(**t),
    "load_model": lambda c, **t: c.load_model("m", **t),
    "reload_model": lambda c, **t: c.reload_model(**t),
    "unload_model": lambda c, **t: c.unload_model("m", **t),
    "create_collection": lambda c, **t: c.create_collection("c", **t),
    "collection": lambda c, **t: c.collection("c", **t),
    "collections": lambda c, **t: c.collections(**t),
    "delete_collection": lambda c, **t: c.delete_collection("c", **t),
    "train_head": lambda c, **t: c.train_head("h", collection="c", **t),
    "publish_head": lambda c, **t: c.publish_head("h", **t),
    "head": lambda c, **t: c.head("h", **t),
    "heads": lambda c, **t: c.heads(**t),
    "delete_head": lambda c, **t: c.delete_head("h", all_versions=True, **t),
    "classify": lambda c, **t: c.classify(b"1", **t),
    "head_report": lambda c, **t: c.head_report("h", **t),
    "export_head": lambda c, **t: c.export_head("h", "exported", **t),
    "classify_items": lambda c, **t: c.classify_items("c", head="h", **t),
    "rank_items": lambda c, **t: c.rank_items("c", "label", head="h", **t),
    "suggest_items": lambda c, **t: c.suggest_items("c", head="h", **t),
    "head_weights": lambda c, **t: c.head_weights("h", **t),
    "import_head": lambda c, **t: c.import_head("h", WEIGHTS, **t),
    "compare_heads": lambda c, **t: c.compare_heads("a", "b", collection="c", **t),
    "set_shadow": lambda c, **t: c.set_shadow("h", 1, **t),
    "shadow": lambda c, **t: c.shadow("h", **t),
    "label_items": lambda c, **t: c.label_items("c", head="h", above=0.9, **t),
    "sample_items": lambda c, **t: c.sample_items("c", "label", head="h", **t),
    "server_info": lambda c, **t: c.server_info(**t),
}


@CLIENTS
def test_every_method_ends_in_time(connect: Any, stuck: str) -> None:
    assert set(CALLS) == {n for n, _ in inspect.getmembers(fc7.Client, inspect.isfunction) if n[0] != "_"} - {
        "close",
        "is_ready",
        "check_ready",
    }
    with connect(stuck) as client, connect(stuck, timeout_s=0.05) as brief:
        for call in CALLS.values():
            with pytest.raises(fc7.DeadlineExceeded, match="timeout_s"):
                call(client, timeout_s=0.05)
            with pytest.raises(fc7.DeadlineExceeded, match="timeout_s"):
                call(brief)
        assert client.is_ready(timeout_s=0.1) is False
        with pytest.raises(fc7.DeadlineExceeded):
            client.check_ready(timeout_s=0.1)


@CLIENTS
@pytest.mark.parametrize("timeout_s", ["5", float("nan")])
def test_a_time_is_a_number(connect: Any, stuck: str, timeout_s: Any) -> None:
    with connect(stuck) as client, pytest.raises(fc7.InvalidArgument, match="timeout_s must be"):
        client.models(timeout_s=timeout_s)


@CLIENTS
def test_infinity_is_a_time(connect: Any) -> None:
    with Fake() as fake, connect(fake.address) as client:
        assert len(client.extract(b"image", timeout_s=float("inf"))) == 1


class Full(Features):
    """Refuses until as many have been refused as there is patience for, as a full queue does."""

    def __init__(self) -> None:
        super().__init__()
        self.n_refusals, self.n_under_way, self.most_under_way = 0, 0, 0
        self.retry_after_s: float | None = 0.01

    async def Extract(self, request: Any, context: Any) -> Any:
        if self.n_refusals:
            self.n_refusals -= 1
            raise fc7.ResourceExhausted("the queue is full", retry_after_s=self.retry_after_s)
        self.n_under_way += 1
        self.most_under_way = max(self.most_under_way, self.n_under_way)
        await asyncio.sleep(0)
        self.n_under_way -= 1
        return Features.Extract(self, request, context)


@pytest.fixture
def full() -> Iterator[tuple[Full, str]]:
    servicer = Full()
    with aio_server(Interceptor(Tokens({}), None), servicer) as address:
        yield servicer, address


@CLIENTS
def test_a_full_queue_is_waited_for(connect: Any, full: tuple[Full, str]) -> None:
    servicer, address = full
    with connect(address) as client:
        servicer.n_refusals = 5
        assert len(client.extract(b"image")) == 1
        servicer.n_refusals = 10**6
        with pytest.raises(fc7.ResourceExhausted, match="queue is full"):
            client.extract(b"image", timeout_s=0.3)
        assert 0 < 10**6 - servicer.n_refusals < 30  # it came back after pauses
        servicer.n_refusals, servicer.retry_after_s = 1, None
        with pytest.raises(fc7.ResourceExhausted):
            client.extract(b"image")
        assert servicer.n_refusals == 0


def test_what_must_not_be_done_twice_is_sent_once() -> None:
    progress: Any = SimpleNamespace(time_is_over=lambda: None)
    line: Any = SimpleNamespace(has_answered=True)
    full = fc7.ResourceExhausted("full", retry_after_s=0.1)
    for method in ("CreateCollection", "DeleteItems", "TrainHead", "PublishHead", "Extract"):
        call: Any = SimpleNamespace(method=method, is_bulk=True)
        patience = _running.Retries(call, float("inf"), progress)
        for error in (full, fc7.Unavailable("draining")):
            assert (patience.pause_s(error, line) is not None) is (method == "Extract")
        assert patience.pause_s(fc7.NotFound("no"), line) is None


async def test_a_hundred_lists_at_once_all_end(full: tuple[Full, str]) -> None:
    servicer, address = full
    servicer.n_refusals = 50
    async with fc7.AsyncClient(address) as client:
        lists = await asyncio.gather(*(client.extract([bytes([i + 1])] * 64) for i in range(100)))
        assert [features.values[0, 1] for features in lists] == list(range(1, 101))
        assert servicer.most_under_way <= _async_session._MOST_BATCHES
        servicer.n_refusals, servicer.retry_after_s = 10**6, 0.05
        calls = [client.extract([b"1"] * 64, timeout_s=0.2) for _ in range(9)]
        ends = await asyncio.gather(*calls, return_exceptions=True)  # waiting for a turn counts
        assert {type(end) for end in ends} <= {fc7.DeadlineExceeded, fc7.ResourceExhausted}


@CLIENTS
def test_a_long_list_survives_a_restart(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_quickly(monkeypatch)  # gRPC itself gives up at once
    fake = Fake()
    with connect(fake.address) as client:
        client.extract([b"1"] * 16)
        with ThreadPoolExecutor(1) as pool:
            fake.kill()
            with pytest.raises(fc7.Unavailable):
                client.extract(b"a single picture is told at once")
            answer = pool.submit(client.extract, [b"1"] * 16)
            while not answer.running():
                pass
            with Fake(fake.port):
                assert len(answer.result(30)) == 16


def test_ctrl_c_in_one_thread_leaves_the_others_alone() -> None:
    with Fake() as fake, fc7.connect(fake.address) as client, ThreadPoolExecutor(2) as pool:
        is_streaming, go_on, is_waiting = threading.Event(), threading.Event(), threading.Event()

        def images() -> Iterator[bytes]:
            yield b"1"
            assert go_on.wait(20)
            yield b"23"

        def stream() -> list[float]:
            found = []
            for answer in client.extract_stream(images()):
                found.append(answer[0])
                is_streaming.set()
            return found

        def on_extract(request: Any, context: Any) -> None:
            if request.images[0].encoded == b"other":
                is_waiting.set()
                go_on.wait(20)
            elif request.images[0].encoded == b"interrupted":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                go_on.wait(20)

        fake.features.on_extract = on_extract
        streamed = pool.submit(stream)
        other = pool.submit(client.extract, b"other")
        assert is_streaming.wait(20)
        assert is_waiting.wait(20)
        with pytest.raises(KeyboardInterrupt):
            client.extract(b"interrupted")
        go_on.set()
        assert streamed.result(20) == [1, 2]
        assert len(other.result(20)) == 1  # sent again, on another channel


def test_a_client_that_is_closed_while_its_server_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    is_starting, is_closed, stopped = threading.Event(), threading.Event(), []
    attached: Any = SimpleNamespace(address="127.0.0.1:1", token="", is_ours=True, stop=lambda: stopped.append(True))

    def start(self: LocalServer) -> Any:
        is_starting.set()
        assert is_closed.wait(20)
        return attached

    monkeypatch.setattr(LocalServer, "_attach_or_start", start)
    with Fake() as fake, ThreadPoolExecutor(1) as pool:
        local = LocalServer("/nowhere", (), "cpu")
        client = Client(_session.Session(find_server(fake.address, None, (), "auto", None, None, None), None, local))  # type: ignore[arg-type]
        call = pool.submit(lambda: client._session.reach_again(client._session.endpoint))
        assert is_starting.wait(20)
        client.close()
        is_closed.set()
        with pytest.raises(fc7.FailedPrecondition, match="closed"):
            call.result(20)
        assert stopped == [True]


@pytest.mark.parametrize("connect", [fc7.connect, fc7.AsyncClient])
@pytest.mark.parametrize(
    "values",
    [{"data": "d"}, {"models": ["m"]}, {"device": "cpu"}, {"threads": 2}],
    ids=lambda values: next(iter(values)),
)
def test_arguments_of_a_server_here_do_not_go_with_an_address(
    connect: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = values
    with pytest.raises(
        fc7.InvalidArgument, match=f"{name}= is for a server in this process, but address= names host:1"
    ):
        connect("host:1", **values)
    if name != "data":
        monkeypatch.setenv("FC7_SERVER", "host:1")
        with pytest.raises(fc7.InvalidArgument, match="FC7_SERVER names host:1"):
            connect(**values)


@pytest.mark.parametrize("connect", [fc7.connect, fc7.AsyncClient])
@pytest.mark.parametrize("name", ["token_file", "tls_ca"])
def test_arguments_of_a_server_elsewhere_need_its_address(connect: Any, name: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=f"{name}= is for a server elsewhere"):
        connect(**{name: "file"})
