"""The metrics of a real server, as Prometheus reads them."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

import fc7
from fc7_service.features.batcher import MAX_BATCH
from fc7_service.telemetry.metrics import METRICS, PROCESS_METRICS
from servers import WAIT_S, Served, clean_environment, jpeg, serve_command, serving

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def served(tiny_bundle: Path, tmp_path: Path) -> Iterator[tuple[Served, str]]:
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--metrics", "127.0.0.1:0") as served:
        yield served, metrics_address(served)


def metrics_address(served: Served) -> str:
    """Wait for the line of the log that names the address."""
    deadline = time.monotonic() + WAIT_S
    while not (found := [row for row in map(json.loads, list(served.log)) if row["event"] == "metrics"]):
        assert time.monotonic() < deadline, "no address in the log"
        time.sleep(0.02)
    return str(found[0]["address"])


def run(data: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = serve_command(data, *args)
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=WAIT_S)


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=WAIT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return answer.read().decode()


def read_samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def wait_for_requests(address: str, n: int) -> Samples:
    """Scrape once ``n`` calls were counted and none runs any more; their answers are sent before that."""
    deadline = time.monotonic() + WAIT_S
    while True:
        samples = read_samples(scrape(address))
        n_ended = sum(v for (name, _), v in samples.items() if name == "fc7_requests_total")
        if n_ended >= n and value(samples, "fc7_requests_running") == 0:
            return samples
        assert time.monotonic() < deadline, "calls were not counted"


def test_every_metric_of_the_table_is_served(served: tuple[Served, str]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(scrape(served[1]))}
    found = {name + "_total" * (family.type == "counter") for name, family in families.items()}
    assert found == METRICS.keys() | PROCESS_METRICS.keys()
    for name, metric in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.meaning


def test_calls_are_counted(served: tuple[Served, str]) -> None:
    with fc7.connect(served[0].address) as client:
        client.extract([jpeg(i) for i in range(3)])
        client.classify(jpeg(1))
        photos = client.create_collection("photos")
        photos.add([jpeg(i) for i in range(4)], ids=list("abcd"))
        photos.search(jpeg(1), k=1)
        client.train_head("h", images=[jpeg(i) for i in range(8)], labels=list("abababab"))
        client.extract([jpeg(1), b"not a picture"], on_error="skip")
        with pytest.raises(fc7.NotFound):
            client.collection("missing")
    samples = wait_for_requests(served[1], 8)

    def calls(name: str, code: str = "OK", reason: str = "") -> float:
        return value(samples, "fc7_requests_total", method=f"fc7.v1.{name}", code=code, reason=reason)

    assert calls("FeatureService/Extract") == 2
    assert calls("HeadService/Classify") == calls("HeadService/TrainHead") == 1
    assert calls("CollectionService/QueryItems") == 1
    assert calls("CollectionService/GetCollection", "NOT_FOUND", "COLLECTION_NOT_FOUND") == 1
    assert value(samples, "fc7_request_items_total", method="fc7.v1.FeatureService/Extract") == 5
    # The client first sends digests, to learn which pictures are there already.
    assert value(samples, "fc7_request_items_total", method="fc7.v1.CollectionService/UpsertItems") == 2 * 4
    assert value(samples, "fc7_request_seconds_count", method="fc7.v1.FeatureService/Extract") == 2
    assert value(samples, "fc7_request_seconds_sum", method="fc7.v1.FeatureService/Extract") > 0
    assert value(samples, "fc7_unreadable_images_total", reason="UNSUPPORTED_FORMAT") == 1
    n_decoded = value(samples, "fc7_decode_seconds_count")
    assert n_decoded >= 3 + 1 + 4 + 1 + 8 + 1  # and those of the warm-up
    assert value(samples, "fc7_queue_seconds_count", model="tiny") == n_decoded
    assert value(samples, "fc7_batch_images_sum", model="tiny") == n_decoded + MAX_BATCH  # a full batch of the warm-up
    n_runs = value(samples, "fc7_batch_images_count", model="tiny")
    assert n_runs == value(samples, "fc7_compute_seconds_count", model="tiny")
    assert n_runs < n_decoded
    assert value(samples, "fc7_search_seconds_count", index="exact") == 1
    assert value(samples, "fc7_fit_seconds_count") == 1
    assert value(samples, "fc7_open_collections") == 1
    assert value(samples, "fc7_waiting_images") == value(samples, "fc7_requests_running") == 0
    assert value(samples, "fc7_model_info", model="tiny", provider="CPUExecutionProvider") == 1
    assert value(samples, "process_resident_memory_bytes") > 2**20
    assert value(samples, "fc7_threads") > 3
    assert value(samples, "fc7_event_loop_delay_seconds_count") > 0


def test_no_caller_can_add_a_series(served: tuple[Served, str]) -> None:
    with grpc.insecure_channel(served[0].address) as channel:
        for i in range(30):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/hostile.Service{i}/Evil")(b"", timeout=WAIT_S)
    with fc7.connect(served[0].address) as client:
        for call in (lambda: client.extract(jpeg(1), model="evil"), lambda: client.collection("evil")):
            with pytest.raises(fc7.NotFound):
                call()
        client.create_collection("evil").add([jpeg(1)], ids=["evil"], payloads=[{"evil": "evil"}])
    samples = wait_for_requests(served[1], 34)
    assert value(samples, "fc7_requests_total", method="other", code="UNIMPLEMENTED", reason="") == 30
    text = scrape(served[1])
    assert "evil" not in text.lower()
    assert "hostile" not in text


def test_metrics_are_off_by_default_and_their_port_is_checked(tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(tmp_path / "data", "--model", str(tiny_bundle), "--metrics", address)
    assert result.returncode == 4
    assert f"cannot serve metrics on {address}" in result.stderr
    result = run(tmp_path / "data", "--model", str(tiny_bundle), "--metrics", "0.0.0.0:0")
    assert result.returncode == 2
    assert "--insecure" in result.stderr
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:
        with fc7.connect(served.address) as client:
            client.models()
        assert served.stop() == 0
    assert [json.loads(line)["event"] for line in served.log] == ["request"]
