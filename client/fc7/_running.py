"""An operation while it runs: its steps, its deadline and its retries. Both sessions use this."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fc7._connection import Connection, ResponseStream
from fc7._operations.steps import OpenStream, Operation, SendRequest, Step
from fc7.download import call_ends
from fc7.endpoint import SENT_ONCE
from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument, ResourceExhausted, Unavailable

T = TypeVar("T")

REQUEST_TIMEOUT_S = 300.0  # per request of a call without a limit; 64 large images take a slow core a minute
_LONGEST_S = 365 * 24 * 3600.0  # gRPC does not accept infinity
_LONGEST_PAUSE = 8  # times the pause that a full queue asks for
_RESTART_S = 30.0  # how long a batch of a long list waits for its server to restart
_RESTART_PAUSE_S = 0.25  # gRPC itself has waited some seconds before
_SENT_ONCE = {method for methods in SENT_ONCE.values() for method in methods}


def is_sent_once(call: SendRequest) -> bool:
    """Return whether a call must not be repeated, because a second sending could change something."""
    return call.method in _SENT_ONCE


class RunningOperation(Generic[T]):
    """An operation with its deadline. A session performs its steps; at the end, ``value`` is its result."""

    value: T

    def __init__(self, operation: Operation[T], timeout_s: float | None) -> None:
        self._operation = operation
        self._deadline = None if timeout_s is None else time.monotonic() + _checked(timeout_s)
        self._timeout_s = timeout_s
        self.answer: Any = None
        self.error: Fc7Error | None = None
        self._streams: list[ResponseStream] = []

    def step(self) -> Step | None:
        """Give the answer or the error of the last step to the operation. Return the next step, or None at the end."""
        answer, error, self.answer, self.error = self.answer, self.error, None, None
        try:
            return self._operation.send(answer) if error is None else self._operation.throw(error)
        except StopIteration as end:
            self.value = end.value
            return None

    def time_left(self, limit_s: float | None) -> float | None:
        """Return how many seconds are left for the whole call, or ``limit_s`` if the call has no limit."""
        if self._deadline is None:
            return limit_s
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.time_is_over()
        return left

    def run_blocking(self, function: Callable[[], Any]) -> Any:
        """Call a function that blocks. Downloads in it keep to the deadline of the call."""
        token = call_ends.set(self._deadline)
        try:
            return function()
        finally:
            call_ends.reset(token)

    def time_is_over(self) -> DeadlineExceeded:
        """Return the error for a call whose time is over."""
        limit_s = REQUEST_TIMEOUT_S if self._timeout_s is None else self._timeout_s
        return DeadlineExceeded(f"the call took longer than timeout_s={limit_s:g}. Allow more time")

    def retries(self, call: SendRequest) -> Retries:
        """Return when to repeat one request."""
        left = self.time_left(REQUEST_TIMEOUT_S)
        assert left is not None  # a limit was given
        return Retries(call, time.monotonic() + left, self)

    def open(self, connection: Connection, step: OpenStream) -> ResponseStream:
        """Begin a stream. It ends with the operation at the latest."""
        self._streams.append(ResponseStream(connection, step, self.time_left(step.timeout_s)))
        return self._streams[-1]

    def close(self) -> None:
        """Cancel the streams and close the operation."""
        for stream in self._streams:
            stream.cancel()
        self._operation.close()


class Retries:
    """When to repeat one request: until its deadline, and each time after the pause that the server asked for."""

    def __init__(self, call: SendRequest, deadline: float, running: RunningOperation[Any]) -> None:
        self._call, self._deadline, self._running = call, deadline, running
        self._n_pauses = 0
        self._restart_ends: float | None = None

    def time_left(self) -> float:
        """Return how many seconds the next attempt may take."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._running.time_is_over()
        return left

    def pause_s(self, error: Fc7Error, connection: Connection) -> float | None:
        """Return how many seconds to wait before the next attempt, or None if there must not be one."""
        if is_sent_once(self._call):
            return None
        now, ends = time.monotonic(), self._deadline
        if isinstance(error, ResourceExhausted) and error.retry_after_s is not None:
            self._n_pauses += 1
            pause = error.retry_after_s * min(self._n_pauses, _LONGEST_PAUSE)
        elif isinstance(error, Unavailable) and self._call.is_bulk and connection.has_answered:
            self._restart_ends = self._restart_ends or now + _RESTART_S
            pause, ends = _RESTART_PAUSE_S, min(ends, self._restart_ends)
        else:
            return None
        pause *= random.uniform(1, 2)  # noqa: S311  # so that many callers do not return at the same moment
        return pause if now + pause < ends else None


def _checked(timeout_s: float) -> float:
    if not isinstance(timeout_s, int | float) or math.isnan(timeout_s):
        raise InvalidArgument(f"timeout_s must be a number of seconds, or None (got {timeout_s!r})", name="timeout_s")
    return min(timeout_s, _LONGEST_S)
