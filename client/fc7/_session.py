"""The two ways to run an operation: waiting in this thread, or awaiting on this event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, TypeVar

import grpc

from fc7._connection import Connection, ResponseStream
from fc7._operations.admin import HEALTH_CHECK, SERVING
from fc7._operations.steps import Emit, OpenStream, Operation, ReadStream, RunBlocking, SendRequest, Step
from fc7._running import SENT_ONCE_METHODS, Retries, RunningOperation
from fc7.endpoint import Endpoint
from fc7.errors import FailedPrecondition, Fc7Error, Unavailable
from fc7.grpc_errors import read_rpc_error
from fc7.local_server import LocalServer

T = TypeVar("T")

_MOST_STREAMS = 64  # at once, of one asynchronous client
_MOST_BATCHES = 4  # of long lists, at once, of one asynchronous client: more would only fill the server's queue


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

    def __init__(self, endpoint: Endpoint, timeout_s: float | None, local: LocalServer | None = None) -> None:
        self._timeout_s = timeout_s
        self._local = local
        self._lock = threading.Lock()  # around the lines
        self._reaching = threading.Lock()
        self._is_closed = False
        self._connection = Connection(endpoint, endpoint.open())
        self._streams: Connection | None = None  # of their own: an interrupted call may have to close its channel

    @property
    def endpoint(self) -> Endpoint:
        """The server that is asked now."""
        return self._connection.endpoint

    def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end; ``timeout_s`` is for all of it, None for the client's default."""
        running = RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s)
        for _ in self._emitted(running):
            pass
        return running.value

    def iterate(self, operation: Operation[None], timeout_s: float | None = None) -> Generator[Any, None, None]:
        """Yield what an operation emits; the time runs from here on."""
        return self._emitted(RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s))

    def close(self) -> None:
        """Close the channels; stop the server if it is ours, also one that another thread is starting just now."""
        with self._lock:
            self._is_closed = True
            self._close_connections()
        if self._local is not None:
            self._local.stop()

    def reach_again(self, failed: Endpoint) -> bool:
        """Return whether there is another server to try: the holder of the data folder ended, ours takes over."""
        if self._local is None:
            return False
        with self._reaching:
            if self._connection.endpoint is not failed:  # another thread was here first
                return True
            if self._local.is_ours or self._is_closed:
                return False
            endpoint = self._local.reach()
            with self._lock:
                self._check_open()
                self._close_connections()
                self._connection, self._streams = Connection(endpoint, endpoint.open()), None
            return True

    def _has_moved(self, failed: Connection) -> bool:
        """Return whether to ask again: on another channel, or at another server."""
        return self._connection is not failed or self.reach_again(failed.endpoint)

    def _close_connections(self) -> None:
        self._connection.channel.close()
        if self._streams is not None:
            self._streams.channel.close()

    def _emitted(self, running: RunningOperation[Any]) -> Generator[Any, None, None]:
        with closing(running):
            while (step := running.step()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    running.answer = self._perform(step, running)
                except Fc7Error as error:
                    running.error = error

    def _perform(self, step: Step, running: RunningOperation[Any]) -> Any:
        match step:
            case SendRequest():
                return self._call(step, running)
            case OpenStream():
                return self._open(step, running)
            case ReadStream(stream):
                return stream.read()
            case RunBlocking(function):
                return running.work(function)

    def _call(self, call: SendRequest, running: RunningOperation[Any]) -> Any:
        retries = running.retries(call)
        if call.method in SENT_ONCE_METHODS and self._local is not None and not self._local.is_ours:
            self._leave_if_stopping(running)
        while True:
            connection = self._checked_connection()
            try:
                return self._send(connection, call, retries)
            except Fc7Error as error:
                if (
                    isinstance(error, Unavailable)
                    and call.method not in SENT_ONCE_METHODS
                    and self._has_moved(connection)
                ):
                    continue
                pause_s = retries.pause_s(error, connection)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _send(self, connection: Connection, call: SendRequest, retries: Retries) -> Any:
        timeout_s = retries.time_left()
        try:
            answer = connection.method(call)(call.request, timeout=timeout_s, metadata=connection.endpoint.metadata)
        except grpc.RpcError as error:
            raise read_rpc_error(error, connection.endpoint.address) from None
        except ValueError:  # gRPC's word for a channel that is closed
            if connection is self._connection and not self._is_closed:
                raise
            raise Unavailable("the client was closed during the call") from None
        except BaseException:  # Ctrl-C: the server need not go on
            self._abandon(connection)
            raise
        connection.has_answered = True
        return answer

    def _abandon(self, connection: Connection) -> None:
        """Close a channel: nothing else ends a call whose waiting was interrupted.

        Calls of other threads on it are sent again on the next one; streams have a channel of their own.
        """
        with self._lock:
            if self._connection is connection and not self._is_closed:
                self._connection = Connection(connection.endpoint, connection.endpoint.open())
        connection.channel.close()

    def _open(self, step: OpenStream, running: RunningOperation[Any]) -> ResponseStream:
        if self._local is not None and not self._local.is_ours:
            self._leave_if_stopping(running)
        with self._lock:
            self._check_open()
            if self._streams is None:
                self._streams = Connection(self._connection.endpoint, self._connection.endpoint.open())
            return running.open(self._streams, step)

    def _leave_if_stopping(self, running: RunningOperation[Any]) -> None:
        """Leave a holder that is ending, before what cannot be sent again."""
        if self._call(HEALTH_CHECK, running).status != SERVING:
            self.reach_again(self.endpoint)

    def _checked_connection(self) -> Connection:
        self._check_open()
        return self._connection

    def _check_open(self) -> None:
        if self._is_closed:
            raise FailedPrecondition("this client is closed: connect again")
