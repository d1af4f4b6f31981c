"""The metrics of a server: what the code records, what the exporter makes of it, what the dashboard asks for."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc7.errors import FailedPrecondition, InvalidArgument
from fc7_service.settings import Settings
from fc7_service.telemetry import exporter as exporter_module
from fc7_service.telemetry.exporter import Exporter
from fc7_service.telemetry.metrics import METRICS, PROCESS_METRICS
from fc7_service.telemetry.process import watch_event_loop
from servers import WAIT_S

ROOT = Path(__file__).parents[2]
CALL = {"method": "fc7.v1.FeatureService/Extract", "code": "OK", "reason": ""}
LABELS_OF_PROMETHEUS = {"le", "instance", "job"}


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    allowed = {"method": [CALL["method"]], "code": ["OK"], "reason": [""], "model": ["tiny"]}
    made = Exporter(allowed, {"fc7_waiting_images": lambda: {(): 7}, "fc7_info": lambda: {("1.2.3",): 1}})
    yield made
    made.close()


def scrape(address: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=WAIT_S) as answer:
        return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]


def recorded() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the place, the metric and the labels of every call of a `record` in the service."""
    for path in sorted((ROOT / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called, first = getattr(node.func, "attr", getattr(node.func, "id", "")), node.args[0]
            if called in ("record", "_record") and str(getattr(first, "value", "")).startswith("fc7_"):
                yield f"{path.name}:{node.lineno}", first.value, tuple(str(keyword.arg) for keyword in node.keywords)


def test_the_code_records_every_counter_and_histogram_with_its_labels() -> None:
    for place, name, labels in recorded():
        assert METRICS[name].kind != "gauge", place
        assert METRICS[name].labels == labels, place
    assert {name for _, name, _ in recorded()} == {m.name for m in METRICS.values() if m.kind != "gauge"}


def test_metrics_have_a_meaning_and_names_that_prometheus_recommends() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"fc7_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.meaning.endswith(".")


def test_values_are_added_up(exporter: Exporter) -> None:
    address = exporter.start("127.0.0.1:0")
    for n in (1, 3, 30):
        exporter.record("fc7_requests_total", **CALL)
        exporter.record("fc7_batch_images", n, model="tiny")
    lines = scrape(address)
    assert 'fc7_requests_total{code="OK",method="fc7.v1.FeatureService/Extract",reason=""} 3.0' in lines
    assert 'fc7_batch_images_bucket{le="4.0",model="tiny"} 2.0' in lines
    assert 'fc7_batch_images_sum{model="tiny"} 34.0' in lines
    assert "fc7_waiting_images 7.0" in lines
    assert 'fc7_info{version="1.2.3"} 1.0' in lines
    assert not any("_created" in line for line in lines)


def test_other_values_of_labels_share_one_series(exporter: Exporter) -> None:
    address = exporter.start("127.0.0.1:0")
    exporter.record("fc7_requests_total", **CALL)
    for i in range(1000):
        exporter.record("fc7_requests_total", method=f"m{i}", code=f"c{i}", reason=f'"}} 1\n{i}')
        exporter.record("fc7_queue_seconds", 0.1, model=f"model{i}")
    lines = scrape(address)
    assert 'fc7_requests_total{code="other",method="other",reason="other"} 1000.0' in lines
    assert len([line for line in lines if line.startswith("fc7_requests_total")]) == 2
    assert len([line for line in lines if line.startswith("fc7_queue_seconds_count")]) == 1
    assert len(exporter._series) == 3


def test_silent_connections_delay_a_scrape_and_take_no_files(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "_TIMEOUT_S", 0.05)
    host, _, port = exporter.start("127.0.0.1:0").rpartition(":")
    open_before = len(os.listdir("/proc/self/fd"))
    silent = [socket.create_connection((host, int(port))) for _ in range(4)]
    start = time.monotonic()
    assert scrape(f"{host}:{port}")
    assert time.monotonic() - start >= 0.15  # it did wait for them
    assert len(os.listdir("/proc/self/fd")) <= open_before + len(silent) + 1
    for connection in silent:
        connection.close()


def test_a_scrape_that_breaks_off_is_logged(
    exporter: Exporter, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    exporter._registry.register(_Broken())
    address = exporter.start("127.0.0.1:0")
    with pytest.raises(OSError):
        scrape(address)
    with pytest.raises(OSError):
        scrape(address)  # it still listens
    assert [record.getMessage() for record in caplog.records][:1] == ["a scrape of the metrics failed"]
    assert capfd.readouterr().err == ""


class _Broken:
    def collect(self) -> Any:
        raise ValueError("broken")

    def describe(self) -> list[Any]:
        return []


def test_a_port_that_is_taken_is_named(exporter: Exporter) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FailedPrecondition, match=f"cannot serve metrics on {address}"):
            exporter.start(address)


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "gpu-box:9464", "[::]:9464"])
def test_metrics_for_other_machines_need_insecure(address: str) -> None:
    with pytest.raises(InvalidArgument, match="--insecure"):
        Settings(Path("data"), metrics=address).check()
    Settings(Path("data"), metrics=address, is_insecure=True).check()


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "localhost:0", "[::1]:9464"])
def test_metrics_on_loopback_need_nothing(address: str) -> None:
    Settings(Path("data"), metrics=address).check()


async def test_a_stall_of_the_event_loop_is_recorded() -> None:
    delays: list[float] = []

    def record(metric: str, value: float = 1, **labels: str) -> None:
        assert (metric, labels) == ("fc7_event_loop_delay_seconds", {})
        delays.append(value)

    watch = asyncio.ensure_future(watch_event_loop(record))
    while not delays:
        await asyncio.sleep(0.01)
    time.sleep(1)  # the stall
    async with asyncio.timeout(WAIT_S):
        while max(delays) < 0.7:
            await asyncio.sleep(0.01)
    watch.cancel()


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the title of a panel, or the name of a variable, and each of its expressions."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]


SERIES = {series: set(m.labels) for m in METRICS.values() for series in m.series} | {n: set() for n in PROCESS_METRICS}


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_the_dashboard_asks_for_metrics_and_labels_that_exist(title: str, expression: str) -> None:
    names = re.findall(r"\b(?:fc7|process)_\w+", expression)
    assert names
    assert set(names) <= SERIES.keys()
    labels = set().union(*(SERIES[name] for name in names)) | LABELS_OF_PROMETHEUS
    used = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        used += re.split(r",\s*", listed)
    assert set(used) <= labels
    for name in re.findall(r"(?:rate|increase)\((\w+)", expression):
        assert name.endswith(("_total", "_bucket", "_sum", "_count")), f"{name} is no counter"
    if "histogram_quantile" in expression:
        assert "le" in used


def test_the_dashboard_shows_every_metric() -> None:
    text = " ".join(expression for _, expression in expressions())
    shown = {m.name for m in METRICS.values() if any(re.search(rf"\b{s}\b", text) for s in m.series)}
    assert shown == METRICS.keys()


def test_panels_of_the_dashboard_say_what_they_show() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = set()
    for panel in panels:
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        x, y, width = (panel["gridPos"][key] for key in ("x", "y", "w"))
        assert x + width <= 24
        cells = {(x + i, y + j) for i in range(width) for j in range(panel["gridPos"]["h"])}
        assert not cells & places, f"{panel['title']} covers another panel"
        places |= cells
