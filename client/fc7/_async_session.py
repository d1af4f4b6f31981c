"""Runs the operations of the client that awaits, on the event loop that first uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any, TypeVar

import grpc

from fc7._connection import Connection, ResponseStream
from fc7._operations.admin import HEALTH_CHECK, SERVING
from fc7._operations.steps import Emit, OpenStream, Operation, ReadStream, RunBlocking, SendRequest, Step
from fc7._running import Retries, RunningOperation, is_sent_once
from fc7._session import Session
from fc7._tracing import Metadata, traced
from fc7.endpoint import Endpoint
from fc7.errors import FailedPrecondition, Fc7Error, Unavailable
from fc7.grpc_errors import read_rpc_error

T = TypeVar("T")

_MOST_STREAMS = 64  # open at once
_MOST_BATCHES = 4  # batches of long lists on their way at once; more would only fill the server's queue


class AsyncSession:
    """Runs operations on the event loop that first uses it.

    Parameters
    ----------
    reach
        Returns the endpoint of a remote server, or a session that has reached the server of a data folder. Called
        once, in another thread.
    timeout_s
        See `Session`.
    """

    def __init__(self, reach: Callable[[], Endpoint | Session], timeout_s: float | None) -> None:
        self._reach, self._timeout_s = reach, timeout_s
        self._reached: asyncio.Future[Endpoint | Session] | None = None
        self._local: Session | None = None
        self._is_closed = False
        self._connection: Connection | None = None  # made on the loop that it belongs to
        self._stream_connection: Connection | None = None
        self._reaching = asyncio.Lock()
        self._batches = asyncio.Semaphore(_MOST_BATCHES)
        self._threads = ThreadPoolExecutor(_MOST_STREAMS, "fc7-stream")  # one thread waits for each stream

    async def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end. ``timeout_s`` limits all of it; None takes the client's default."""
        running = RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s)
        async for _ in self._emitted(running):
            pass
        return running.value

    def iterate(self, operation: Operation[None], timeout_s: float | None = None) -> AsyncGenerator[Any, None]:
        """Yield what an operation emits. The time starts now."""
        return self._emitted(RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s))

    async def connect(self) -> Connection:
        """Return the connection to the server. The first call reaches the server."""
        if self._connection is not None and not self._is_closed:
            return self._connection
        async with self._reaching:
            self._check_open()
            if self._connection is None:
                reached = await self._reach_once()
                self._check_open()
                await self._open_connection(reached.endpoint if isinstance(reached, Session) else reached)
            assert self._connection is not None
            return self._connection

    async def close(self) -> None:
        """Close the connections. Stop the server if it is ours."""
        self._is_closed = True
        await self._close_connections()
        self._threads.shutdown(wait=False)
        async with self._reaching:
            if self._reached is not None:  # a server that is just being started is stopped too
                await asyncio.wait((self._reached,))
                if self._reached.exception() is None and isinstance(local := self._reached.result(), Session):
                    await asyncio.to_thread(local.close)

    async def _reach_once(self) -> Endpoint | Session:
        """Reach the server. If the task that began this was cancelled, continue its attempt."""
        if self._reached is None or (self._reached.done() and self._reached.exception() is not None):
            self._reached = asyncio.get_running_loop().run_in_executor(None, self._reach)
        reached = await asyncio.shield(self._reached)
        self._local = reached if isinstance(reached, Session) else None
        return reached

    async def _open_connection(self, endpoint: Endpoint) -> None:
        await self._close_connections()
        endpoint = await asyncio.to_thread(endpoint.resolved)
        self._connection, self._stream_connection = Connection(endpoint, endpoint.open_aio()), None

    async def _close_connections(self) -> None:
        if self._connection is not None:
            await self._connection.channel.close()
        if self._stream_connection is not None:
            self._stream_connection.channel.close()

    async def _emitted(self, running: RunningOperation[Any]) -> AsyncGenerator[Any, None]:
        with closing(running):
            while (step := running.step()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    running.answer = await self._perform(step, running)
                except Fc7Error as error:
                    running.error = error

    async def _perform(self, step: Step, running: RunningOperation[Any]) -> Any:
        match step:
            case SendRequest():
                async with self._bulk_turn(step, running):
                    return await self._call(step, running)
            case OpenStream():
                return await self._open(step, running)
            case ReadStream(stream):
                self._check_open()
                return await asyncio.get_running_loop().run_in_executor(self._threads, stream.read)
            case RunBlocking(function):
                return await asyncio.to_thread(running.run_blocking, function)

    @asynccontextmanager
    async def _bulk_turn(self, call: SendRequest, running: RunningOperation[Any]) -> AsyncIterator[None]:
        """Wait until few batches are on their way. Hundreds would fill the memory, and the server would refuse them."""
        if not call.is_bulk:
            yield
            return
        try:
            await asyncio.wait_for(self._batches.acquire(), running.time_left(None))
        except TimeoutError:
            raise running.time_is_over() from None
        try:
            yield
        finally:
            self._batches.release()

    async def _call(self, call: SendRequest, running: RunningOperation[Any]) -> Any:
        retries = running.retries(call)
        if is_sent_once(call):
            await self._leave_if_stopping(running)
        while True:
            connection = await self.connect()
            try:
                return await self._send(connection, call, retries)
            except Fc7Error as error:
                can_move = isinstance(error, Unavailable) and not is_sent_once(call)
                if can_move and await self._reach_again(connection):
                    continue
                pause_s = retries.pause_s(error, connection)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def _send(self, connection: Connection, call: SendRequest, retries: Retries) -> Any:
        timeout_s = retries.time_left()
        with traced(call, connection.endpoint) as metadata:
            return await self._send_traced(connection, call, timeout_s, metadata)

    async def _send_traced(
        self, connection: Connection, call: SendRequest, timeout_s: float, metadata: Metadata
    ) -> Any:
        try:
            answer = await connection.method(call)(call.request, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise read_rpc_error(error, connection.endpoint.address) from None
        except (asyncio.CancelledError, grpc.aio.UsageError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("the client was closed during the call") from None
        connection.has_answered = True
        return answer

    async def _open(self, step: OpenStream, running: RunningOperation[Any]) -> ResponseStream:
        """Begin a stream, on a synchronous channel: grpc.aio loses a status that comes early (grpc issue 36066)."""
        await self._leave_if_stopping(running)
        connection = await self.connect()
        if self._stream_connection is None:
            self._stream_connection = Connection(connection.endpoint, connection.endpoint.open())
        return running.open(self._stream_connection, step)

    async def _leave_if_stopping(self, running: RunningOperation[Any]) -> None:
        """Look for another server before a call that cannot be repeated, if another process's server is stopping."""
        connection = await self.connect()
        if self._local is not None and (await self._call(HEALTH_CHECK, running)).status != SERVING:
            await self._reach_again(connection)

    async def _reach_again(self, failed: Connection) -> bool:
        """Return whether another server can be asked. See `Session.reach_again`."""
        if self._local is None or self._is_closed:
            return False
        async with self._reaching:
            if self._connection is not failed:
                return True
            if not await asyncio.to_thread(self._local.reach_again, failed.endpoint):
                return False
            self._check_open()
            await self._open_connection(self._local.endpoint)
            return True

    def _check_open(self) -> None:
        if self._is_closed:
            raise FailedPrecondition("this client is closed. Make a new one")
