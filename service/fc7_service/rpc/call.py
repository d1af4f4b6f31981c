"""One call: its messages in, its answers out, and its end with a status, a metric and a line of the log."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from grpc_status import rpc_status

from fc7.contract.request_id import REQUEST_ID
from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument, Reason, Unavailable
from fc7_service.bundle.disk import is_out_of_files
from fc7_service.rpc.codec import Codec
from fc7_service.rpc.message_threads import count_items
from fc7_service.rpc.messages import check_answer
from fc7_service.rpc.status import DETAIL_BYTES, cut, name_of, to_status
from fc7_service.scheduling.call import CALL_ORIGIN, CallOrigin, WorkClass
from fc7_service.served.call_models import CALL_MODELS, CallModels
from fc7_service.tokens import NOBODY

if TYPE_CHECKING:
    from fc7_service.rpc.interceptor import Interceptor

CLASS_KEY = "fc7-class"  # metadata by which a call says that it is interactive or bulk
# Always need a network. When it is full, they are refused before their pictures are read.
_WANT_FEATURES = frozenset(("/fc7.v1.FeatureService/Extract", "/inference.GRPCInferenceService/ModelInfer"))
_ARRIVAL_S = 300.0  # for each message; fc7's clients wait as long for an answer
_EARLY_S = 0.005  # the timers of uvloop count milliseconds, and may fire one early
_NAME_BYTES = 64  # of a certificate's name in the log
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # what a caller may choose; it goes into the log
_logger = logging.getLogger(__name__)


class Call:
    """One call."""

    def __init__(self, guard: Interceptor, details: Any, handler: Any, codec: Codec) -> None:
        self._interceptor, self._method, self._handler, self._codec = guard, details.method, handler, codec
        metadata = dict(details.invocation_metadata or ())
        self._authorization, self._class = str(metadata.get("authorization", "")), metadata.get(CLASS_KEY)
        sent_id = str(metadata.get(REQUEST_ID, ""))
        self._id = sent_id if _ID.fullmatch(sent_id) else f"{random.getrandbits(64):016x}"
        self._trace = guard.begin_trace(self._method, metadata)
        self._caller = NOBODY
        self._start, self._n_items, self._peer, self._certificate = time.monotonic(), 0, "", ""

    async def answer_once(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        """Answer a call that has one answer; an error ends it with its status."""
        self._begin(context)
        try:
            answer = await self._handle(await self._request(messages, context), context)
        except BaseException as error:
            failure = await self._fail(error, context)
        else:
            self._write("OK")
            return answer
        raise failure  # here it does not keep the first error alive, whose frames hold the message

    async def answer_in_turn(self, messages: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
        """Answer a call, one answer after the other; an error ends it with its status."""
        self._begin(context)
        try:
            async with aclosing(self._answers(messages, context)) as answers:
                async for answer in answers:
                    yield answer
        except GeneratorExit:  # the caller left during an answer
            self._write("CANCELLED")
            raise
        except BaseException as error:
            failure = await self._fail(error, context)
        else:
            self._write("OK")
            return
        raise failure  # as above

    def _begin(self, context: Any) -> None:
        context.set_trailing_metadata(((REQUEST_ID, self._id),))
        self._peer = context.peer()  # asked now, because after the call gRPC ends a process that asks
        if self._interceptor.names_clients:
            self._certificate = _name_of_certificate(context.auth_context())
        self._interceptor.count(self._method, 1)
        context.add_done_callback(lambda _: self._interceptor.count(self._method, -1))  # once its status is sent
        CALL_MODELS.set(models := CallModels())
        context.add_done_callback(lambda _: models.close())

    async def _request(self, messages: AsyncIterator[bytes], context: Any) -> Any:
        """Return the request of an allowed call, or its requests one after the other."""
        inner = self._handler
        self._caller = self._interceptor.admit(self._method, self._authorization, is_known=inner is not None)
        if inner is None:
            await context.abort(
                grpc.StatusCode.UNIMPLEMENTED, cut(f"method {self._method} does not exist", DETAIL_BYTES)
            )
        origin = self._origin(context)
        CALL_ORIGIN.set(origin)
        if self._method in _WANT_FEATURES:
            self._interceptor.check_room(origin)
        if inner.request_streaming:
            return self._each(messages)
        request = await self._only(messages)
        self._n_items = count_items(request)
        return request

    async def _handle(self, request: Any, context: Any) -> bytes:
        answer = await (self._handler.unary_unary or self._handler.stream_unary)(request, context)
        return b"" if answer is None else await self._packed(answer)  # None: it ended the call itself

    async def _answers(self, messages: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes]:
        request = await self._request(messages, context)
        if not self._handler.response_streaming:
            yield await self._handle(request, context)
            return
        answers = (self._handler.stream_stream or self._handler.unary_stream)(request, context)
        if not hasattr(answers, "__aiter__"):  # a coroutine that writes through the context, as health's Watch does
            await answers
            return
        async with aclosing(answers):
            async for answer in answers:
                self._n_items += 1
                yield await self._packed(answer)

    def _origin(self, context: Any) -> CallOrigin:
        """Return who calls, until when, and how urgently."""
        left_s = context.time_remaining()
        if self._class is not None and self._class not in list(WorkClass):
            known = ", ".join(WorkClass)
            raise InvalidArgument(f"{CLASS_KEY} must be one of {known} (got {self._class[:64]!r})", name=CLASS_KEY)
        return CallOrigin(
            self._caller.name or self._certificate or self._caller.token or self._peer,
            None if left_s is None else time.monotonic() + left_s,
            None if self._class is None else WorkClass(self._class),
        )

    async def _only(self, messages: AsyncIterator[bytes]) -> Any:
        """Return the request. Nothing is read from a caller without a token, who may only check health."""
        if self._caller is NOBODY:
            return self._handler.request_deserializer(b"")
        data = await self._next(messages)
        if data is None:
            raise InvalidArgument("the request has no message", reason=Reason.MALFORMED_MESSAGE)
        return await self._parse(data)

    async def _each(self, messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        while (data := await self._next(messages)) is not None:
            yield await self._parse(data)

    async def _parse(self, data: bytes) -> Any:
        return await self._interceptor.messages.parse(self._codec, self._handler.request_deserializer.__self__, data)

    async def _next(self, messages: AsyncIterator[bytes]) -> bytes | None:
        """Return the next message, or None at the end."""
        try:
            async with asyncio.timeout(_ARRIVAL_S):
                return await anext(aiter(messages), None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no message came for {_ARRIVAL_S:g} s. Call again", reason=Reason.ARRIVAL_TOO_SLOW
            ) from None

    async def _packed(self, answer: Any) -> bytes:
        """Return the bytes of an answer; refuse one that no client could receive, with a clearer error than gRPC's."""
        data = await self._interceptor.messages.write(self._codec, answer)
        check_answer(len(data), "items")
        return data

    async def _fail(self, error: BaseException, context: Any) -> BaseException:
        """Log the error and end the call with its status; return what the handler must raise."""
        if isinstance(error, grpc.aio.AbortError):  # a refusal of the health service
            self._write(name_of(context.code()))
            return error
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling() and not self._interceptor.is_stopping:  # the caller cancelled
                left_s = context.time_remaining()
                self._write("CANCELLED" if left_s is None or left_s > _EARLY_S else "DEADLINE_EXCEEDED")
                return error
            if self._interceptor.is_stopping:
                error = Unavailable("the server is stopping. Send the call again", reason=Reason.SERVER_STOPPING)
        incident = ""
        if not isinstance(error, Fc7Error) and is_out_of_files(error):
            text = "the server has no file descriptors left. Send the call again"
            error = Unavailable(text, reason=Reason.TOO_MANY_FILES)
        if not isinstance(error, Fc7Error):
            incident = secrets.token_hex(6)
            if self._interceptor.log:
                names = {
                    "method": self._method,
                    "request_id": self._id,
                    "trace_id": self._trace.trace_id,
                    "incident": incident,
                }
                self._interceptor.log("incident", error=error, **names)
            else:
                _logger.error("incident %s in %s", incident, self._method, exc_info=error)
            error = Fc7Error(f"internal error, incident {incident}. The server's log has the details")
        self._write(error.code, error.reason)
        status = rpc_status.to_status(to_status(error))
        status = status._replace(trailing_metadata=(*status.trailing_metadata, (REQUEST_ID, self._id)))
        del error
        try:
            await context.abort_with_status(status)
        except BaseException as abort:  # abort answers by raising
            return abort
        raise AssertionError("abort returned")

    def _write(self, code: str, reason: str = "") -> None:
        seconds, method = time.monotonic() - self._start, self._method.removeprefix("/")
        self._interceptor.record("fc7_requests_total", method=method, code=code, reason=reason)
        self._interceptor.record("fc7_request_seconds", seconds, method=method)
        self._interceptor.record("fc7_request_items_total", self._n_items, method=method)
        self._trace.end(code, {"fc7.request_id": self._id, "fc7.items": self._n_items, "fc7.reason": reason})
        if self._interceptor.log:
            self._interceptor.log(
                "request",
                request_id=self._id,
                trace_id=self._trace.trace_id,
                method=self._method,
                code=code,
                ms=round(seconds * 1000, 2),
                items=self._n_items,
                reason=reason,
                peer=self._peer,
                scope=self._caller.scope,
                token=self._caller.token,
                caller=self._caller.name,
                certificate=self._certificate,
            )


def _name_of_certificate(facts: Mapping[str, Iterable[bytes]]) -> str:
    """Return the common name in the certificate of a client or, if it has none, its first alternative name."""
    names = [*facts.get("x509_common_name", ()), *facts.get("x509_subject_alternative_name", ())]
    return cut(next(filter(None, names), b"").decode("utf-8", "replace"), _NAME_BYTES)
