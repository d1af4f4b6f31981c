"""The interceptor around every call: who may call, how many calls run, and who waits for their end.

Every method becomes a handler of raw bytes. So nothing is read before the caller is known, and nothing is parsed before
it is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc

from fc7.errors import Reason, ResourceExhausted
from fc7_service.rpc.call import Call
from fc7_service.rpc.codec import WIRE, Codec
from fc7_service.rpc.log import Log
from fc7_service.rpc.message_threads import MessageThreads
from fc7_service.scheduling.call import CallOrigin
from fc7_service.telemetry.record import Record, ignore
from fc7_service.telemetry.trace import BeginTrace, read_trace
from fc7_service.tokens import HEALTH, Caller, Tokens

MAX_CALLS = 1000  # running at once; a call that waits costs some kilobytes
MAX_WATCHES = 1000  # of health, apart from the calls: each client that speaks to several servers holds one per server
_RETRY_AFTER_S = 1.0
_WATCH = f"{HEALTH}Watch"


class Interceptor(grpc.aio.ServerInterceptor):
    """Handles everything around the methods of all services.

    Parameters
    ----------
    tokens
        Checked for every call.
    log
        Called once per request; None for no log.
    record
        Gets the metrics of every call.
    begin_trace
        Tells which trace a call belongs to.
    check_room
        Refuses a call that wants features and would come too late.
    names_clients
        Whether clients have certificates, whose names tell callers apart.
    """

    def __init__(
        self,
        tokens: Tokens,
        log: Log | None,
        record: Record = ignore,
        begin_trace: BeginTrace = read_trace,
        check_room: Callable[[CallOrigin], None] = lambda _: None,
        *,
        names_clients: bool = False,
    ) -> None:
        self._tokens, self.log, self.record, self.begin_trace = tokens, log, record, begin_trace
        self.check_room, self.names_clients = check_room, names_clients
        self._watches: set[asyncio.Task[Any]] = set()
        self.running: Counter[str] = Counter()  # calls by method
        self._has_none = asyncio.Event()
        self._has_none.set()
        self.is_stopping = False
        self.messages = MessageThreads()

    async def stop(self) -> None:
        """End the watches of health, which never end by themselves; return when no call is running."""
        self.is_stopping = True
        for task in self._watches:
            task.cancel()
        await self._has_none.wait()

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        """Return a handler of raw bytes that wraps the handler of the method."""
        handler = await continuation(details)
        if handler is None or handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self.wrap(details, handler, WIRE), None, _to_bytes)
        # gRPC sends the answer and the status together.
        return grpc.stream_unary_rpc_method_handler(Call(self, details, handler, WIRE).answer_once)

    def wrap(self, details: Any, handler: Any, codec: Codec) -> Callable[..., AsyncGenerator[bytes]]:
        """Return what answers one call.

        Parameters
        ----------
        details
            ``method`` and ``invocation_metadata`` of the call.
        handler
            The handler of the method; None if there is no such method.
        codec
            How requests and answers are written.

        Returns
        -------
        callable
            Takes the messages of the caller and the context of the call, and yields the answers.
        """
        return Call(self, details, handler, codec).answer_in_turn

    def admit(self, method: str, authorization: str, *, is_known: bool) -> Caller:
        """Return the caller of a call; refuse it if the token does not allow it or too many calls are running."""
        caller = self._tokens.check(method, authorization, is_known=is_known)
        if self.n_calls - len(self._watches) > MAX_CALLS and not method.startswith(HEALTH):
            raise _too_many(f"{MAX_CALLS} calls")
        if method == _WATCH and len(self._watches) >= MAX_WATCHES:
            raise _too_many(f"{MAX_WATCHES} watches of health")
        if method == _WATCH and (task := asyncio.current_task()) is not None:
            self._watches.add(task)
            task.add_done_callback(self._watches.discard)
        return caller

    def close(self) -> None:
        """End the threads that parse. No call may be running."""
        self.messages.close()

    @property
    def n_calls(self) -> int:
        """Number of calls that are running."""
        return self.running.total()

    def count(self, method: str, change: int) -> None:
        """Record that a call began (1) or ended (-1)."""
        self.running[method] += change
        if not self.running[method]:
            del self.running[method]  # the names of unknown methods would pile up
        if self.running:
            self._has_none.clear()
        else:
            self._has_none.set()


def _too_many(what: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"{what} are running already. Try again in {_RETRY_AFTER_S:g} s",
        retry_after_s=_RETRY_AFTER_S,
        reason=Reason.TOO_MANY_CALLS,
    )


def _to_bytes(answer: Any) -> bytes:
    """Serialise what a handler writes to the context itself."""
    return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())
