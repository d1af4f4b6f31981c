"""The one thread that explains: behind a short queue, and below the features in priority."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fc7.contract.timing import Timing
from fc7.errors import Reason, ResourceExhausted, Unavailable

T = TypeVar("T")

MAX_CALLS = 16  # under way or waiting
_RETRY_AFTER_S = 1.0
_NICE = 15  # beside a busy engine: three hundredths of a core


class Stopwatch:
    """Adds up where the time of one call goes."""

    def __init__(self) -> None:
        self.timing = Timing()

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Count what happens inside as decoding, not as the computation that it is a part of."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.timing += Timing(decode_s=seconds, compute_s=-seconds)


class CallerLeftError(Exception):
    """Whoever asked for a job waits no more."""


class ExplainThread:
    """Runs jobs one after the other.

    A call holds a place as long as it is under way; a long one is many jobs, so that others get their turn.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fc7-explain", initializer=_give_way)
        self._n_calls = 0
        self._is_left = threading.Event()  # of the job under way: its caller waits no more
        self._is_closed = False

    @contextmanager
    def hold_place(self, limit: int = MAX_CALLS) -> Iterator[Stopwatch]:
        """Hold a place for a call; yield its stopwatch.

        Parameters
        ----------
        limit
            Places that must not all be taken.

        Raises
        ------
        ResourceExhausted
            Too many calls are under way; says when to come back.
        """
        if self._n_calls >= limit:
            raise ResourceExhausted(
                f"{self._n_calls} explanations are under way or wait: retry after {_RETRY_AFTER_S:g} s",
                name="image",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_calls += 1
        try:
            yield Stopwatch()
        finally:
            self._n_calls -= 1

    async def run(self, stopwatch: Stopwatch, function: Callable[[], T]) -> T:
        """Return what ``function`` returns; where the caller leaves before its turn, it is never called.

        Where the caller leaves later, ``check`` ends it.

        Raises
        ------
        Unavailable
            The worker is closed.
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
            raise Unavailable("the server is stopping: send the call again", reason=Reason.SERVER_STOPPING)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        finally:
            is_left.set()

    def check(self) -> None:
        """End the job under way if its caller has left: the job calls this before each step of it.

        Raises
        ------
        CallerLeftError
            To nobody but the job.
        """
        if self._is_left.is_set():
            raise CallerLeftError

    def close(self) -> None:
        """Let the job under way end; drop those that wait."""
        self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _give_way() -> None:
    """Lower this thread's priority, which on Linux the threads of the sessions that it opens inherit."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, min(19, os.getpriority(os.PRIO_PROCESS, me) + _NICE))
