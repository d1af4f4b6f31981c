"""uvicorn on the event loop of the gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Reason

_BACKLOG = 512
_HEAD_S = 10.0  # for the head of a request, as gRPC allows for its handshake
_HEAD_BYTES = 64 * 2**10
_KEEP_ALIVE_S = 60  # an idle connection is kept for the next call


class WebServer:
    """Serves one application.

    Parameters
    ----------
    app
        The application.
    address
        HOST:PORT; port 0 takes a free one.
    tls
        Files of the certificate chain, of its key, and of the authority of clients, if they need a certificate; None
        for plain HTTP.
    n_connections
        How many may be open; further ones are answered with 503.
    drain_s
        How long requests may still run once the server stops.
    """

    def __init__(
        self,
        app: ASGIApp,
        address: str,
        *,
        tls: tuple[Path, Path, Path | None] | None,
        n_connections: int,
        drain_s: float,
    ) -> None:
        self._address = address
        self._tls = tls
        self._config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the address of a caller is the one that the connection has
            server_header=False,
            limit_concurrency=n_connections,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
        self._server = _Server(self._config)
        self._serving: asyncio.Future[None] | None = None  # None before it listens

    def start(self) -> str:
        """Listen; return the URL.

        Raises
        ------
        FailedPrecondition
            The port is in use, the address is not this machine's, or the certificate is unreadable.
        """
        host, port = split_address(self._address, "http")
        try:
            self._config.load()
            self._config.ssl = self._begin_tls()
            kind = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            self._socket = socket.create_server((host.strip("[]"), port), family=kind, backlog=_BACKLOG)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot serve HTTP on {self._address}: the port is in use, the address is not this machine's, or the "
                "certificate is unreadable. Choose another address with --http",
                name="http",
                reason=Reason.CANNOT_LISTEN,
            ) from error
        self._serving = asyncio.ensure_future(self._server.serve([self._socket]))
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host}:{self._socket.getsockname()[1]}"

    def renew_certificate(self) -> None:
        """Read the certificate and the authority of clients again, for connections that begin from now on."""
        if self._tls:
            self._newest = _make_context(*self._tls)

    def _begin_tls(self) -> ssl.SSLContext | None:
        """Return the context of all handshakes, each of which takes the newest certificates."""
        if self._tls is None:
            return None
        self._newest = _make_context(*self._tls)

        def take_newest(handshake: Any, name: str | None, context: ssl.SSLContext) -> None:
            handshake.context = self._newest

        begun = _make_context(*self._tls)
        begun.sni_callback = take_newest  # called in every handshake, with or without a name
        return begun

    async def stop(self) -> None:
        """Take no new connections, let the running requests end, close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


def _make_context(chain: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


class _Protocol(HttpToolsProtocol):
    """Closes connections whose next request does not come: uvicorn waits for the rest of a request's head forever.

    It also reads heads of any size. They may have so many bytes here.
    """

    _ending: asyncio.TimerHandle | None = None
    _n_head = 0  # bytes of a head that has not ended
    _is_in_head = False

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read, and wait for the rest of a head, or of a body that nobody reads any more."""
        super().data_received(data)
        self._n_head = self._n_head + len(data) if self._is_waiting() else 0
        if self._n_head > _HEAD_BYTES:
            self.transport.close()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._ending is not None:
            self._ending.cancel()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Note that it has ended."""
        super().on_headers_complete()
        self._is_in_head = False

    def on_response_complete(self) -> None:
        """Wait for the rest of a head that came together with the request before it."""
        super().on_response_complete()
        if self._is_in_head:
            self._watch()

    def _is_waiting(self) -> bool:
        """Return whether the next request has not begun, as far as its head is read."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        is_waiting = self._is_waiting()
        if not is_waiting and self._ending is not None:
            self._ending.cancel()
            self._ending = None
        elif is_waiting and self._ending is None:
            self._ending = self.loop.call_later(_HEAD_S, self.transport.close)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are for the whole process."""
        yield
