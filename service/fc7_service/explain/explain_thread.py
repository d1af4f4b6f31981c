"""The one thread that runs all explanations, with a low priority and a short queue."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol, TypeVar

from fc7.contract.timing import Timing
from fc7.errors import Reason, ResourceExhausted, Unavailable

T = TypeVar("T")

MAX_CALLS = 16  # running or waiting
_RETRY_AFTER_S = 1.0
_NICE = 15  # while features are extracted, explanations then get 0.03 of a core


class Stopwatch:
    """Adds up where the time of one call goes."""

    def __init__(self, *, is_bulk: bool = False) -> None:
        self.timing, self.is_bulk = Timing(), is_bulk

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Count the time inside the block as decoding rather than computing."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.timing += Timing(decode_s=seconds, compute_s=-seconds)


class TakeTurn(Protocol):
    """Waits for a turn, and holds it inside the block."""

    def __call__(self, *, is_bulk: bool) -> AbstractAsyncContextManager[None]:
        """Return the block."""
        ...


class CallerLeftError(Exception):
    """The caller of a job no longer waits for it."""


class ExplainThread:
    """Runs jobs one after the other.

    A call holds a place until it ends. A long call consists of many jobs, so that other calls get their turn.

    Parameters
    ----------
    turn
        Waits for the turn of a job, among everything that the server does, and holds it. Takes whether it is bulk.
    """

    def __init__(self, turn: TakeTurn) -> None:
        self._turn = turn
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fc7-explain", initializer=_give_way)
        self._n_calls = 0
        self._is_left = threading.Event()  # set if the caller of the running job no longer waits
        self._is_closed = False

    @contextmanager
    def hold_place(self, limit: int = MAX_CALLS, *, is_bulk: bool = False) -> Iterator[Stopwatch]:
        """Hold a place for a call; yield its stopwatch.

        Parameters
        ----------
        limit
            Number of places. The call is refused if all are taken.
        is_bulk
            Whether the jobs of the call are bulk.

        Raises
        ------
        ResourceExhausted
            Too many calls are running. The error says when to try again.
        """
        if self._n_calls >= limit:
            raise ResourceExhausted(
                f"{self._n_calls} explanations are running or waiting already. Try again in {_RETRY_AFTER_S:g} s",
                name="image",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_calls += 1
        try:
            yield Stopwatch(is_bulk=is_bulk)
        finally:
            self._n_calls -= 1

    async def run(self, stopwatch: Stopwatch, function: Callable[[], T]) -> T:
        """Return what ``function`` returns; if the caller leaves before its turn, it is never called.

        If the caller leaves later, ``check`` ends it.

        Raises
        ------
        Unavailable
            The server is stopping.
        ResourceExhausted, DeadlineExceeded
            Its turn does not come in time.
        """
        asked, is_left = time.monotonic(), threading.Event()

        def job() -> T:
            self._is_left = is_left
            taken = time.monotonic()
            stopwatch.timing += Timing(queue_s=taken - asked)
            try:
                return function()
            finally:
                stopwatch.timing += Timing(compute_s=time.monotonic() - taken)

        if self._is_closed:
            raise Unavailable("the server is stopping. Send the call again", reason=Reason.SERVER_STOPPING)
        try:
            async with self._turn(is_bulk=stopwatch.is_bulk):
                return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        finally:
            is_left.set()

    def check(self) -> None:
        """End the running job if its caller has left; the job calls this before each of its steps.

        Raises
        ------
        CallerLeftError
            The caller has left. No caller sees this error.
        """
        if self._is_left.is_set():
            raise CallerLeftError

    def close(self) -> None:
        """Let the running job end, and drop those that wait."""
        self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _give_way() -> None:
    """Lower this thread's priority; on Linux, the threads of the sessions that it opens inherit it."""
    if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, min(19, os.getpriority(os.PRIO_PROCESS, me) + _NICE))
