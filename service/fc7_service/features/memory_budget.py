"""Memory for decoding: a few large pictures at once must not fill it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """Bytes handed out in the order asked for; for one event loop.

    Parameters
    ----------
    n_bytes
        In all. Whoever wants more goes alone.
    """

    def __init__(self, n_bytes: int) -> None:
        self._free = self._all = n_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, n_bytes: int) -> AsyncIterator[None]:
        """Wait for so many bytes; give them back at the end of the block."""
        wanted = min(n_bytes, self._all)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        self._hand_out()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._free += wanted
            self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():  # else its caller has left
                self._free -= wanted
                turn.set_result(None)
