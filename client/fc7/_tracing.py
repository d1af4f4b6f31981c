"""Spans of a client's requests, in programs that use OpenTelemetry.

fc7 never imports it. Where the program has done so, each request becomes a span below the program's current one, and
the server learns of it. Without a configured SDK, OpenTelemetry's own spans do nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fc7._operations.steps import OpenStream, SendRequest
from fc7.endpoint import Endpoint
from fc7.errors import Fc7Error

Metadata = tuple[tuple[str, str], ...]


class RequestSpan:
    """The span of one request or stream; it does nothing in a program without OpenTelemetry."""

    def __init__(self, step: SendRequest | OpenStream, endpoint: Endpoint) -> None:
        self.metadata: Metadata = ()  # to send with the request
        self._span: Any = None
        self._otel: Any = sys.modules.get("opentelemetry.trace")
        if self._otel is None:
            return
        package = step.stub.__module__.rpartition(".")[0].replace("grpc_health", "grpc.health")
        name = f"{package}.{step.stub.__name__.removesuffix('Stub')}/{step.method}"
        attributes = {"rpc.system.name": "grpc", "rpc.method": name, "server.address": endpoint.address}
        tracer = self._otel.get_tracer("fc7")
        self._span = tracer.start_span(name, kind=self._otel.SpanKind.CLIENT, attributes=attributes)
        context = self._span.get_span_context()
        if context.is_valid:
            ids = f"{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            self.metadata = (("traceparent", f"00-{ids}"),)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; a second end does nothing."""
        if self._span is None:
            return
        span, self._span = self._span, None
        code = "OK" if error is None else error.code if isinstance(error, Fc7Error) else "CANCELLED"
        span.set_attribute("rpc.response.status_code", code)
        if error is not None:
            span.set_attribute("error.type", code)
            span.set_status(self._otel.StatusCode.ERROR)
        span.end()


@contextmanager
def traced(step: SendRequest, endpoint: Endpoint) -> Iterator[Metadata]:
    """Make the span of one request, from here to the end of the block; yield the metadata to send with it."""
    span = RequestSpan(step, endpoint)
    try:
        yield (*endpoint.metadata, *span.metadata)
    except BaseException as error:
        span.end(error)
        raise
    span.end()
