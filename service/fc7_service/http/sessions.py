"""The session of a browser: a token typed in once, then a cookie that scripts cannot read.

The cookie holds a random word, not the token: cookies also go to the other ports of a host.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fc7.errors import DeadlineExceeded, InvalidArgument, Reason
from fc7_service.http.body import Body
from fc7_service.http.json_messages import parse_json
from fc7_service.tokens import Tokens

_IDLE_S = 12 * 3600.0  # after which a session ends
_MOST = 1000  # sessions; the one that was idle longest makes room
_LONGEST_BODY = 4096  # bytes; it comes from callers who are not known yet
_ARRIVAL_S = 10.0


class Sessions:
    """The sessions of one server, in memory: they end with it.

    Parameters
    ----------
    tokens
        Who may do what.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._open: dict[str, tuple[str, float]] = {}  # word -> authorization, last use; the longest idle one first

    def authorization(self, connection: HTTPConnection) -> str:
        """Return "Bearer TOKEN" of a request, from its header or else its session; empty if it has neither."""
        if header := connection.headers.get("authorization"):
            return header
        word = connection.cookies.get(cookie_name(connection), "")
        found, used = self._open.pop(word, ("", 0.0))
        if not found or time.monotonic() - used > _IDLE_S:
            return ""
        self._open[word] = (found, time.monotonic())
        return found

    def routes(self) -> list[Route]:
        """Return the routes that open, describe and end a session."""
        return [Route("/session", self._answer, methods=["GET", "POST", "DELETE"])]

    async def _answer(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._begin(request)
        if request.method == "DELETE":
            self._open.pop(request.cookies.get(cookie_name(request), ""), None)
            response = Response(status_code=204)
            response.delete_cookie(cookie_name(request), httponly=True, samesite="strict")
            return response
        authorization = self.authorization(request)
        scope = self.tokens.scope_of(authorization) if authorization or not self.tokens.are_asked_for else ""
        return JSONResponse({"needsToken": self.tokens.are_asked_for, "scope": scope}, headers=_NOT_KEPT)

    async def _begin(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(_ARRIVAL_S):
                values = parse_json(await Body(request.receive, _LONGEST_BODY).whole())
        except TimeoutError:
            raise DeadlineExceeded("the token did not come in time", reason=Reason.ARRIVAL_TOO_SLOW) from None
        token: Any = values.get("token") if isinstance(values, dict) else None
        if not isinstance(token, str):
            raise InvalidArgument('send a JSON object with the token: {"token": "..."}', name="token")
        authorization = f"Bearer {token}"
        self.tokens.check(_ANY_CALL, authorization)
        word = secrets.token_urlsafe(32)
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        self._open[word] = (authorization, time.monotonic())
        response = Response(status_code=204, headers=_NOT_KEPT)
        is_secure = request.url.scheme == "https"
        response.set_cookie(cookie_name(request), word, httponly=True, samesite="strict", secure=is_secure)
        return response


_ANY_CALL = "/fc7.v1.ModelService/ListModels"  # that every token may make
_NOT_KEPT = {"Cache-Control": "no-store"}


def cookie_name(connection: HTTPConnection) -> str:
    """Return the name of the cookie, which differs from that of a server on another port."""
    return f"fc7_session_{(connection.scope.get('server') or ('', ''))[1]}"
