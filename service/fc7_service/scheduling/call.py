"""A call that needs a network, and its pictures, as the scheduler sees them."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

MAX_INTERACTIVE_VIEWS = 16  # a larger call is bulk unless it says otherwise


OTHER_WORK = "other work"  # in place of a network: work that only wants its turn, one after the other in each class


class WorkClass(StrEnum):
    """How urgent the work of a call is."""

    INTERACTIVE = "interactive"  # someone waits for the answer
    BULK = "bulk"  # the rate counts, not the delay


@dataclass(frozen=True, slots=True)
class CallOrigin:
    """Who sent a call, and when the answer is due. The server's interceptor sets it for each call."""

    caller: str = ""  # name of the token, or the connection; "" for the only caller of an embedded server
    deadline: float | None = None  # in monotonic seconds; None if the caller waits as long as it takes
    work_class: WorkClass | None = None  # None if the call does not say it


CALL_ORIGIN: ContextVar[CallOrigin] = ContextVar("CALL_ORIGIN", default=CallOrigin())  # noqa: B039  # it is frozen


@dataclass(eq=False, slots=True)
class Picture:
    """One picture of a call.

    Attributes
    ----------
    call
        The call that it belongs to.
    n_bytes
        Memory that it takes while it waits: the larger of its file and its tensors.
    work
        What the scheduler's user needs to decode it.
    """

    call: Call
    n_bytes: int
    work: object = None
    taken: float | None = None  # monotonic seconds at which its decoding began
    decoding_bytes: int = 0  # memory that decoding takes, known once the header has been read
    is_abandoned: bool = False  # nobody waits for it any more


@dataclass(eq=False, slots=True)
class Call:
    """One call. Its pictures are decoded in the order given.

    Attributes
    ----------
    views
        Views per picture. Each is one picture to the network.
    network
        Name of the network. Pictures of different networks never share a batch.
    can_wait
        Whether whoever sends the call asks again when the queue was full. Streams do: they send nothing more in the
        meantime. Their pictures are not refused because time is short, but dropped when it is over.
    """

    origin: CallOrigin
    work_class: WorkClass
    network: str
    views: int = 1
    can_wait: bool = False
    waiting: deque[Picture] = field(default_factory=deque)
    served: float = 0.0  # views taken so far, beside those of the caller's other calls

    @property
    def caller(self) -> str:
        """Who sent the call."""
        return self.origin.caller

    @property
    def n_waiting(self) -> int:
        """Views that wait to be decoded."""
        return self.views * len(self.waiting)


def class_of(origin: CallOrigin, n_views: int, *, is_stream: bool) -> WorkClass:
    """Return the class of a call: the one that it names, otherwise bulk for streams and for many pictures."""
    if origin.work_class is not None:
        return origin.work_class
    return WorkClass.BULK if is_stream or n_views > MAX_INTERACTIVE_VIEWS else WorkClass.INTERACTIVE
