"""The two ways to run an operation: waiting in this thread, or awaiting on this event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import grpc

from fc7._calls.admin import CHECK, SERVING
from fc7._calls.step import Call, Emit, Next, Open, Operation, Step, Work
from fc7._progress import Line, Progress, Stream
from fc7.channel import SENT_ONCE, Target
from fc7.errors import FailedPrecondition, Fc7Error, Unavailable
from fc7.local import LocalServer
from fc7.status import read_rpc_error

T = TypeVar("T")

_STREAMS = 64  # at once, of one asynchronous client
REQUEST_TIMEOUT_S = 300.0  # 64 large images on one slow core take a minute
_ONCE = {method for methods in SENT_ONCE.values() for method in methods}


class Session:
    """Runs operations in the calling thread.

    Parameters
    ----------
    target
        The server.
    timeout_s
        Seconds for each request; None for `REQUEST_TIMEOUT_S`.
    local
        Where the server is that of a data folder: reached again when it ended.
    """

    def __init__(self, target: Target, timeout_s: float | None, local: LocalServer | None = None) -> None:
        self._timeout_s = REQUEST_TIMEOUT_S if timeout_s is None else timeout_s
        self._local = local
        self._lock = threading.Lock()
        self._is_closed = False
        self._line = Line(target, target.open())

    def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end; ``timeout_s`` is for all its requests together."""
        progress = Progress(operation, timeout_s)
        for _ in self._emitted(progress):
            pass
        return progress.value

    def iterate(self, operation: Operation[None]) -> Iterator[Any]:
        """Yield what an operation emits."""
        return self._emitted(Progress(operation, None))

    def close(self) -> None:
        """Close the channel; stop the server if it is ours."""
        self._is_closed = True
        self._line.channel.close()
        if self._local is not None:
            self._local.stop()

    def _emitted(self, progress: Progress[Any]) -> Iterator[Any]:
        with closing(progress):
            while (step := progress.step()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    progress.answer = self._perform(step, progress)
                except Fc7Error as error:
                    progress.error = error

    def _perform(self, step: Step, progress: Progress[Any]) -> Any:
        match step:
            case Call():
                return self._call(step, progress)
            case Open():
                return self._open(step, progress)
            case Next(stream):
                return stream.read()
            case Work(function):
                return function()

    def _call(self, call: Call, progress: Progress[Any]) -> Any:
        line = self._checked_line()
        if call.method in _ONCE:
            if self._local is not None and not self._local.is_ours:
                self._see_that_it_serves(line, progress)
            return self._send(self._checked_line(), call, progress)
        try:
            return self._send(line, call, progress)
        except Unavailable:
            if not self._reach_again(line):
                raise
        return self._send(self._line, call, progress)

    def _send(self, line: Line, call: Call, progress: Progress[Any]) -> Any:
        timeout_s = progress.time_left(self._timeout_s)
        try:
            return line.method(call)(call.request, timeout=timeout_s, metadata=line.target.metadata)
        except grpc.RpcError as error:
            raise read_rpc_error(error, line.target.address) from None
        except BaseException:  # Ctrl-C: the server need not go on
            self._abandon(line)
            raise

    def _abandon(self, line: Line) -> None:
        """Close a channel: nothing else ends a call whose waiting was interrupted. The next call opens another."""
        with self._lock:
            if self._line is line and not self._is_closed:
                self._line = Line(line.target, line.target.open())
        line.channel.close()

    def _open(self, step: Open, progress: Progress[Any]) -> Stream:
        if self._local is not None and not self._local.is_ours:
            self._see_that_it_serves(self._checked_line(), progress)
        return progress.open(self._checked_line(), step)

    def _see_that_it_serves(self, line: Line, progress: Progress[Any]) -> None:
        """Leave a holder that is ending, before what cannot be sent again."""
        if self._call(CHECK, progress).status != SERVING:
            self._reach_again(line)

    def _checked_line(self) -> Line:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")
        return self._line

    def _reach_again(self, failed: Line) -> bool:
        """Return whether there is another server to try: the holder of the data folder ended, ours takes over."""
        with self._lock:
            if self._line is not failed:  # another thread was here first
                return True
            if self._local is None or self._local.is_ours or self._is_closed:
                return False
            target = self._local.reach()
            failed.channel.close()
            self._line = Line(target, target.open())
            return True


class AsyncSession:
    """Runs operations on the event loop that first uses it; parameters as `Session`."""

    def __init__(self, target: Target, timeout_s: float | None) -> None:
        self._timeout_s = REQUEST_TIMEOUT_S if timeout_s is None else timeout_s
        self._target = target
        self._is_closed = False
        self._line: Line | None = None  # made in the loop that it belongs to
        self._streams: Line | None = None
        self._threads = ThreadPoolExecutor(_STREAMS, "fc7-stream")  # one waits for each stream

    async def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end; ``timeout_s`` is for all its requests together."""
        progress = Progress(operation, timeout_s)
        async for _ in self._emitted(progress):
            pass
        return progress.value

    def iterate(self, operation: Operation[None]) -> AsyncIterator[Any]:
        """Yield what an operation emits."""
        return self._emitted(Progress(operation, None))

    async def close(self) -> None:
        """Close the channel."""
        self._is_closed = True
        if self._line is not None:
            await self._line.channel.close()
        if self._streams is not None:
            self._streams.channel.close()
        self._threads.shutdown(wait=False)

    async def _emitted(self, progress: Progress[Any]) -> AsyncIterator[Any]:
        with closing(progress):
            while (step := progress.step()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    progress.answer = await self._perform(step, progress)
                except Fc7Error as error:
                    progress.error = error

    async def _perform(self, step: Step, progress: Progress[Any]) -> Any:
        match step:
            case Call():
                return await self._call(step, progress)
            case Open():
                return progress.open(self._waiting_line(), step)
            case Next(stream):
                return await asyncio.get_running_loop().run_in_executor(self._threads, stream.read)
            case Work(function):
                return await asyncio.to_thread(function)

    async def _call(self, call: Call, progress: Progress[Any]) -> Any:
        line, timeout_s = self._checked_line(), progress.time_left(self._timeout_s)
        try:
            return await line.method(call)(call.request, timeout=timeout_s, metadata=line.target.metadata)
        except grpc.aio.AioRpcError as error:
            raise read_rpc_error(error, line.target.address) from None
        except asyncio.CancelledError:
            if self._is_closed:  # not this task was cancelled, but the call
                raise Unavailable("the client was closed during the call") from None
            raise

    def _waiting_line(self) -> Line:
        """Return a line for streams: grpc.aio loses the status of one that ends early (grpc issue 36066)."""
        self._checked_line()
        if self._streams is None:
            self._streams = Line(self._target, self._target.open())
        return self._streams

    def _checked_line(self) -> Line:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")
        if self._line is None:
            self._line = Line(self._target, self._target.open_aio())
        return self._line
