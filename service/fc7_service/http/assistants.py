"""`/mcp`: the tools for assistants, where the extra `mcp` is installed. They are loaded with the first request."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fc7.v1 import MAX_MESSAGE_BYTES
from fc7_service.http.door import Door

_ANY_CALL = "/fc7.v1.ModelService/ListModels"  # that every token may make


class Assistants:
    """Answers assistants. Their tools call this server over its private address, with the token of the request.

    Parameters
    ----------
    door
        Knows the token of a request.
    find_address
        Returns the private address of this server.
    """

    def __init__(self, door: Door, find_address: Callable[[], str]) -> None:
        self._door, self._find_address = door, find_address
        self._app: ASGIApp | None = None
        self._loading, self._has_ended = asyncio.Lock(), asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Return the route, if the extra is installed."""
        return [Route("/mcp", self)] if importlib.util.find_spec("mcp") else []

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """End what answers assistants together with the application."""
        yield
        self._has_ended.set()
        if self._running is not None:
            await self._running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._door.check(Request(scope), _ANY_CALL)
        async with self._loading:
            if self._app is None:
                await self._load()
        assert self._app is not None  # it was loaded
        await self._app(scope, receive, send)

    async def _load(self) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
        from mcp.server.transport_security import TransportSecuritySettings

        server = await asyncio.to_thread(self._make_server)
        manager = StreamableHTTPSessionManager(
            app=server._lowlevel_server,
            json_response=True,
            stateless=True,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate does it
            max_request_body_size=MAX_MESSAGE_BYTES,
        )
        has_begun = asyncio.Event()

        async def run() -> None:
            async with manager.run():
                has_begun.set()
                await self._has_ended.wait()

        self._running = asyncio.create_task(run())
        await has_begun.wait()
        self._app = StreamableHTTPASGIApp(manager)

    def _make_server(self) -> Any:
        from fc7._session import Session
        from fc7.assistants import make_server
        from fc7.client import Client
        from fc7.endpoint import Endpoint

        def open_client(headers: Mapping[str, str] | None) -> Client:
            sent = (headers or {}).get("authorization", "")
            return Client(Session(Endpoint(self._find_address(), sent.removeprefix("Bearer ")), None))

        return make_server(open_client, reads_files=False)
