"""Callers who may not call, and callers who may and send too much, cost little and hold up nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fc7
from doors import holder_of
from fc7.v1 import common_pb2, feature_pb2, head_pb2
from fc7_service.rpc.message_limits import MAX_FIELDS, check_fields
from servers import Served, jpeg, serving

MESSAGE_BYTES = 62 * 2**20
METHODS = {"FeatureService/Extract": b"\x1a\x00", "CollectionService/UpsertItems": b"\x12\x00"}  # an empty item
BEATS = """
import sys, threading, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(sys.argv[1]))
stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
print("ready", flush=True)
is_over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), is_over.set())).start()
while not is_over.wait(0.05):
    stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
"""


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "tokens").write_text("admin secret\nread reader\n")
    with serving(folder / "data", "--model", str(tiny_bundle), "--token-file", str(folder / "tokens")) as server:
        yield server


def memory(served: Served, key: str) -> int:
    """Bytes that a server has in memory now (VmRSS), or had at most since `watched` (VmHWM)."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def processor_s(served: Served) -> float:
    """Seconds of a processor that a server has used: unlike the clock, not more on a busy machine."""
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def watched(served: Served, max_bytes: int, max_processor_s: float) -> Iterator[None]:
    """Fail where the block costs the server more, or where a health check beside it is not answered."""
    beats = subprocess.Popen(
        [sys.executable, "-c", BEATS, served.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert beats.stdout is not None
    assert beats.stdout.readline() == "ready\n"
    before, before_s = memory(served, "VmRSS"), processor_s(served)
    Path(f"/proc/{served.process.pid}/clear_refs").write_text("5")
    yield
    spent_s = processor_s(served) - before_s
    beats.communicate()
    assert beats.returncode == 0
    cost = memory(served, "VmHWM") - before
    assert cost < max_bytes, f"{cost / 2**20:.0f} MiB"
    assert spent_s < max_processor_s


def send(served: Served, method: str, data: bytes, *metadata: tuple[str, str]) -> grpc.RpcError:
    options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    with grpc.insecure_channel(served.address, options) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{method}")(data, timeout=60, metadata=metadata)
    return caught.value


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("n_callers", [1, 30])
def test_callers_without_a_token_are_refused_before_their_message_is_read(served: Served, n_callers: int) -> None:
    answers = []

    def call(method: str) -> None:
        answers.append(send(served, f"fc7.v1.{method}", METHODS[method] * (MESSAGE_BYTES // 2)))

    names = [list(METHODS)[i % 2] for i in range(n_callers)]
    with watched(
        served, 100 * 10**6, max_processor_s=1.5
    ):  # seen: 4 MiB and 20 ms for one; 16 MiB and 13 ms for thirty
        callers = [threading.Thread(target=call, args=(name,)) for name in names]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert {answer.code() for answer in answers} == {grpc.StatusCode.UNAUTHENTICATED}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_question_about_health_is_not_read_either(served: Served) -> None:
    name = b"\x0a\xf0\xff\xff\x1e" + b"x" * 0x3DFFFF0  # a service's name of 62 MiB
    with watched(served, 100 * 10**6, max_processor_s=1.5), grpc.insecure_channel(served.address) as channel:
        answer = channel.unary_unary("/grpc.health.v1.Health/Check")(name, timeout=60)
    assert health_pb2.HealthCheckResponse.FromString(answer).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("method", METHODS)
def test_a_message_of_millions_of_items_is_refused_before_it_is_parsed(served: Served, method: str) -> None:
    data = METHODS[method] * (MESSAGE_BYTES // 2)
    with watched(
        served, 300 * 10**6, max_processor_s=1.5
    ):  # gRPC holds three copies of a message: 190 MiB, and 2,400 when parsed
        error = send(served, f"fc7.v1.{method}", data, ("authorization", "Bearer secret"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "TOO_MANY_ITEMS" in str(error.trailing_metadata())


def labelled(n_items: int) -> bytes:
    images = head_pb2.LabelledImages(images=[common_pb2.Image()] * n_items)
    return head_pb2.TrainHeadRequest(images=images).SerializeToString()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (feature_pb2.ExtractRequest(images=[common_pb2.Image()] * 70_000).SerializeToString(), "Extract"),
        (labelled(70_000), "TrainHead"),
        (feature_pb2.ExtractRequest(ensemble=[""] * 70_000).SerializeToString(), "Extract"),
        (common_pb2.Tensor(shape=[1] * 70_000).SerializeToString(), "Tensor"),
        (b"\xf8\x06\x00" * 70_000, "Extract"),  # of no field that it has
    ],
    ids=["items", "one level down", "texts", "packed numbers", "unknown fields"],
)
def test_fields_are_counted_wherever_they_are(data: bytes, message: str) -> None:
    kinds = {
        "Extract": feature_pb2.ExtractRequest,
        "TrainHead": head_pb2.TrainHeadRequest,
        "Tensor": common_pb2.Tensor,
    }
    with pytest.raises(fc7.InvalidArgument, match=str(MAX_FIELDS)):
        check_fields(data, kinds[message].DESCRIPTOR)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x7b\x7c" + b"\x1a\x00" * 70_000, feature_pb2.ExtractRequest),
        (labelled(70_000) + b"\x0a\x7f", head_pb2.TrainHeadRequest),
        (feature_pb2.ExtractRequest(images=[common_pb2.Image()] * 40_000).SerializeToString()[:-1], None),
    ],
    ids=["a group hides the rest", "cut short behind many items", "cut short"],
)
def test_a_large_message_that_is_malformed_is_refused_before_it_is_parsed(data: bytes, kind: type | None) -> None:
    with pytest.raises(fc7.InvalidArgument) as caught:
        check_fields(data, (kind or feature_pb2.ExtractRequest).DESCRIPTOR)
    assert caught.value.reason == "MALFORMED_MESSAGE"


def test_a_full_request_of_pictures_passes() -> None:
    images = [common_pb2.Image(encoded=b"x" * 1000), common_pb2.Image(pixels=common_pb2.Tensor(shape=[9, 9, 3]))]
    request = feature_pb2.ExtractRequest(images=images * 2048)
    check_fields(request.SerializeToString(), feature_pb2.ExtractRequest.DESCRIPTOR)


def test_the_private_door_asks_for_its_token_too(tiny_bundle: Path, tmp_path: Path) -> None:
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        assert client.models()
        holder = holder_of(tmp_path)
        with grpc.insecure_channel(holder.address) as channel:
            call = channel.unary_unary("/fc7.v1.ModelService/ListModels")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert call(b"", timeout=20, metadata=(("authorization", f"Bearer {holder.token}"),))
    assert (tmp_path / "holder.json").exists() is False


def test_the_log_tells_who_called(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        channel.unary_unary("/fc7.v1.ModelService/ListModels")(
            b"", timeout=20, metadata=(("authorization", "Bearer reader"),)
        )
    deadline = time.monotonic() + 20
    while not (found := [e for e in map(json.loads, served.log) if e.get("scope") == "read"]):
        assert time.monotonic() < deadline
    assert (found[0]["code"], len(found[0]["token"])) == ("OK", 8)
    assert found[0]["peer"].startswith("ipv4:127.0.0.1:")


def test_a_caller_who_waits_no_more_is_logged_as_that(served: Served) -> None:
    """Not as a server that stops."""
    request = feature_pb2.ExtractRequest(images=[common_pb2.Image(encoded=jpeg(i)) for i in range(500)])
    metadata = (("authorization", "Bearer secret"),)
    codes: set[str] = set()
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary("/fc7.v1.FeatureService/Extract")
        deadline = time.monotonic() + 60
        while "DEADLINE_EXCEEDED" not in codes and time.monotonic() < deadline:
            with pytest.raises(grpc.RpcError):
                call(request.SerializeToString(), timeout=0.05, metadata=metadata)
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
            entries = [json.loads(line) for line in served.log]
            codes = {entry["code"] for entry in entries if entry.get("method", "").endswith("/Extract")}
    assert "DEADLINE_EXCEEDED" in codes
    assert "UNAVAILABLE" not in codes
