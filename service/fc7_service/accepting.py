"""A gRPC server that accepts several calls at once.

grpc.aio asks its core for one call, waits for it over two threads, and only then asks for the next one. While the cores
are busy, each such turn takes milliseconds. Calls then queue up where nobody can refuse them, until it is too late
(`python bench/serving.py overload`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # grpc's types leave it out

_AT_ONCE = 64  # calls that are asked for


class _EagerServer(cygrpc.AioServer):  # type: ignore[misc]  # grpc ships no types
    """Keeps several calls asked for. The server's own loop handles them one after the other, as before."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked = deque[Any]()

    def _make_request_call_future(self, method: bytes | None) -> Any:
        """Return the future of the next call of any registered method, or of one that is not registered (None)."""
        if method is not None:
            return super()._make_request_call_future(method)
        while len(self._asked) < _AT_ONCE:
            asked = super()._make_request_call_future(None)
            asked.add_done_callback(_retrieve)
            self._asked.append(asked)
        return self._asked.popleft()  # they are served in the order asked


def _retrieve(asked: Any) -> None:
    """Look at the error with which the end of the server answers, so that asyncio does not print it."""
    if not asked.cancelled():
        asked.exception()


def make_server(**options: Any) -> grpc.aio.Server:
    """Return a gRPC server; options as those of ``grpc.aio.server``.

    How a server asks for calls is no part of gRPC's interface. A version that does it in another way gets no change.
    """
    plain = cygrpc.AioServer
    if not hasattr(plain, "_make_request_call_future"):
        return grpc.aio.server(**options)
    cygrpc.AioServer = _EagerServer  # which the next line looks up
    try:
        return grpc.aio.server(**options)
    finally:
        cygrpc.AioServer = plain
