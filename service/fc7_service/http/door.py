"""Calls over HTTP, through the same interceptor and to the same servicers as those over gRPC."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2
from starlette.requests import HTTPConnection

from fc7.contract.request_id import REQUEST_ID, TRACE_KEYS
from fc7_service.http.hidden_paths import PathsHidden
from fc7_service.http.sessions import Sessions
from fc7_service.rpc.call import CLASS_KEY
from fc7_service.rpc.codec import WIRE, Codec
from fc7_service.rpc.interceptor import Interceptor

_METADATA = (REQUEST_ID, CLASS_KEY, *TRACE_KEYS)  # headers that mean what metadata of the same name mean
_STATUS_KEY = "grpc-status-details-bin"


class Refusal(Exception):  # noqa: N818  # what a call may end with
    """The status with which the interceptor or a servicer ended a call."""

    def __init__(self, status: status_pb2.Status, request_id: str = "") -> None:
        super().__init__(status.message)
        self.status, self.request_id = status, request_id


@dataclass(frozen=True, slots=True)
class CallDetails:
    """What the interceptor knows of a call before its first message."""

    method: str  # full name, for example "/fc7.v1.FeatureService/Extract"
    invocation_metadata: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class CallContext:
    """What a call over HTTP offers in place of gRPC's context: the part that the interceptor and servicers use."""

    address: str
    deadline: float | None = None  # in monotonic seconds
    request_id: str = ""
    status: status_pb2.Status = field(default_factory=status_pb2.Status)
    _done: list[Callable[[Any], None]] = field(default_factory=list)

    def peer(self) -> str:
        """Return the address of the caller."""
        return self.address

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return what is known of the caller's certificate: the web server does not tell its name."""
        return {}

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None if there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, Any]]) -> None:
        """Keep the id of the call."""
        self.request_id = dict(metadata).get(REQUEST_ID, "")

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have ``callback`` called once the call has ended."""
        self._done.append(callback)

    def finish(self) -> None:
        """Call the callbacks."""
        for callback in self._done:
            callback(self)

    def code(self) -> int:
        """Return the number of the status code."""
        return int(self.status.code)

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with a status."""
        self.status = status_pb2.Status(code=code.value[0], message=details)
        raise grpc.aio.AbortError

    async def abort_with_status(self, status: Any) -> None:
        """End the call with a status that has details."""
        self.status = status_pb2.Status.FromString(dict(status.trailing_metadata)[_STATUS_KEY])
        raise grpc.aio.AbortError


class Door:
    """Makes the calls of one server.

    Parameters
    ----------
    interceptor
        Wraps every call.
    handlers
        The methods.
    sessions
        Say which token a request has.
    """

    def __init__(self, interceptor: Interceptor, handlers: Mapping[str, Any], sessions: Sessions) -> None:
        self._interceptor, self.handlers, self.sessions = interceptor, handlers, sessions

    async def call(
        self,
        connection: HTTPConnection,
        method: str,
        messages: AsyncIterator[bytes],
        codec: Codec,
        timeout_s: float | None = None,
        *,
        shows_paths: bool = False,
    ) -> AsyncGenerator[bytes]:
        """Yield the answers of one call, as ``codec`` writes them.

        Parameters
        ----------
        connection
            Who calls.
        method
            Full name, for example "/fc7.v1.FeatureService/Extract".
        messages
            The messages of the caller. Nothing is taken from it before the caller is known.
        timeout_s
            When the caller stops waiting. Who consumes the answers must stop then.
        shows_paths
            Keep paths of files in the answers for a caller who may only read too: the answers are not for the caller.

        Raises
        ------
        Refusal
            The call failed.
        """
        client = connection.client
        address = f"{client.host}:{client.port}" if client else ""
        context = CallContext(address, None if timeout_s is None else time.monotonic() + timeout_s)
        details = CallDetails(method, self._read_metadata(connection))
        connection.state.call = context
        if not shows_paths and self._may_only_read(connection):
            codec = PathsHidden(codec)
        run = self._interceptor.wrap(details, self.handlers.get(method), codec)
        try:
            async with aclosing(run(messages, context)) as answers:
                async for answer in answers:
                    yield answer
        except grpc.aio.AbortError:
            raise Refusal(context.status, context.request_id) from None
        finally:
            context.finish()

    async def ask(self, connection: HTTPConnection, method: str, request: Message, *, shows_paths: bool = False) -> Any:
        """Make a unary call for the caller of an HTTP request; return its answer. The arguments are those of `call`.

        Raises
        ------
        Refusal
            The call failed. Left alone, it becomes the answer of the HTTP request.
        """

        async def messages() -> AsyncIterator[bytes]:
            yield request.SerializeToString()

        answer = _AnswerKept()
        asking = self.call(connection, method, messages(), answer, shows_paths=shows_paths)
        async with aclosing(asking) as answers:
            async for _ in answers:
                pass
        return answer.message

    def check(self, connection: HTTPConnection, name: str) -> None:
        """Refuse a request that is no call, unless its token may do what is called ``name``.

        Raises
        ------
        Unauthenticated, PermissionDenied
            There is no token, or its scope is too weak.
        """
        self.sessions.tokens.check(name, self.sessions.authorization(connection))

    def _may_only_read(self, connection: HTTPConnection) -> bool:
        """Return whether the token of a request has the weakest scope."""
        return self.sessions.tokens.scope_of(self.sessions.authorization(connection)) in ("", "read")

    def _read_metadata(self, connection: HTTPConnection) -> tuple[tuple[str, str], ...]:
        """Return the token of a request, and the headers that mean what gRPC's metadata of the same name mean."""
        headers = connection.headers
        token = ("authorization", self.sessions.authorization(connection))
        return (token, *((name, headers[name]) for name in _METADATA if name in headers))


class _AnswerKept:
    """Keeps the answer as a message instead of writing it."""

    read = staticmethod(WIRE.read)
    message: Any = None

    def write(self, answer: Any) -> bytes:
        self.message = answer
        return b""
