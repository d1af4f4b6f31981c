"""The two ways to run an operation: waiting in this thread, or awaiting on this event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from fc7._calls.admin import CHECK
from fc7._calls.step import Call, Emit, Next, Open, Operation, Step, Work
from fc7.channel import Target
from fc7.errors import DeadlineExceeded, FailedPrecondition, Fc7Error, Unavailable
from fc7.local import LocalServer
from fc7.status import read_rpc_error

T = TypeVar("T")

REQUEST_TIMEOUT_S = 300.0  # 64 large images on one slow core take a minute


class Progress(Generic[T]):
    """An operation on its way: its next step, its deadline, in the end its value."""

    value: T

    def __init__(self, operation: Operation[T], timeout_s: float | None) -> None:
        self._operation = operation
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self.answer: Any = None
        self.error: Fc7Error | None = None
        self.streams: list[_Stream] = []

    def step(self) -> Step | None:
        """Hand in the answer or the error of the last step; return the next step, None at the end."""
        answer, error, self.answer, self.error = self.answer, self.error, None, None
        try:
            return self._operation.send(answer) if error is None else self._operation.throw(error)
        except StopIteration as end:
            self.value = end.value
            return None

    def time_left(self, limit_s: float | None) -> float | None:
        """Return how many seconds the next request may take: ``limit_s``, or less where less is left."""
        if self._deadline is None:
            return limit_s
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"the call took longer than timeout_s={self._timeout_s:g}: allow more")
        return left if limit_s is None else min(left, limit_s)

    def close(self) -> None:
        """End what is under way."""
        for stream in self.streams:
            stream.call.cancel()
        self._operation.close()


class Line:
    """A channel to a server and the generated stubs on it."""

    def __init__(self, target: Target, channel: Any) -> None:
        self.target, self.channel = target, channel
        self._stubs: dict[type[Any], Any] = {}

    def method(self, step: Call | Open) -> Any:
        """Return the callable of a method."""
        if step.stub not in self._stubs:
            self._stubs[step.stub] = step.stub(self.channel)
        return getattr(self._stubs[step.stub], step.method)


class _Requests:
    """The requests of a stream; keeps the error that ended them, which gRPC would swallow."""

    def __init__(self, requests: Iterator[Message]) -> None:
        self._requests = requests
        self._opened = threading.Event()
        self._call: Any = None
        self.error: BaseException | None = None

    def belong_to(self, call: Any) -> None:
        """Name the call that these are the requests of."""
        self._call = call
        self._opened.set()

    def read(self) -> Message | None:
        try:
            return next(self._requests, None)
        except BaseException as error:  # raised again where the answers are read
            self.error = error
            return None

    def wait(self) -> Iterator[Message]:
        """Yield the requests, in the thread of gRPC that sends them."""
        while (request := self.read()) is not None:
            yield request
        if self.error is not None:
            self._opened.wait()
            self._call.cancel()  # an end without error would let the server go on with a part

    async def awaited(self) -> AsyncIterator[Message]:
        """Yield the requests, each read in another thread."""
        while (request := await asyncio.to_thread(self.read)) is not None:
            yield request
        if self.error is not None:
            self._call.cancel()


@dataclass(frozen=True, slots=True)
class _Stream:
    """A call of many messages either way."""

    call: Any
    requests: _Requests


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
                return self._next(stream)
            case Work(function):
                return function()

    def _call(self, call: Call, progress: Progress[Any]) -> Any:
        line = self._checked_line()
        try:
            return self._send(line, call, progress)
        except Unavailable:
            if not self._reach_again(line):
                raise
        return self._send(self._line, call, progress)

    def _send(self, line: Line, call: Call, progress: Progress[Any]) -> Any:
        timeout_s = progress.time_left(self._timeout_s)
        future = line.method(call).future(call.request, timeout=timeout_s, metadata=line.target.metadata)
        try:
            return future.result()
        except grpc.RpcError as error:
            raise read_rpc_error(error, line.target.address) from None
        except grpc.FutureCancelledError:
            raise Unavailable("the client was closed during the call") from None
        except BaseException:  # Ctrl-C: the server need not go on
            future.cancel()
            raise

    def _open(self, step: Open, progress: Progress[Any]) -> _Stream:
        if self._local is not None and not self._local.is_ours:
            self._call(CHECK, progress)  # a stream cannot be sent again: first see that somebody is there
        line, requests = self._checked_line(), _Requests(step.requests)
        timeout_s = progress.time_left(step.timeout_s)
        call = line.method(step)(requests.wait(), timeout=timeout_s, metadata=line.target.metadata)
        requests.belong_to(call)
        stream = _Stream(call, requests)
        progress.streams.append(stream)
        return stream

    def _next(self, stream: _Stream) -> Any:
        try:
            return next(stream.call, None)
        except grpc.RpcError as error:
            if stream.requests.error is not None:
                raise stream.requests.error from None
            raise read_rpc_error(error, self._line.target.address) from None

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
                return self._open(step, progress)
            case Next(stream):
                return await self._next(stream)
            case Work(function):
                return await asyncio.to_thread(function)

    async def _call(self, call: Call, progress: Progress[Any]) -> Any:
        line, timeout_s = self._checked_line(), progress.time_left(self._timeout_s)
        try:
            return await line.method(call)(call.request, timeout=timeout_s, metadata=line.target.metadata)
        except grpc.aio.AioRpcError as error:
            raise read_rpc_error(error, line.target.address) from None

    def _open(self, step: Open, progress: Progress[Any]) -> _Stream:
        line, requests = self._checked_line(), _Requests(step.requests)
        timeout_s = progress.time_left(step.timeout_s)
        call = line.method(step)(requests.awaited(), timeout=timeout_s, metadata=line.target.metadata)
        requests.belong_to(call)
        stream = _Stream(call, requests)
        progress.streams.append(stream)
        return stream

    async def _next(self, stream: _Stream) -> Any:
        try:
            answer = await stream.call.read()
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if stream.requests.error is not None:
                raise stream.requests.error from None
            if isinstance(error, asyncio.CancelledError):
                raise
            raise read_rpc_error(error, self._target.address) from None
        return None if answer is grpc.aio.EOF else answer

    def _checked_line(self) -> Line:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")
        if self._line is None:
            self._line = Line(self._target, self._target.open_aio())
        return self._line
