"""The one queue in front of decoding: who is served next, who must wait, and who is refused at once.

Pure and synchronous: it knows no threads and no clock. `DecodeThreads` asks it under one lock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fc7.errors import Reason, ResourceExhausted
from fc7_service.scheduling.call import OTHER_WORK, Call, CallOrigin, Picture, WorkClass, class_of
from fc7_service.scheduling.fair_queue import FairQueue
from fc7_service.scheduling.service_rate import ServiceRate

BULK_TURN = 8  # of so many pictures taken, one is bulk if bulk waits: no class starves
_SHARE = 4  # a caller may hold four times what its class has free: one alone 4/5 of the quota, two 4/9 each
_SAFE_SHARE = 0.5  # of the time left that may pass before the expected answer: rates vary (bench/serving.py)
_UNIT_BYTES = 8 * 2**20  # decoding that takes more memory than this counts as more than one view
_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.05, 30.0
_USUAL_RETRY_S = 1.0  # before anything has been measured


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of a scheduler; those of waiting work hold for each class."""

    max_waiting_views: int
    max_waiting_bytes: int  # of files and tensors
    max_decoding_bytes: int  # of decoded pixels at once; a picture that takes more is decoded alone
    max_ahead: dict[WorkClass, int]  # views that are decoded, wait for their network or are in it; for each network


class _Line:
    """One class: its queue, and what it holds."""

    def __init__(self, max_ahead: int) -> None:
        self.queue = FairQueue()
        self._max_ahead = max_ahead
        self.ahead_of: dict[str, int] = {}  # network -> views under way
        self.full: set[str] = set()  # networks with as many under way as may be
        self.n_views = self.n_bytes = 0  # held by calls: waiting and under way
        self.views_of: dict[str, int] = {}  # caller -> views
        self.bytes_of: dict[str, int] = {}  # caller -> bytes

    @property
    def is_ready(self) -> bool:
        """Whether a picture may be taken."""
        waiting = self.queue.waiting_of
        return any(network not in self.full for network in waiting) if self.full else bool(waiting)

    def go_ahead(self, network: str, n_views: int) -> None:
        """Count views that come under way, or are no longer (less than 0)."""
        n_ahead = self.ahead_of.get(network, 0) + n_views
        self.ahead_of[network] = n_ahead
        if n_ahead >= (1 if network == OTHER_WORK else self._max_ahead):
            self.full.add(network)
        else:
            self.full.discard(network)
        if not n_ahead:
            del self.ahead_of[network]


class Scheduler:
    """Decides which picture is decoded next."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines = {kind: _Line(limits.max_ahead[kind]) for kind in WorkClass}
        self._n_passed = 0  # interactive pictures taken since the last bulk one, while bulk waited
        self._free_bytes = limits.max_decoding_bytes
        self._parked: deque[Picture] = deque()  # opened, and waiting for memory
        self._coming: dict[tuple[str, WorkClass], int] = {}  # network and class -> views not decoded yet
        self.rates: dict[str, ServiceRate] = {}  # of networks
        self.expired: list[Picture] = []  # one picture of each call whose time ran out, for the user to fetch

    def admit(self, call: Call, now: float) -> None:
        """Give a call its place in the queue.

        Raises
        ------
        ResourceExhausted
            The queue is full, or the call cannot be answered before its deadline. The error says when to try again.
        """
        self._check_quota(call)
        if not call.can_wait:
            self._check_deadline(call, now)
        line = self._lines[call.work_class]
        self._hold(line, call, call.n_waiting, sum(picture.n_bytes for picture in call.waiting))
        self._come(call, call.n_waiting)
        line.queue.add(call)

    def check_room(self, origin: CallOrigin, network: str, now: float) -> None:
        """Refuse a call, before its pictures are known, that would be refused even with a single small one.

        Raises
        ------
        ResourceExhausted
            As `admit`.
        """
        call = Call(origin, class_of(origin, 1, is_stream=False), network)
        call.waiting.append(Picture(call, 0))
        self._check_quota(call)
        self._check_deadline(call, now)

    def take(self, now: float) -> Picture | None:
        """Return the picture to open and decode next, or None if there is none now.

        A picture that was parked comes back with ``decoding_bytes`` set: its memory is reserved.
        """
        if self._parked and self._reserve(self._parked[0]):
            return self._parked.popleft()
        while (line := self._choose()) is not None:
            picture = line.queue.take(line.full)
            if picture is None:
                return None
            call = picture.call
            if picture.is_abandoned or _is_late(call, now):
                self._release(picture)
                self._come(call, -call.views)
                if not picture.is_abandoned:
                    self.leave(call)
                    self.expired.append(picture)
                continue
            if line is self._lines[WorkClass.BULK]:
                self._n_passed = 0
            elif self._lines[WorkClass.BULK].queue.n_waiting:
                self._n_passed += 1
            picture.taken = now
            line.go_ahead(call.network, call.views)
            self.rates.setdefault(call.network, ServiceRate()).begin(now)
            return picture
        return None

    @property
    def has_next(self) -> bool:
        """Whether ``take`` would find something."""
        is_parked_ready = bool(self._parked) and self._parked[0].decoding_bytes <= self._free_bytes
        return is_parked_ready or self._choose() is not None

    def open(self, picture: Picture, n_bytes: int) -> bool:
        """Reserve the memory that a picture's header asks for.

        Returns
        -------
        bool
            Whether to decode it now. Otherwise ``take`` returns it again, once there is room.
        """
        picture.decoding_bytes = min(n_bytes, self._limits.max_decoding_bytes)
        if (excess := n_bytes / _UNIT_BYTES - picture.call.views) > 0:
            self._lines[picture.call.work_class].queue.charge(picture.call, excess)
        if not self._parked and self._reserve(picture):
            return True
        self._parked.append(picture)
        return False

    def decoded(self, picture: Picture) -> None:
        """Give back the memory of a picture that is decoded or cannot be; call it once per picture taken."""
        self._free_bytes += picture.decoding_bytes
        picture.decoding_bytes = 0
        self._come(picture.call, -picture.call.views)

    def finish(self, picture: Picture, now: float, *, has_feature: bool) -> None:
        """Note that a picture is answered or given up; call it once per picture."""
        if picture.taken is None:
            picture.is_abandoned = True
            return
        line, network = self._lines[picture.call.work_class], picture.call.network
        line.go_ahead(network, -picture.call.views)
        if picture in self._parked:  # given up before it was decoded
            self._parked.remove(picture)
            self._come(picture.call, -picture.call.views)
        self._release(picture)
        if has_feature:
            self.rates[network].count(picture.call.views, now)
        if not any(network in line.ahead_of for line in self._lines.values()):
            self.rates[network].pause()

    def leave(self, call: Call) -> None:
        """Drop what still waits of a call; what is under way is finished by its user."""
        line, n_views = self._lines[call.work_class], call.n_waiting
        if n_views:
            self._hold(line, call, -n_views, -sum(picture.n_bytes for picture in call.waiting))
            self._come(call, -n_views)
            line.queue.remove(call)

    @property
    def n_held(self) -> int:
        """Number of views that wait or are under way."""
        return sum(line.n_views for line in self._lines.values())

    def n_coming(self, network: str, work_class: WorkClass) -> int:
        """Return how many views of a network wait to be decoded or are being decoded."""
        return self._coming.get((network, work_class), 0)

    def drain(self) -> list[Picture]:
        """Drop and return everything that waits."""
        calls = [call for line in self._lines.values() for call in line.queue.calls()]
        pictures = [picture for call in calls for picture in call.waiting] + list(self._parked)
        for picture in self._parked:
            self._come(picture.call, -picture.call.views)
        self._parked.clear()
        for call in calls:
            self.leave(call)
        return pictures

    def _choose(self) -> _Line | None:
        interactive, bulk = self._lines[WorkClass.INTERACTIVE], self._lines[WorkClass.BULK]
        if bulk.is_ready and (self._n_passed >= BULK_TURN - 1 or not interactive.is_ready):
            return bulk
        return interactive if interactive.is_ready else None

    def _reserve(self, picture: Picture) -> bool:
        is_room = picture.decoding_bytes <= self._free_bytes
        if is_room:
            self._free_bytes -= picture.decoding_bytes
        return is_room

    def _check_quota(self, call: Call) -> None:
        """Refuse what the class or the caller may not hold as well.

        A caller's limit is a multiple of what is free (Choudhury & Hahne 1998, "Dynamic queue length thresholds"), so
        that newcomers find room. A class that holds nothing takes whatever a message holds.
        """
        line, limits = self._lines[call.work_class], self._limits
        if not line.n_views:
            return
        n_bytes = sum(picture.n_bytes for picture in call.waiting)
        for wanted, held, of_caller, limit in (
            (call.n_waiting, line.n_views, line.views_of.get(call.caller, 0), limits.max_waiting_views),
            (n_bytes, line.n_bytes, line.bytes_of.get(call.caller, 0), limits.max_waiting_bytes),
        ):
            free = limit - held
            if wanted > free or wanted + of_caller > _SHARE * free:
                per_s = self._rate_of(call)
                self._refuse(line, "the queue is full", call.n_waiting / per_s if per_s else None)

    def _check_deadline(self, call: Call, now: float) -> None:
        """Refuse what would come too late behind what waits and what is under way."""
        deadline, per_s = call.origin.deadline, self._rate_of(call)
        if deadline is None or per_s is None:
            return
        line, interactive = self._lines[call.work_class], self._lines[WorkClass.INTERACTIVE]
        n_ahead = line.queue.n_ahead(call) + line.ahead_of.get(call.network, 0)
        if call.work_class is WorkClass.BULK:
            n_ahead += interactive.queue.waiting_of.get(call.network, 0) + interactive.ahead_of.get(call.network, 0)
        elif n_ahead and self._lines[WorkClass.BULK].queue.waiting_of.get(call.network):
            n_ahead += n_ahead // BULK_TURN
        needed_s, left_s = (n_ahead + call.n_waiting) / per_s, deadline - now
        if n_ahead and needed_s > _SAFE_SHARE * left_s:  # with nobody ahead, trying is better than guessing
            text = f"the answer would take about {needed_s:.2g} s, too close to the call's deadline in {left_s:.2g} s"
            self._refuse(line, text, needed_s - _SAFE_SHARE * left_s)

    def _rate_of(self, call: Call) -> float | None:
        """Return the views per second of a call's network, beside whatever else runs; None if it is not known yet."""
        rate = self.rates.get(call.network)
        return rate.per_s if rate else None

    def _refuse(self, line: _Line, text: str, after_s: float | None) -> None:
        after_s = min(max(after_s or _USUAL_RETRY_S, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
        raise ResourceExhausted(
            f"{text}: {line.n_views} images wait. Retry after {after_s:.2g} s",
            name="images",
            retry_after_s=after_s,
            reason=Reason.QUEUE_FULL,
        )

    def _hold(self, line: _Line, call: Call, n_views: int, n_bytes: int) -> None:
        line.n_views += n_views
        line.n_bytes += n_bytes
        for held, change in ((line.views_of, n_views), (line.bytes_of, n_bytes)):
            held[call.caller] = held.get(call.caller, 0) + change
            if not held[call.caller]:
                del held[call.caller]

    def _release(self, picture: Picture) -> None:
        self._hold(self._lines[picture.call.work_class], picture.call, -picture.call.views, -picture.n_bytes)

    def _come(self, call: Call, n_views: int) -> None:
        key = (call.network, call.work_class)
        self._coming[key] = self._coming.get(key, 0) + n_views
        if not self._coming[key]:
            del self._coming[key]


def _is_late(call: Call, now: float) -> bool:
    return call.origin.deadline is not None and now > call.origin.deadline
