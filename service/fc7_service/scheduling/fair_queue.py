"""Pictures of one class, shared fairly: first between callers, then between the calls of a caller.

Start-time fair queueing: whoever has been served least comes next. Work is charged when it is taken, and again when
its header shows that it costs more. Someone who comes back is not paid for the time away.

References
----------
Goyal, Vin & Cheng 1996, "Start-time fair queueing", section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import attrgetter

from fc7_service.scheduling.call import Call, Picture

_served = attrgetter("served")


class _Caller:
    """A caller with work that waits."""

    def __init__(self, served: float) -> None:
        self.served = served
        self.clock = 0.0  # what the call that was served last had been served before
        self.calls: dict[Call, None] = {}  # in the order of arrival


class FairQueue:
    """Waiting calls of one class."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller] = {}
        self._debts: dict[str, float] = {}  # of callers without waiting work who were served more than others
        self._clock = 0.0  # what the caller who was served last had been served before
        self.waiting_of: dict[str, int] = {}  # network -> views

    def add(self, call: Call) -> None:
        """Append a call."""
        caller = self._callers.get(call.caller)
        if caller is None:
            served = max(self._clock, self._debts.pop(call.caller, 0.0))
            caller = self._callers[call.caller] = _Caller(served)
        call.served = caller.clock
        caller.calls[call] = None
        self._count(call, call.n_waiting)

    @property
    def n_waiting(self) -> int:
        """Views that wait."""
        return sum(self.waiting_of.values())

    def take(self, full: Collection[str] = ()) -> Picture | None:
        """Remove and return the picture whose turn it is; None if nothing waits.

        Parameters
        ----------
        full
            Networks that take no more. Whose turn it is keeps it until they do, while the others go on.
        """
        callers: Iterable[_Caller] = self._callers.values()
        if full:
            callers = [one for one in callers if any(call.network not in full for call in one.calls)]
        caller = min(callers, key=_served, default=None)
        if caller is None:
            return None
        call = min((call for call in caller.calls if call.network not in full), key=_served)
        self._clock, caller.clock = max(self._clock, caller.served), max(caller.clock, call.served)
        picture = call.waiting.popleft()
        self._count(call, -call.views)
        self.charge(call, call.views)
        if not call.waiting:
            self._forget(call)
        return picture

    def charge(self, call: Call, cost: float) -> None:
        """Count work of a call, in views, against it and its caller."""
        call.served += cost
        if (caller := self._callers.get(call.caller)) is not None:
            caller.served += cost
        else:
            self._debts[call.caller] = max(self._clock, self._debts.get(call.caller, 0.0)) + cost

    def remove(self, call: Call) -> None:
        """Drop what still waits of a call."""
        if call.waiting:
            self._count(call, -call.n_waiting)
            call.waiting.clear()
            self._forget(call)

    def calls(self) -> list[Call]:
        """Return the calls that wait."""
        return [call for caller in self._callers.values() for call in caller.calls]

    def n_ahead(self, call: Call) -> int:
        """Return how many views of its network would be served before the last one of a new call."""
        n_own, n_others = list[int](), list[int]()
        for name, caller in self._callers.items():
            waiting = [other.n_waiting for other in caller.calls if other.network == call.network]
            if name == call.caller:
                n_own = [min(n, call.n_waiting) for n in waiting]
            else:
                n_others.append(sum(waiting))
        return sum(n_own) + sum(min(n, call.n_waiting + sum(n_own)) for n in n_others)

    def _count(self, call: Call, n_views: int) -> None:
        self.waiting_of[call.network] = self.waiting_of.get(call.network, 0) + n_views
        if not self.waiting_of[call.network]:
            del self.waiting_of[call.network]

    def _forget(self, call: Call) -> None:
        caller = self._callers[call.caller]
        del caller.calls[call]
        if not caller.calls:
            del self._callers[call.caller]
            self._debts[call.caller] = caller.served
            if not self._callers:  # nobody waits, so nobody is owed anything (section 2, end of a busy period)
                self._clock = max(self._clock, *self._debts.values())
            self._debts = {name: served for name, served in self._debts.items() if served > self._clock}
