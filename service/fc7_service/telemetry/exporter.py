"""Keeps the metrics of a server and serves them to Prometheus."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from http.server import HTTPServer
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    MetricsHandler,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Reason
from fc7_service.telemetry.metrics import METRICS

OTHER = "other"  # in place of a label value that is not allowed
_TIMEOUT_S = 5.0  # for the next bytes of a scrape
_FAREWELL_S = 1.0  # for the request in hand when the server stops
_log = logging.getLogger(__name__)

Gauge = Callable[[], Mapping[tuple[str, ...], float]]  # values by label values; called for each scrape


class Exporter:
    """The metrics of one server, behind an HTTP port of their own.

    One thread answers one scrape at a time, so that silent connections take no more than one file.

    Parameters
    ----------
    allowed
        Allowed values of a label. Any other value becomes "other", so that no caller can add a series. A label that is
        missing here takes its values from the code.
    gauges
        How to read the value of each gauge.
    """

    def __init__(self, allowed: Mapping[str, Container[str]], gauges: Mapping[str, Gauge]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series
        self._allowed = allowed
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Histogram] = {}
        for metric in METRICS.values():
            if metric.kind == "counter":
                self._metrics[metric.name] = Counter(
                    metric.name, metric.meaning, metric.labels, registry=self._registry
                )
            elif metric.kind == "histogram":
                self._metrics[metric.name] = Histogram(
                    metric.name, metric.meaning, metric.labels, buckets=metric.buckets, registry=self._registry
                )
        self._registry.register(_Gauges(gauges))
        ProcessCollector(registry=self._registry)
        self._series: dict[tuple[Any, ...], Callable[[float], None]] = {}
        self._server: HTTPServer | None = None

    def record(self, metric: str, value: float = 1, **labels: str) -> None:
        """Add to a counter or a histogram; see `Record`."""
        add = self._series.get((metric, *labels.items())) or self._find_series(metric, labels)
        add(value)

    def write(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return bytes(generate_latest(self._registry))

    def start(self, address: str) -> str:
        """Listen; return HOST:PORT.

        Raises
        ------
        FailedPrecondition
            The port is in use, or the address is not of this machine.
        """
        host, port = split_address(address, "metrics")
        handler = type("Handler", (MetricsHandler.factory(self._registry),), {"timeout": _TIMEOUT_S})
        server_class = _IPv6Server if host.startswith("[") else _Server
        try:
            self._server = server_class((host.strip("[]"), port), handler)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot serve metrics on {address}: the port is in use, or the address is not this machine's. Choose "
                "another one with --metrics",
                name="metrics",
                reason=Reason.CANNOT_LISTEN,
            ) from error
        threading.Thread(target=self._server.serve_forever, name="fc7-metrics", daemon=True).start()
        return f"{host}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            ending = threading.Thread(target=self._server.shutdown, daemon=True)  # waits for the request in hand
            ending.start()
            ending.join(_FAREWELL_S)
            self._server.server_close()

    def _find_series(self, metric: str, labels: Mapping[str, str]) -> Callable[[float], None]:
        """Return what adds to the series of these labels, and remember it."""
        labels = {name: self._check(name, value) for name, value in labels.items()}
        found = self._metrics[metric]
        series = found.labels(**labels) if labels else found
        add = series.inc if isinstance(series, Counter) else series.observe
        return self._series.setdefault((metric, *labels.items()), add)

    def _check(self, label: str, value: str) -> str:
        return value if label not in self._allowed or value in self._allowed[label] else OTHER


class _Gauges(Collector):
    """Reads all gauges."""

    def __init__(self, gauges: Mapping[str, Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, read in self._gauges.items():
            family = GaugeMetricFamily(name, METRICS[name].meaning, labels=METRICS[name].labels)
            for labels, value in read().items():
                family.add_metric(labels, value)
            yield family


class _Server(HTTPServer):
    def server_bind(self) -> None:
        """Bind, without the look-up of the machine's name that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a scrape failed; the default prints a traceback between the lines of the log."""
        _log.warning("a scrape of the metrics failed", exc_info=True)


class _IPv6Server(_Server):
    address_family = socket.AF_INET6
