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
from uvicorn.protocols.http.h11_impl import H11Protocol

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Reason

_BACKLOG = 512
_HEAD_S = 10.0  # for the head of a request, as gRPC allows for its handshake
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
        chain, key, client_ca = tls or (None, None, None)
        self._config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the address of a caller is the one that the connection has
            server_header=False,
            ssl_certfile=chain,
            ssl_keyfile=key,
            ssl_ca_certs=str(client_ca) if client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if client_ca else ssl.CERT_NONE,
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
        scheme = "https" if self._config.is_ssl else "http"
        return f"{scheme}://{host}:{self._socket.getsockname()[1]}"

    def renew_certificate(self) -> None:
        """Read the certificate again; connections that begin from now on get it. The authority of clients stays."""
        if self._tls and self._config.ssl:
            self._config.ssl.load_cert_chain(*self._tls[:2])

    async def stop(self) -> None:
        """Take no new connections, let the running requests end, close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Protocol(H11Protocol):
    """Closes connections whose next request does not come: uvicorn waits for the rest of a request's head forever."""

    _ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read, and wait for the rest of a head, or of a body that nobody reads any more."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._ending is not None:
            self._ending.cancel()

    def _watch(self) -> None:
        is_waiting = self.cycle is None or self.cycle.response_complete
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
