"""Runs the operations of the client that waits, in the calling thread."""

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
from fc7._running import Retries, RunningOperation, is_sent_once
from fc7._tracing import Metadata, traced
from fc7.endpoint import Endpoint
from fc7.errors import FailedPrecondition, Fc7Error, Unavailable
from fc7.grpc_errors import read_rpc_error
from fc7.local_server import LocalServer

T = TypeVar("T")


class Session:
    """Runs operations in the calling thread.

    Parameters
    ----------
    endpoint
        The server.
    timeout_s
        Seconds for each operation that is run without a limit of its own; None for no limit.
    local
        Given if the server is that of a data folder: a client whose server ends reaches the next one through it.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float | None, local: LocalServer | None = None) -> None:
        self._timeout_s = timeout_s
        self._local = local
        self._lock = threading.Lock()  # guards the connection and `_is_closed`
        self._reaching = threading.Lock()  # held while another server is reached
        self._is_closed = False
        endpoint = endpoint.resolved()
        self._connection = Connection(endpoint, endpoint.open())
        self._stream_connection: Connection | None = None  # see `_abandon`

    @property
    def endpoint(self) -> Endpoint:
        """The server that answers now."""
        return self._connection.endpoint

    def run(self, operation: Operation[T], timeout_s: float | None = None) -> T:
        """Run an operation to its end. ``timeout_s`` limits all of it; None takes the client's default."""
        running = RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s)
        for _ in self._emitted(running):
            pass
        return running.value

    def iterate(self, operation: Operation[None], timeout_s: float | None = None) -> Generator[Any, None, None]:
        """Yield what an operation emits. The time starts now."""
        return self._emitted(RunningOperation(operation, self._timeout_s if timeout_s is None else timeout_s))

    def close(self) -> None:
        """Close the connection. Stop the server if it is ours, even if another thread is just starting it."""
        with self._lock:
            self._is_closed = True
            self._close_connections()
        if self._local is not None:
            self._local.stop()

    def reach_again(self, failed: Endpoint) -> bool:
        """Return whether another server can be asked: if the holder of the data folder has ended, start one here."""
        if self._local is None:
            return False
        with self._reaching:
            if self._connection.endpoint is not failed:  # another thread was faster
                return True
            if self._local.is_ours or self._is_closed:
                return False
            endpoint = self._local.reach()
            with self._lock:
                self._check_open()
                self._close_connections()
                self._connection, self._stream_connection = Connection(endpoint, endpoint.open()), None
            return True

    def _close_connections(self) -> None:
        self._connection.channel.close()
        if self._stream_connection is not None:
            self._stream_connection.channel.close()

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
                return running.run_blocking(function)

    def _call(self, call: SendRequest, running: RunningOperation[Any]) -> Any:
        retries = running.retries(call)
        if is_sent_once(call):
            self._leave_if_stopping(running)
        while True:
            self._check_open()
            connection = self._connection
            try:
                return self._send(connection, call, retries)
            except Fc7Error as error:
                can_move = isinstance(error, Unavailable) and not is_sent_once(call)
                if can_move and (self._connection is not connection or self.reach_again(connection.endpoint)):
                    continue
                pause_s = retries.pause_s(error, connection)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _send(self, connection: Connection, call: SendRequest, retries: Retries) -> Any:
        timeout_s = retries.time_left()
        with traced(call, connection.endpoint) as metadata:
            return self._send_traced(connection, call, timeout_s, metadata)

    def _send_traced(self, connection: Connection, call: SendRequest, timeout_s: float, metadata: Metadata) -> Any:
        try:
            answer = connection.method(call)(call.request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise read_rpc_error(error, connection.endpoint.address) from None
        except ValueError:  # what gRPC raises for a closed channel
            if connection is self._connection and not self._is_closed:
                raise
            raise Unavailable("the client was closed during the call") from None
        except BaseException:  # Ctrl-C: the server need not finish
            self._abandon(connection)
            raise
        connection.has_answered = True
        return answer

    def _abandon(self, connection: Connection) -> None:
        """Close a connection and open another one: nothing else ends a call whose waiting was interrupted.

        Calls of other threads are sent again on the new connection, except those that are never sent twice. Streams
        have a connection of their own.
        """
        with self._lock:
            if self._connection is connection and not self._is_closed:
                self._connection = Connection(connection.endpoint, connection.endpoint.open())
        connection.channel.close()

    def _open(self, step: OpenStream, running: RunningOperation[Any]) -> ResponseStream:
        self._leave_if_stopping(running)
        with self._lock:
            self._check_open()
            if self._stream_connection is None:
                self._stream_connection = Connection(self.endpoint, self.endpoint.open())
            return running.open(self._stream_connection, step)

    def _leave_if_stopping(self, running: RunningOperation[Any]) -> None:
        """Look for another server before a call that cannot be repeated, if another process's server is stopping."""
        if self._local is None or self._local.is_ours:
            return
        if self._call(HEALTH_CHECK, running).status != SERVING:
            self.reach_again(self.endpoint)

    def _check_open(self) -> None:
        if self._is_closed:
            raise FailedPrecondition("this client is closed. Connect again with fc7.connect()")
