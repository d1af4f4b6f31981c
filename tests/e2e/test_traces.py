"""Spans of a real server and of a client, and the ids of traces in the log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

import fc7
from fc7.v1 import model_pb2, model_pb2_grpc
from servers import WAIT_S, clean_environment, jpeg, serving

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# A program with OpenTelemetry of its own. It prints what its spans say.
PROGRAM = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import asyncio, fc7
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
image = sys.stdin.buffer.read()
with provider.get_tracer("mine").start_as_current_span("mine"), fc7.connect(sys.argv[1]) as client:
    client.extract(image)
    list(client.extract_stream([image]))
    try:
        client.collection("none")
    except fc7.NotFound:
        pass
    async def more():
        async with fc7.AsyncClient(sys.argv[1]) as other:
            await other.models()
    asyncio.run(more())
for span in kept.get_finished_spans():
    row = {"name": span.name, "kind": span.kind.name, "trace": f"{span.context.trace_id:032x}"}
    print(json.dumps(row | {"id": f"{span.context.span_id:016x}", "attributes": dict(span.attributes)}))
"""


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A collector of spans: its address, and what it got so far."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans: list[Any] = []

    class Collector(service.TraceServiceServicer):  # type: ignore[name-defined,misc]
        def Export(self, request: Any, context: Any) -> Any:
            spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            return messages.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", spans
    server.stop(None).wait()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_span_per_call_of_the_server(tiny_bundle: Path, tmp_path: Path) -> None:
    with collector() as (address, spans):
        with serving(tmp_path / "data", "--model", str(tiny_bundle), "--traces", address) as served:
            with fc7.connect(served.address) as client:
                client.extract([jpeg(0), jpeg(1)])
                with pytest.raises(fc7.NotFound):
                    client.collection("none")
            with grpc.insecure_channel(served.address) as channel:
                metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
                stub = model_pb2_grpc.ModelServiceStub(channel)
                stub.ListModels(model_pb2.ListModelsRequest(), metadata=metadata, timeout=WAIT_S)
            assert served.stop() == 0  # what waits is sent before the end
    by_name = {span.name: span for span in spans}
    assert by_name.keys() == {
        "fc7.v1.FeatureService/Extract",
        "fc7.v1.CollectionService/GetCollection",
        "fc7.v1.ModelService/ListModels",
    }
    extract = by_name["fc7.v1.FeatureService/Extract"]
    found = attributes(extract)
    assert (found["rpc.system.name"], found["rpc.response.status_code"], found["fc7.items"]) == ("grpc", "OK", 2)
    assert 0 < extract.start_time_unix_nano < extract.end_time_unix_nano
    refused = by_name["fc7.v1.CollectionService/GetCollection"]
    assert attributes(refused)["fc7.reason"] == "COLLECTION_NOT_FOUND"
    assert refused.status.code == 0  # the caller's error, not the server's
    below = by_name["fc7.v1.ModelService/ListModels"]
    assert (below.trace_id.hex(), below.parent_span_id.hex()) == (TRACE, PARENT)
    rows = [row for row in map(json.loads, served.log) if row["event"] == "request"]
    assert {row["trace_id"] for row in rows} == {span.trace_id.hex() for span in spans}
    assert {row["request_id"] for row in rows} == {attributes(span)["fc7.request_id"] for span in spans}


def test_a_client_makes_spans_in_a_program_that_has_some(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:  # without spans of its own
        command = [sys.executable, "-c", PROGRAM, served.address]
        done = subprocess.run(command, input=jpeg(0), capture_output=True, env=clean_environment(), check=True)
        assert served.stop() == 0
    spans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(span["name"], span["attributes"].get("rpc.response.status_code")) for span in spans] == [
        ("fc7.v1.FeatureService/Extract", "OK"),
        ("fc7.v1.FeatureService/StreamExtract", "OK"),
        ("fc7.v1.CollectionService/GetCollection", "NOT_FOUND"),
        ("fc7.v1.ModelService/ListModels", "OK"),
        ("mine", None),
    ]
    assert {span["trace"] for span in spans} == {spans[-1]["trace"]}
    assert {span["kind"] for span in spans if span["name"] != "mine"} == {"CLIENT"}
    rows = [row for row in map(json.loads, served.log) if row["event"] == "request"]
    assert [row["trace_id"] for row in rows] == [span["trace"] for span in spans if span["name"] != "mine"]


@pytest.mark.parametrize("parent", ["", "00-1-2-01", f"00-{TRACE}-{PARENT}-01\n", f"00-{TRACE.upper()}-{PARENT}-01"])
def test_what_is_no_trace_is_not_logged(tiny_bundle: Path, tmp_path: Path, parent: str) -> None:
    from fc7_service.telemetry.trace import read_trace

    assert read_trace("/m", {"traceparent": parent}).trace_id == ""
    assert read_trace("/m", {"traceparent": f"00-{TRACE}-{PARENT}-00"}).trace_id == TRACE


def test_a_collector_that_is_gone_holds_nothing_up(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--traces", "127.0.0.1:1") as served:
        with fc7.connect(served.address) as client:
            threads = [threading.Thread(target=client.extract, args=(jpeg(i),)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert served.stop() == 0
    codes = [row["code"] for row in map(json.loads, served.log) if row["event"] == "request"]
    assert codes == ["OK"] * 8
