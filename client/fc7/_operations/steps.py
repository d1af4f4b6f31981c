"""What an operation asks of the client that runs it.

An operation is a generator: it yields steps, receives what came of each, and returns what the client's method
returns. It never waits itself, so both clients run the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send a request; receive the response."""

    stub: type[Any]  # generated class of the service
    method: str
    request: Message | bytes  # bytes: packed already
    is_bulk: bool = False  # one of the batches of a long list: few of them are under way at once


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Begin a call of many answers to one request or to many; receive its stream."""

    stub: type[Any]
    method: str
    requests: Message | Iterator[Message]  # many are read ahead of the answers, in another thread
    timeout_s: float | None  # None for a stream without end


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Receive the next answer of a stream; None after the last."""

    stream: Any


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """Do what blocks, such as reading files; receive what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Give one value to a caller who iterates."""

    value: Any


Step: TypeAlias = SendRequest | OpenStream | ReadStream | RunBlocking | Emit
Operation: TypeAlias = Generator[Step, Any, T]


def read_to_end(stream: Any) -> Operation[None]:
    """Read a stream to its end, after its result: until then the server is not done with the call."""
    while (yield ReadStream(stream)) is not None:
        pass
