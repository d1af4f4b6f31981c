"""What stands in front of every route: which hosts and origins may ask, the headers of every answer, and the log.

A page of another site can send requests to a server on this machine. It can read the answers if its name is made to
point here (DNS rebinding). So only known names are answered, and requests that say another origin are refused.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fc7.errors import PermissionDenied
from fc7_service.http.refusals import to_response
from fc7_service.rpc.log import Log
from fc7_service.rpc.status import to_status

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST_SHOWN = 256  # characters of what a caller chose


class Gate:
    """Refuses requests for unknown hosts and from other origins, adds headers, and logs what no call has logged.

    Parameters
    ----------
    app
        The application behind it.
    hosts
        Names of this server, beside ``localhost`` and every IP address.
    origins
        Other origins that may ask, for example "https://photos.example.org".
    log
        Called once per request that was no call; None for no log.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str], log: Log | None) -> None:
        self._app, self._log = app, log
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # the application begins or ends
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope.setdefault("state", {})
        try:
            self._check(Headers(scope=scope))
        except PermissionDenied as error:
            await to_response(to_status(error))(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)
        if self._log and "call" not in scope["state"]:
            self._write(scope, status, time.monotonic() - start)

    def _check(self, headers: Headers) -> None:
        """Refuse a request for another host or from another origin."""
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        if name not in self._hosts and not _is_ip(name):
            raise PermissionDenied(
                f"{name[:_LONGEST_SHOWN]!r} is not a name of this server. Name it with --http-host", name="host"
            )
        if origin and origin.partition("://")[2] != host and origin not in self._origins:
            raise PermissionDenied(
                f"pages of {origin[:_LONGEST_SHOWN]!r} may not call this server. Name the origin with --http-origin",
                name="origin",
            )

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        assert self._log is not None  # the caller has looked
        client: Any = scope.get("client") or ("", "")
        self._log(
            "request",
            method=f"{scope['method']} {scope['path'][:_LONGEST_SHOWN]}",
            status=status,
            ms=round(seconds * 1000, 2),
            peer=f"{client[0]}:{client[1]}",
        )


def _is_ip(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
