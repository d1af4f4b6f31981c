"""Pictures of one class, shared fairly: first between callers, then between the calls of a caller.

Start-time fair queueing: whoever has been served least comes next. Work is charged when it is taken, and again when
its header shows that it costs more. Someone who comes back is not paid for the time away.

References
----------
Goyal, Vin & Cheng 1996, "Start-time fair queueing", section 2.
"""

from __future__ import annotations

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
        self.n_waiting = 0  # views

    def add(self, call: Call) -> None:
        """Append a call."""
        caller = self._callers.get(call.caller)
        if caller is None:
            served = max(self._clock, self._debts.pop(call.caller, 0.0))
            caller = self._callers[call.caller] = _Caller(served)
        call.served = caller.clock
        caller.calls[call] = None
        self.n_waiting += call.n_waiting

    def take(self) -> Picture | None:
        """Remove and return the picture whose turn it is; None if nothing waits."""
        if not self._callers:
            return None
        caller = min(self._callers.values(), key=_served)
        call = min(caller.calls, key=_served)
        self._clock, caller.clock = caller.served, call.served
        picture = call.waiting.popleft()
        self.n_waiting -= call.views
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
            self.n_waiting -= call.n_waiting
            call.waiting.clear()
            self._forget(call)

    def calls(self) -> list[Call]:
        """Return the calls that wait."""
        return [call for caller in self._callers.values() for call in caller.calls]

    def n_ahead(self, call: Call) -> int:
        """Return how many views would be served before the last one of a new call."""
        own = self._callers.get(call.caller)
        mine = call.n_waiting + sum(min(other.n_waiting, call.n_waiting) for other in (own.calls if own else ()))
        others = (caller for caller in self._callers.values() if caller is not own)
        return mine - call.n_waiting + sum(min(sum(c.n_waiting for c in other.calls), mine) for other in others)

    def _forget(self, call: Call) -> None:
        caller = self._callers[call.caller]
        del caller.calls[call]
        if not caller.calls:
            del self._callers[call.caller]
            self._debts[call.caller] = caller.served
            if not self._callers:  # nobody waits, so nobody is owed anything (section 2, end of a busy period)
                self._clock = max(self._clock, *self._debts.values())
            self._debts = {name: served for name, served in self._debts.items() if served > self._clock}
