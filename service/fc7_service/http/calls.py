"""Every method of the contract over HTTP, in Connect's form: `POST /fc7.v1.CollectionService/QueryItems`.

A unary method takes and returns one message, as JSON or protobuf. A stream takes and returns one JSON object per line.
https://connectrpc.com/docs/protocol/#unary-request
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from google.rpc import status_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fc7.contract.request_id import REQUEST_ID
from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument
from fc7_service.http.body import Body
from fc7_service.http.door import Door, Refusal
from fc7_service.http.json_messages import JsonCodec
from fc7_service.http.picture_form import FORM, PictureCodec, places_of
from fc7_service.http.refusals import code_of, to_object, to_response
from fc7_service.rpc.codec import WIRE, Codec
from fc7_service.rpc.status import to_status

JSON = JsonCodec()
LINES = "application/x-ndjson"
_TIMEOUT = "connect-timeout-ms"


@dataclass(slots=True)
class Form:
    """Which call one request is, and how its messages are written."""

    method: str  # full name, for example "/fc7.v1.FeatureService/Extract"
    codec: Codec
    messages: AsyncIterator[bytes]
    content_type: str = "application/json"  # of the answer
    is_stream: bool = False  # whether the answer is one
    http_status: int = 0  # of the refusal, where the request has no form that is read
    write_error: Callable[[status_pb2.Status], dict[str, Any]] = to_object


class Calls:
    """Answers calls, as an ASGI application.

    Parameters
    ----------
    door
        Makes the calls.
    read_form
        Says which call a request is.
    """

    def __init__(self, door: Door, read_form: Callable[[Request, Body], Form]) -> None:
        self._door, self._read_form = door, read_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, and drop it if its caller leaves."""
        body = Body(receive)
        answering = asyncio.create_task(self._answer(Request(scope, receive), body, send))
        leaving = asyncio.create_task(body.until_caller_leaves())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            answering.cancel()  # does nothing if it has answered
            await asyncio.wait((answering,))
        if not answering.cancelled():
            answering.result()

    async def _answer(self, request: Request, body: Body, send: Send) -> None:
        form = self._read_form(request, body)
        writer = _Writer(request, send, form)
        try:
            timeout_s = _read_timeout(request)
            async with asyncio.timeout(timeout_s):
                calling = self._door.call(request, form.method, form.messages, form.codec, timeout_s)
                async with aclosing(calling) as answers:
                    async for answer in answers:
                        await writer.write(answer)
            await writer.end()
        except Refusal as refusal:
            await writer.refuse(refusal.status)
        except TimeoutError:
            late = DeadlineExceeded(f"the call did not end within {timeout_s:g} s, as {_TIMEOUT} asks")
            await writer.refuse(to_status(late))
        except Fc7Error as error:
            await writer.refuse(to_status(error))


class _Writer:
    """Writes the answers of one call: a stream as they come, anything else as a whole."""

    def __init__(self, request: Request, send: Send, form: Form) -> None:
        self._request, self._send, self._form = request, send, form
        self._answer, self._has_begun = b"", False

    async def write(self, answer: bytes) -> None:
        """Write one answer."""
        if not self._form.is_stream:
            self._answer = answer
            return
        await self._begin()
        await self._send({"type": "http.response.body", "body": answer + b"\n", "more_body": True})

    async def end(self) -> None:
        """End an answer that succeeded."""
        if self._form.is_stream:
            await self._begin()
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._respond(Response(self._answer, 200, self._headers(), self._form.content_type))

    async def refuse(self, status: status_pb2.Status) -> None:
        """End an answer that failed. A stream that has begun ends with a line that is the error."""
        if self._has_begun:
            line = json.dumps(self._form.write_error(status), ensure_ascii=False).encode() + b"\n"
            await self._send({"type": "http.response.body", "body": line})
        else:
            is_of_form = code_of(status) == "invalid_argument"  # not of the token, which is looked at earlier
            response = to_response(
                status, http_status=self._form.http_status if is_of_form else 0, write=self._form.write_error
            )
            response.headers.update(self._headers())
            await self._respond(response)

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            start = Response(None, 200, self._headers(), self._form.content_type)
            del start.headers["content-length"]
            await self._send({"type": "http.response.start", "status": 200, "headers": start.raw_headers})

    async def _respond(self, response: Response) -> None:
        await response(self._request.scope, self._request.receive, self._send)

    def _headers(self) -> dict[str, str]:
        context = getattr(self._request.state, "call", None)  # none, if the request was refused before the call
        return {REQUEST_ID: context.request_id} if context else {}


def read_kind(request: Request) -> str:
    """Return the content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_form(handlers: Mapping[str, Any], request: Request, body: Body) -> Form:
    """Return which call a request to ``/fc7.v1.SERVICE/METHOD`` is, and how it is written.

    If it is written in no known way, its first message is an error: the token is looked at before.
    """
    method = f"/fc7.v1.{request.path_params['service']}/{request.path_params['method']}"
    handler, kind = handlers.get(method), read_kind(request)
    if request.method != "POST":
        return refused(method, 405, f"call {method} with POST (got {request.method})", "method")
    if request.headers.get("content-encoding", "identity") != "identity":
        return refused(method, 415, "send the body as it is: compressed bodies are not read", "content-encoding")
    takes_stream = handler is not None and handler.request_streaming
    is_stream = handler is not None and handler.response_streaming
    read = {LINES: body.lines} if takes_stream else {"application/json": body.only}
    if not is_stream and not takes_stream:
        read["application/proto"] = body.only
    if handler is not None and not takes_stream and places_of(handler.request_deserializer.__self__.DESCRIPTOR):
        read |= {"image/*": body.only, FORM: body.only}
    known = "image/*" if kind.startswith("image/") else kind
    if known not in read:
        return refused(method, 415, f"Content-Type must be {' or '.join(read)} (got {kind[:64]!r})", "content-type")
    parameters = request.query_params.multi_items()
    if known in ("image/*", FORM):
        codec: Codec = PictureCodec(request.headers["content-type"], parameters)
    elif parameters:
        text = "the address has parameters, which only a picture or a form may have. Put them into the body"
        return refused(method, 400, text, parameters[0][0])
    else:
        codec = WIRE if kind == "application/proto" else JSON
    content_type = LINES if is_stream else kind if codec is WIRE else "application/json"
    return Form(method, codec, read[known](), content_type, is_stream)


def refused(method: str, http_status: int, text: str, name: str) -> Form:
    """Return the form of a request whose first message is an error."""

    async def messages() -> AsyncIterator[bytes]:
        raise InvalidArgument(text, name=name)
        yield

    return Form(method, JSON, messages(), http_status=http_status)


def _read_timeout(request: Request) -> float | None:
    """Return the seconds that the caller waits; None if the caller does not say it."""
    text = request.headers.get(_TIMEOUT)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise InvalidArgument(
            f"{_TIMEOUT} must be a whole number of milliseconds of at most 10 digits (got {text[:32]!r})", name=_TIMEOUT
        )
    return int(text) / 1000
