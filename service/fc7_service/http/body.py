"""The body of a request: read only once the caller is known, limited, and watched for a caller who leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fc7.errors import Reason, ResourceExhausted
from fc7.v1 import MAX_MESSAGE_BYTES


class Body:
    """The body of one request.

    Parameters
    ----------
    receive
        ASGI's callable. Nobody else may call it.
    limit_bytes
        Most bytes of one message.
    """

    def __init__(self, receive: Any, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._receive, self._limit_bytes = receive, limit_bytes
        self._has_ended = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come. If the caller leaves, the running task is cancelled."""
        is_more = True
        while is_more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                await _cancel_this_task()
            is_more = event.get("more_body", False)
            yield event["body"]
        self._has_ended.set()

    async def whole(self) -> bytes:
        """Return all bytes.

        Raises
        ------
        ResourceExhausted
            There are more than one message may have.
        """
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            self._check_size(len(data))
        return bytes(data)

    async def only(self) -> AsyncIterator[bytes]:
        """Yield all bytes as one message."""
        yield await self.whole()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines as they come, without empty ones.

        Raises
        ------
        ResourceExhausted
            A line has more bytes than one message may have.
        """
        rest = bytearray()
        async for chunk in self.chunks():
            *lines, last = chunk.split(b"\n")
            for line in lines:
                rest += line
                self._check_size(len(rest))
                if rest.strip():
                    yield bytes(rest)
                rest.clear()
            rest += last
            self._check_size(len(rest))
        if rest.strip():
            yield bytes(rest)

    def _check_size(self, n_bytes: int) -> None:
        """Refuse a message that is too large, as gRPC does."""
        if n_bytes > self._limit_bytes:
            raise ResourceExhausted(
                f"the body has more than {self._limit_bytes} bytes. Send less per request",
                name="body",
                reason=Reason.WORK_TOO_LARGE,
            )

    async def until_caller_leaves(self) -> None:
        """Wait, once the body was read, until the caller closes the connection."""
        await self._has_ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
