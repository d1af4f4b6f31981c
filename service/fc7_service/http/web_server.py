"""uvicorn on the event loop of the gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Reason

_BACKLOG = 512
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
        Files of the certificate chain and of the key; None for plain HTTP.
    n_connections
        How many may be open; further ones are answered with 503.
    drain_s
        How long requests may still run once the server stops.
    """

    def __init__(
        self, app: ASGIApp, address: str, *, tls: tuple[Path, Path] | None, n_connections: int, drain_s: float
    ) -> None:
        self._address = address
        cert, key = tls or (None, None)
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the address of a caller is the one that the connection has
            server_header=False,
            ssl_certfile=cert,
            ssl_keyfile=key,
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

    async def stop(self) -> None:
        """Take no new connections, let the running requests end, close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are for the whole process."""
        yield
