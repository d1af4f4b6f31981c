"""Calls about the server itself."""

from __future__ import annotations

from fc7._operations import admin
from fc7._session import Session
from fc7.results import ServerInfo


class ServerCalls:
    """Calls about the server itself."""

    _session: Session

    def server_info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's versions, device, limits and data folder.

        If the server uses tokens, this needs the scope admin.
        """
        return self._session.run(admin.get_server_info(), timeout_s)

    def check_ready(self, *, timeout_s: float = 5.0) -> None:
        """Raise an error if the server does not take calls; the error says why. Needs no token.

        Raises
        ------
        Unavailable
            The server cannot be reached, or is starting or stopping.
        DeadlineExceeded
            The server does not answer within ``timeout_s``.
        """
        self._session.run(admin.check_ready(), timeout_s)

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the server takes calls. Needs no token.

        False if it cannot be reached, is starting or stopping, or does not answer within ``timeout_s``.
        """
        return self._session.run(admin.check_health(), timeout_s)
