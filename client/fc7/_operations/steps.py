"""The steps of which every method of a client is made.

An operation is a generator. It yields steps, receives the result of each, and returns what the method returns. It
never waits itself, so that both clients, the one that waits and the one that awaits, run the same operations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send a request and receive the response."""

    stub: type[Any]  # generated class of the service
    method: str
    request: Message | bytes  # bytes if it is already serialized
    is_bulk: bool = False  # a batch of a long list; few of them are on their way at once


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Begin a call that is answered by many messages, and receive its stream."""

    stub: type[Any]
    method: str
    requests: Message | Iterator[Message]  # an iterator is read ahead of the answers, in another thread
    timeout_s: float | None  # None for a stream without end


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Receive the next answer of a stream, or None after the last one."""

    stream: Any


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """Call a function that blocks, such as reading files, and receive what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Give one value to a caller who iterates."""

    value: Any


Step: TypeAlias = SendRequest | OpenStream | ReadStream | RunBlocking | Emit
Operation: TypeAlias = Generator[Step, Any, T]


def read_to_end(stream: Any) -> Operation[None]:
    """Read the rest of a stream after its result. Only then has the server finished the call."""
    while (yield ReadStream(stream)) is not None:
        pass


def collect(operation: Operation[None], is_wanted: Callable[[Any], bool] = lambda value: True) -> Operation[list[Any]]:
    """Run an operation to its end, and return what it emits and is wanted."""
    emitted: list[Any] = []
    answer = None
    while True:
        try:
            step = operation.send(answer)
        except StopIteration:
            return emitted
        if not isinstance(step, Emit):
            answer = yield step
            continue
        answer = None
        if is_wanted(step.value):
            emitted.append(step.value)
