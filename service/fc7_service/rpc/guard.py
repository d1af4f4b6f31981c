"""The one interceptor: tokens, errors to statuses, garbage bytes, the request log."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted, Unavailable
from fc7_service.rpc.messages import check_answer
from fc7_service.tokens import Tokens

MAX_ITEMS = 4096  # of one request: an empty image costs four bytes on the wire and a kilobyte here
_DETAIL_BYTES = 1024  # above 16 KiB of details gRPC replaces the status by another
_WATCH = "/grpc.health.v1.Health/Watch"
_logger = logging.getLogger(__name__)


class Log(Protocol):
    """Where events go."""

    def __call__(self, event: str, *, error: BaseException | None = None, **values: object) -> None:
        """Write one event; ``error`` adds its traceback."""


class Guard(grpc.aio.ServerInterceptor):
    """Stands around every method of every service.

    Parameters
    ----------
    tokens
        Asked for every call, except those through the private Unix socket, which
        only this user can reach.
    log
        Called once a request; None for no log.
    """

    def __init__(self, tokens: Tokens, log: Log | None) -> None:
        self._tokens, self._log = tokens, log
        self._watches: set[asyncio.Task[Any]] = set()

    def end_watches(self) -> None:
        """End the watches of health, which would hold up the end of the server; other calls are left alone."""
        for task in self._watches:
            task.cancel()

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        """Return the method's handler with the guard around it."""
        method = details.method
        handler = await continuation(details)
        authorization = dict(details.invocation_metadata or ()).get("authorization", "")

        def admit(context: Any) -> None:
            if not context.peer().startswith("unix:"):
                self._tokens.check(method, authorization, is_known=handler is not None)
            if method == _WATCH and (task := asyncio.current_task()) is not None:
                self._watches.add(task)
                task.add_done_callback(self._watches.discard)

        return _Around(method, handler or _unknown(method), admit, self._log).handler()


def _unknown(method: str) -> Any:
    """Return a handler for a method that no service has; a token is asked for first."""

    async def refuse(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _cut(f"method {method} does not exist", _DETAIL_BYTES))

    return grpc.unary_unary_rpc_method_handler(refuse)


class _Around:
    """One method with the guard around it."""

    def __init__(self, method: str, handler: Any, admit: Callable[[Any], None], log: Log | None) -> None:
        self._method, self._handler, self._admit, self._log = method, handler, admit, log

    def handler(self) -> Any:
        """Return a handler of the same arity."""
        inner = self._handler
        codec = {
            "request_deserializer": _tolerant(inner.request_deserializer),
            "response_serializer": inner.response_serializer,
        }
        if inner.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(inner.stream_stream, is_request_stream=True), **codec
            )
        if inner.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(inner.unary_stream, is_request_stream=False), **codec
            )
        return grpc.unary_unary_rpc_method_handler(self._unary(inner.unary_unary), **codec)

    def _unary(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(request: Any, context: Any) -> Any:
            start, n_items = time.monotonic(), _count(request)
            try:
                self._admit(context)
                answer = _fitting(await call(_checked(request), context))
            except BaseException as error:
                raise await self._fail(error, context, start, n_items) from None
            self._write("OK", start, n_items)
            return answer

        return guarded

    def _stream(self, call: Callable[..., Any], *, is_request_stream: bool) -> Callable[..., Any]:
        async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
            start, n_answers = time.monotonic(), 0
            try:
                self._admit(context)
                source = _each_checked(request) if is_request_stream else _checked(request)
                answers = call(source, context)
                if hasattr(answers, "__aiter__"):
                    async for answer in answers:
                        n_answers += 1
                        yield answer
                else:  # a coroutine that writes through the context, as the health service's Watch does
                    await answers
            except GeneratorExit:  # the caller left while an answer was under way
                self._write("CANCELLED", start, n_answers)
                raise
            except BaseException as error:
                raise await self._fail(error, context, start, n_answers) from None
            self._write("OK", start, n_answers)

        return guarded

    async def _fail(self, error: BaseException, context: Any, start: float, n_items: int) -> BaseException:
        """Log the error, end the call with its status; return what the handler must raise."""
        if isinstance(error, grpc.aio.AbortError):  # the health service's own refusals
            self._write(_NAMES.get(context.code(), "UNKNOWN"), start, n_items)
            return error
        if isinstance(error, asyncio.CancelledError):
            if context.cancelled() or context.done():
                self._write("CANCELLED", start, n_items)
                return error
            error = Unavailable("the server is stopping: send the call again", reason=Reason.SERVER_STOPPING)
        incident = ""
        if not isinstance(error, Fc7Error):
            incident = secrets.token_hex(6)
            if self._log:
                self._log("incident", error=error, method=self._method, incident=incident)
            else:
                _logger.error("incident %s in %s", incident, self._method, exc_info=error)
            error = Fc7Error(f"internal error, incident {incident}: the server's log has the details")
        self._write(error.code, start, n_items, error.reason)
        try:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except BaseException as abort:  # abort answers by raising
            return abort
        return error

    def _write(self, code: str, start: float, n_items: int, reason: str = "") -> None:
        if self._log:
            ms = round((time.monotonic() - start) * 1000, 2)
            self._log("request", method=self._method, code=code, ms=ms, items=n_items, reason=reason)


def to_status(error: Fc7Error) -> status_pb2.Status:
    """Return ``google.rpc.Status`` with ErrorInfo(reason, domain "fc7") and, for a full queue, RetryInfo."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain="fc7", metadata={"name": _cut(error.name, 256)})
    details: list[Any] = [info]
    if isinstance(error, ResourceExhausted) and error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidArgument) and error.name:
        violation = error_details_pb2.BadRequest.FieldViolation(field=_cut(error.name, 256))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=_NUMBERS[error.code], message=_cut(error.message, _DETAIL_BYTES))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


_NUMBERS: dict[str, int] = {code.name: code.value[0] for code in grpc.StatusCode}
_NAMES = {number: name for name, number in _NUMBERS.items()} | {code: code.name for code in grpc.StatusCode}


def _cut(text: str, n_bytes: int) -> str:
    """Return the front of ``text`` that fits ``n_bytes`` of UTF-8."""
    return text.encode("utf-8", "replace")[:n_bytes].decode("utf-8", "ignore")


class _Garbage:
    """Stands for a message whose bytes are not that message."""

    def ListFields(self) -> list[Any]:  # noqa: N802
        """Count like a message: no items."""
        return []


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception:  # the parser's own error types; the caller is told, the server goes on
            return _Garbage()

    return read


def _checked(request: Any) -> Any:
    if isinstance(request, _Garbage):
        raise InvalidArgument(
            "the request's bytes are not the message that this method takes", reason=Reason.MALFORMED_MESSAGE
        )
    if (count := _count(request)) > MAX_ITEMS:
        raise InvalidArgument(
            f"the request holds {count} items: at most {MAX_ITEMS}, so send it in parts", reason=Reason.TOO_MANY_ITEMS
        )
    return request


def _fitting(answer: Any) -> Any:
    """Refuse an answer that no client could receive, in words that gRPC does not have."""
    if answer is not None:  # None: the handler ended the call itself
        check_answer(answer.ByteSize(), "items")
    return answer


async def _each_checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def _count(request: Any) -> int:
    """Return how many items a request holds: the length of its longest repeated field, one level down included."""
    sizes = [0]
    for field, value in request.ListFields() if hasattr(request, "ListFields") else ():
        if field.is_repeated:
            sizes.append(len(value))
        elif field.message_type is not None:
            sizes.extend(len(inner) for part, inner in value.ListFields() if part.is_repeated)
    return max(sizes)
