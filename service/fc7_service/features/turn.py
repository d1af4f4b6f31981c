"""A turn in the scheduler's queue for work that is not decoding: whoever holds it runs the work elsewhere."""

from __future__ import annotations

import asyncio
import contextlib


class Turn:
    """Takes the place of an image in the queue. Made on the event loop that waits for ``future``.

    The future ends when the turn has come, or with the error of a refusal.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for the turn any more."""
        return self.future.done()

    def open(self) -> int:
        """Return the bytes of memory that decoding takes: next to none."""
        return 1

    def decode(self) -> None:
        """Do nothing."""

    def hand_over(self) -> None:
        """Tell whoever waits that the turn has come."""
        self._settle(None)

    def fail(self, error: Exception) -> None:
        """Hand an error to whoever waits."""
        self._settle(error)

    def _settle(self, error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)
