"""A connection to a server, and the streams on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from fc7._operations.steps import OpenStream, SendRequest
from fc7._tracing import RequestSpan
from fc7.endpoint import Endpoint
from fc7.grpc_errors import read_rpc_error
from fc7.several_servers import check_method


class Connection:
    """A channel to a server and the generated stubs on it."""

    def __init__(self, endpoint: Endpoint, channel: Any) -> None:
        self.endpoint, self.channel = endpoint, channel
        self.has_answered = False
        self._stubs: dict[type[Any], Any] = {}

    def method(self, step: SendRequest | OpenStream) -> Any:
        """Return the gRPC callable of a method. It takes a request as a message, or already serialized as bytes.

        Raises
        ------
        FailedPrecondition
            The call needs one particular server, and there are several.
        """
        check_method(step.stub.__name__, step.method, self.endpoint.address)
        if step.stub not in self._stubs:
            self._stubs[step.stub] = step.stub(_PackedRequests(self.channel))
        return getattr(self._stubs[step.stub], step.method)


class _PackedRequests:
    """A channel whose stubs also take requests that are already serialized."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def unary_unary(self, path: str, *, request_serializer: Callable[[Any], bytes], **rest: Any) -> Any:
        def pack(request: Message | bytes) -> bytes:
            return request if isinstance(request, bytes) else request_serializer(request)

        return self._channel.unary_unary(path, request_serializer=pack, **rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


class OutgoingRequests:
    """The requests of a stream. Keeps an error raised while they are made, which gRPC would swallow."""

    def __init__(self, requests: Iterator[Message]) -> None:
        self._requests = requests
        self._opened = threading.Event()
        self._call: Any = None
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Message]:
        """Yield the requests. gRPC iterates in a thread of its own."""
        try:
            yield from self._requests
        except Exception as error:  # `ResponseStream.read` raises it
            self.error = error
            self._opened.wait()
            self._call.cancel()  # a normal end would let the server continue with a part

    def belong_to(self, call: Any) -> None:
        """Set the call that sends these requests."""
        self._call = call
        self._opened.set()


class ResponseStream:
    """A call that is answered by many messages, on a synchronous channel."""

    def __init__(self, connection: Connection, step: OpenStream, timeout_s: float | None) -> None:
        self._address = connection.endpoint.address
        one = step.requests if isinstance(step.requests, Message) else None
        self._requests = OutgoingRequests(iter(()) if isinstance(step.requests, Message) else step.requests)
        sent = iter(self._requests) if one is None else one
        self._span = RequestSpan(step, connection.endpoint)
        metadata = (*connection.endpoint.metadata, *self._span.metadata)
        self._call = connection.method(step)(sent, timeout=timeout_s, metadata=metadata)
        self._requests.belong_to(self._call)

    def read(self) -> Message | None:
        """Return the next answer, or None after the last one."""
        try:
            answer: Message | None = next(self._call, None)
        except grpc.RpcError as error:
            failure = self._requests.error or read_rpc_error(error, self._address)
            self._span.end(failure)
            raise failure from None
        if answer is None:
            self._span.end()
        return answer

    def cancel(self) -> None:
        """Cancel the call if it is still running."""
        self._call.cancel()
        self._span.end(asyncio.CancelledError())
