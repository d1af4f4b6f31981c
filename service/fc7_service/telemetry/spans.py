"""Spans of the calls of a server, sent to an OpenTelemetry collector.

Names and attributes follow the semantic conventions for RPC:
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fc7.contract.address import is_loopback, split_address
from fc7_service.telemetry.trace import CallTrace

_FAREWELL_MS = 1000  # for spans that wait when the server ends
# Statuses that are the server's fault; the others are the caller's, and no error of the server.
_SERVER_ERRORS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


class Spans:
    """Makes one span per call, and sends them in batches from a thread of its own.

    Parameters
    ----------
    address
        HOST:PORT of a collector that takes OTLP over gRPC; without TLS on a loopback address, with TLS elsewhere.
    version
        Of fc7.
    """

    def __init__(self, address: str, version: str) -> None:
        host, _ = split_address(address, "traces")
        resource = Resource.create({"service.name": "fc7", "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=address, insecure=is_loopback(host))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("fc7", version)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, metadata: Mapping[str, str]) -> CallTrace:
        """Begin the span of a call, below the caller's if the metadata name one."""
        name = method.removeprefix("/")
        span = self._tracer.start_span(
            name,
            self._propagator.extract(dict(metadata)),
            trace.SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": name},
        )
        return _SpanOfCall(span)

    def close(self) -> None:
        """Send the spans that wait, if the collector takes them."""
        self._provider.force_flush(_FAREWELL_MS)
        self._provider.shutdown()


class _SpanOfCall(CallTrace):
    def __init__(self, span: trace.Span) -> None:
        super().__init__(trace.format_trace_id(span.get_span_context().trace_id))
        self._span = span

    def end(self, code: str, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes({"rpc.response.status_code": code, **attributes})
        if code in _SERVER_ERRORS:
            self._span.set_attribute("error.type", code)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()
