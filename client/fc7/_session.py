"""The two ways to run an operation: waiting in this thread, or awaiting on this event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any, TypeVar

import grpc

from fc7._calls.admin import CHECK, SERVING
from fc7._calls.step import Call, Emit, Next, Open, Operation, Step, Work
from fc7._progress import ONCE, Line, Patience, Progress, Stream
from fc7.channel import Target
from fc7.errors import FailedPrecondition, Fc7Error, Unavailable
from fc7.local import LocalServer
from fc7.status import read_rpc_error

T = TypeVar("T")

_STREAMS = 64  # at once, of one asynchronous client
_BATCHES = 4  # of long lists, at once, of one asynchronous client: more would only fill the server's queue


class Session:
    """Runs operations in the calling thread.

    Parameters
    ----------
    target
        The server.
    timeout_s
        Seconds for each operation that is run without a limit of its own; None for no limit.
    local
        Where the server is that of a data folder: reached again when it ended.
    """

    def __init__(self, target: Target, timeout_s: float | None, local: LocalServer | None = None) -> None:
        self._timeout_s = timeout_s
        self._local = local
        self._lock = threading.Lock()  # around the lines
        self._reaching = threading.Lock()
        self._is_closed = False
        self._line = Line(target, target.open())
        self._streams: Line | None = None  # of their own: an interrupted call may have to close its channel

    @property
    def target(self) -> Target:
        """The server that is asked now."""
        return self._line.target

    def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end; ``timeout_s`` is for all of it, None for the client's default."""
        progress = Progress(operation, self._timeout_s if timeout_s is None else timeout_s)
        for _ in self._emitted(progress):
            pass
        return progress.value

    def iterate(self, operation: Operation[None], timeout_s: float | None = None) -> Generator[Any, None, None]:
        """Yield what an operation emits; the time runs from here on."""
        return self._emitted(Progress(operation, self._timeout_s if timeout_s is None else timeout_s))

    def close(self) -> None:
        """Close the channels; stop the server if it is ours, also one that another thread is starting just now."""
        with self._lock:
            self._is_closed = True
            self._close_lines()
        if self._local is not None:
            self._local.stop()

    def reach_again(self, failed: Target) -> bool:
        """Return whether there is another server to try: the holder of the data folder ended, ours takes over."""
        if self._local is None:
            return False
        with self._reaching:
            if self._line.target is not failed:  # another thread was here first
                return True
            if self._local.is_ours or self._is_closed:
                return False
            target = self._local.reach()
            with self._lock:
                self._check_open()
                self._close_lines()
                self._line, self._streams = Line(target, target.open()), None
            return True

    def _has_moved(self, failed: Line) -> bool:
        """Return whether to ask again: on another channel, or at another server."""
        return self._line is not failed or self.reach_again(failed.target)

    def _close_lines(self) -> None:
        self._line.channel.close()
        if self._streams is not None:
            self._streams.channel.close()

    def _emitted(self, progress: Progress[Any]) -> Generator[Any, None, None]:
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
                return progress.work(function)

    def _call(self, call: Call, progress: Progress[Any]) -> Any:
        patience = progress.patience(call)
        if call.method in ONCE and self._local is not None and not self._local.is_ours:
            self._see_that_it_serves(progress)
        while True:
            line = self._checked_line()
            try:
                return self._send(line, call, patience)
            except Fc7Error as error:
                if isinstance(error, Unavailable) and call.method not in ONCE and self._has_moved(line):
                    continue
                pause_s = patience.pause_s(error, line)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _send(self, line: Line, call: Call, patience: Patience) -> Any:
        timeout_s = patience.time_left()
        try:
            answer = line.method(call)(call.request, timeout=timeout_s, metadata=line.target.metadata)
        except grpc.RpcError as error:
            raise read_rpc_error(error, line.target.address) from None
        except ValueError:  # gRPC's word for a channel that is closed
            if line is self._line and not self._is_closed:
                raise
            raise Unavailable("the client was closed during the call") from None
        except BaseException:  # Ctrl-C: the server need not go on
            self._abandon(line)
            raise
        line.has_answered = True
        return answer

    def _abandon(self, line: Line) -> None:
        """Close a channel: nothing else ends a call whose waiting was interrupted.

        Calls of other threads on it are sent again on the next one; streams have a channel of their own.
        """
        with self._lock:
            if self._line is line and not self._is_closed:
                self._line = Line(line.target, line.target.open())
        line.channel.close()

    def _open(self, step: Open, progress: Progress[Any]) -> Stream:
        if self._local is not None and not self._local.is_ours:
            self._see_that_it_serves(progress)
        with self._lock:
            self._check_open()
            if self._streams is None:
                self._streams = Line(self._line.target, self._line.target.open())
            return progress.open(self._streams, step)

    def _see_that_it_serves(self, progress: Progress[Any]) -> None:
        """Leave a holder that is ending, before what cannot be sent again."""
        if self._call(CHECK, progress).status != SERVING:
            self.reach_again(self.target)

    def _checked_line(self) -> Line:
        self._check_open()
        return self._line

    def _check_open(self) -> None:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")


class AsyncSession:
    """Runs operations on the event loop that first uses it.

    Parameters
    ----------
    reach
        Returns the server's address, or where the server is that of a data folder a session that reaches it;
        called once, in another thread.
    timeout_s
        As `Session` takes it.
    """

    def __init__(self, reach: Callable[[], Target | Session], timeout_s: float | None) -> None:
        self._reach, self._timeout_s = reach, timeout_s
        self._reached: asyncio.Future[Target | Session] | None = None
        self._local: Session | None = None
        self._is_closed = False
        self._line: Line | None = None  # made in the loop that it belongs to
        self._streams: Line | None = None
        self._reaching = asyncio.Lock()
        self._batches = asyncio.Semaphore(_BATCHES)
        self._threads = ThreadPoolExecutor(_STREAMS, "fc7-stream")  # one waits for each stream

    async def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end; ``timeout_s`` is for all of it, None for the client's default."""
        progress = Progress(operation, self._timeout_s if timeout_s is None else timeout_s)
        async for _ in self._emitted(progress):
            pass
        return progress.value

    def iterate(self, operation: Operation[None], timeout_s: float | None = None) -> AsyncGenerator[Any, None]:
        """Yield what an operation emits; the time runs from here on."""
        return self._emitted(Progress(operation, self._timeout_s if timeout_s is None else timeout_s))

    async def connect(self) -> Line:
        """Return the line to the server; the first time, reach it."""
        if self._line is not None and not self._is_closed:
            return self._line
        async with self._reaching:
            self._check_open()
            if self._line is None:
                reached = await self._reach_once()
                self._check_open()
                await self._open_line(reached.target if isinstance(reached, Session) else reached)
            assert self._line is not None
            return self._line

    async def close(self) -> None:
        """Close the channels; stop the server if it is ours."""
        self._is_closed = True
        await self._close_lines()
        self._threads.shutdown(wait=False)
        async with self._reaching:
            if self._reached is not None:  # a server that is being started is stopped too
                await asyncio.wait((self._reached,))
                if self._reached.exception() is None and isinstance(local := self._reached.result(), Session):
                    await asyncio.to_thread(local.close)

    async def _reach_once(self) -> Target | Session:
        """Reach the server; what a task began that was cancelled meanwhile goes on, and is taken over here."""
        if self._reached is None or (self._reached.done() and self._reached.exception() is not None):
            self._reached = asyncio.get_running_loop().run_in_executor(None, self._reach)
        reached = await asyncio.shield(self._reached)
        self._local = reached if isinstance(reached, Session) else None
        return reached

    async def _open_line(self, target: Target) -> None:
        await self._close_lines()
        self._line, self._streams = Line(target, target.open_aio()), None

    async def _close_lines(self) -> None:
        if self._line is not None:
            await self._line.channel.close()
        if self._streams is not None:
            self._streams.channel.close()

    async def _emitted(self, progress: Progress[Any]) -> AsyncGenerator[Any, None]:
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
                async with self._place(step, progress):
                    return await self._call(step, progress)
            case Open():
                return await self._open(step, progress)
            case Next(stream):
                self._check_open()
                return await asyncio.get_running_loop().run_in_executor(self._threads, stream.read)
            case Work(function):
                return await asyncio.to_thread(progress.work, function)

    @asynccontextmanager
    async def _place(self, call: Call, progress: Progress[Any]) -> AsyncIterator[None]:
        """Wait until few batches are under way: hundreds would hold their pictures in memory, and be refused."""
        if not call.is_bulk:
            yield
            return
        try:
            await asyncio.wait_for(self._batches.acquire(), progress.time_left(None))
        except TimeoutError:
            raise progress.time_is_over() from None
        try:
            yield
        finally:
            self._batches.release()

    async def _call(self, call: Call, progress: Progress[Any]) -> Any:
        patience = progress.patience(call)
        if call.method in ONCE:
            await self._see_that_it_serves(progress)
        while True:
            line = await self.connect()
            try:
                return await self._send(line, call, patience)
            except Fc7Error as error:
                if isinstance(error, Unavailable) and call.method not in ONCE and await self._reach_again(line):
                    continue
                pause_s = patience.pause_s(error, line)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def _send(self, line: Line, call: Call, patience: Patience) -> Any:
        try:
            answer = await line.method(call)(call.request, timeout=patience.time_left(), metadata=line.target.metadata)
        except grpc.aio.AioRpcError as error:
            raise read_rpc_error(error, line.target.address) from None
        except (asyncio.CancelledError, grpc.aio.UsageError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("the client was closed during the call") from None
        line.has_answered = True
        return answer

    async def _open(self, step: Open, progress: Progress[Any]) -> Stream:
        """Begin a stream, on a channel that waits: grpc.aio loses a status that comes early (grpc issue 36066)."""
        await self._see_that_it_serves(progress)
        line = await self.connect()
        if self._streams is None:
            self._streams = Line(line.target, line.target.open())
        return progress.open(self._streams, step)

    async def _see_that_it_serves(self, progress: Progress[Any]) -> None:
        """Leave a holder that is ending, before what cannot be sent again."""
        line = await self.connect()
        if self._local is not None and (await self._call(CHECK, progress)).status != SERVING:
            await self._reach_again(line)

    async def _reach_again(self, failed: Line) -> bool:
        """Return whether there is another server to try, as `Session.reach_again`."""
        if self._local is None or self._is_closed:
            return False
        async with self._reaching:
            if self._line is not failed:
                return True
            if not await asyncio.to_thread(self._local.reach_again, failed.target):
                return False
            self._check_open()
            await self._open_line(self._local.target)
            return True

    def _check_open(self) -> None:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")
