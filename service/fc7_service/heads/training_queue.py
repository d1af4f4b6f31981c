"""One training at a time: each uses all cores that it may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fc7.errors import Reason, Unavailable
from fc7_service.heads.stop_check import StopCheck

T = TypeVar("T")


class TrainingQueue:
    """Runs trainings one after the other on a thread; a caller who leaves stops their own."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fc7-fit")
        self._is_closing = threading.Event()
        self.names: list[str] = []  # of the heads that are trained or wait, in turn

    async def run(self, name: str, train: Callable[[StopCheck], T]) -> T:
        """Return what ``train`` returns, after the trainings before it have ended.

        Parameters
        ----------
        name
            The head, for the error.
        train
            Gets the function that it must call between its steps.

        Raises
        ------
        Unavailable
            ``close`` was called before the end.
        """
        has_left = threading.Event()

        def check_stop() -> None:
            if has_left.is_set() or self._is_closing.is_set():
                raise Unavailable(
                    f"the training of head {name!r} was stopped and nothing was stored: send the call again",
                    name=name,
                    reason=Reason.SERVER_STOPPING,
                )

        def work() -> T:
            check_stop()
            return train(check_stop)

        # Callers wait for the lock, not in the thread's own queue, which would keep the rows of those who left.
        self.names.append(name)
        try:
            async with self._turn:
                check_stop()
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            has_left.set()
            self.names.remove(name)

    def close(self) -> None:
        """Stop the training that is running, and wait until it has ended."""
        self._is_closing.set()
        self._thread.shutdown()
