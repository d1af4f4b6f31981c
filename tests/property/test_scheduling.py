"""The scheduler's rules, for any calls in any order: fair, in order, within its quotas, each picture once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fc7.errors import ResourceExhausted
from fc7_service.scheduling.batch_choice import BatchChoice, Ready
from fc7_service.scheduling.call import MAX_INTERACTIVE_VIEWS, Call, CallOrigin, Picture, WorkClass, class_of
from fc7_service.scheduling.fair_queue import FairQueue
from fc7_service.scheduling.scheduler import BULK_TURN, Limits, Scheduler

INTERACTIVE, BULK = WorkClass.INTERACTIVE, WorkClass.BULK
MANY = Limits(10**6, 10**9, 10**9, {INTERACTIVE: 10**6, BULK: 10**6})


def call_of(caller: str, n: int, kind: WorkClass = BULK, *, deadline: float | None = None, **options: Any) -> Call:
    call = Call(CallOrigin(caller, deadline), kind, options.pop("network", "net"), **options)
    call.waiting.extend(Picture(call, 10, i) for i in range(n))
    return call


@given(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), min_size=1, max_size=5))
def test_callers_and_their_calls_are_served_alike_while_they_wait(callers: list[list[int]]) -> None:
    queue = FairQueue()
    calls = {str(name): [call_of(str(name), n) for n in sizes] for name, sizes in enumerate(callers)}
    for name in calls:
        for call in calls[name]:
            queue.add(call)
    served = dict.fromkeys(calls, 0)
    served_calls = {call: 0 for group in calls.values() for call in group}
    total = sum(sum(sizes) for sizes in callers)
    for _ in range(total):
        picture = queue.take()
        assert picture is not None
        assert picture.work == served_calls[picture.call]  # in the order given
        served[picture.call.caller] += 1
        served_calls[picture.call] += 1
        waiting = [name for name, group in calls.items() if any(call.waiting for call in group)]
        assert all(served[picture.call.caller] <= served[name] + 1 for name in waiting)
        beside = [call for call in calls[picture.call.caller] if call.waiting]
        assert all(served_calls[picture.call] <= served_calls[call] + 1 for call in beside)
    assert queue.take() is None
    assert queue.n_waiting == 0


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_newcomer_is_neither_paid_for_time_away_nor_made_to_wait(n_before: int, n_new: int) -> None:
    queue = FairQueue()
    queue.add(call_of("old", n_before + n_new + 2))
    for _ in range(n_before):
        queue.take()
    queue.add(call_of("new", n_new))
    taken = [picture.call.caller for _ in range(2 * n_new) if (picture := queue.take()) is not None]
    assert abs(taken.count("new") - taken.count("old")) <= 1


def test_who_costs_more_comes_back_later_even_after_leaving() -> None:
    queue = FairQueue()
    queue.add(call_of("small", 20))
    for _ in range(3):
        heavy = call_of("heavy", 1)
        queue.add(heavy)
        while (picture := queue.take()) is not None and picture.call is not heavy:
            pass
        queue.charge(heavy, 4)
    queue.add(call_of("heavy", 1))
    order = [picture.call.caller for _ in range(10) if (picture := queue.take()) is not None]
    assert 5 <= order.index("heavy") <= 6  # a picture and its charge are five views


@given(st.integers(1, 30), st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=8))
def test_the_work_ahead_of_a_call_is_known_on_arrival(n: int, others: list[tuple[str, int]]) -> None:
    queue = FairQueue()
    for caller, size in others:
        queue.add(call_of(caller, size))
    call = call_of("a", n)
    expected = queue.n_ahead(call)
    queue.add(call)
    taken = 0
    while call.waiting:
        queue.take()
        taken += 1
    n_rivals = len({caller for caller, _ in others}) + len(others)
    assert taken - n <= expected <= taken - n + n_rivals  # who is first among equals is not foreseen


@dataclass
class _Held:
    """What a machine knows of one call."""

    call: Call
    n: int
    taken: list[int] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    is_left: bool = False


class SchedulerMachine(RuleBasedStateMachine):
    """Calls come, are decoded, finish, run late and leave, in any order."""

    limits = Limits(40, 4000, 100, {INTERACTIVE: 6, BULK: 4})

    @initialize()
    def begin(self) -> None:
        self.scheduler = Scheduler(self.limits)
        self.now = 0.0
        self.calls: dict[Call, _Held] = {}
        self.opened: list[Picture] = []  # decoding, with their memory
        self.taken: list[Picture] = []  # not opened yet
        self.decoded: list[Picture] = []
        self.parked: set[Picture] = set()
        self.interactive_in_a_row = 0

    @rule(
        caller=st.sampled_from("abc"),
        n=st.integers(1, 12),
        kind=st.sampled_from(list(WorkClass)),
        deadline_s=st.none() | st.floats(0.1, 5),
        can_wait=st.booleans(),
        views=st.sampled_from([1, 3]),
        network=st.sampled_from(["net", "other"]),
    )
    def arrive(
        self, caller: str, n: int, kind: WorkClass, deadline_s: float | None, can_wait: bool, views: int, network: str
    ) -> None:
        deadline = None if deadline_s is None else self.now + deadline_s
        call = call_of(caller, n, kind, deadline=deadline, can_wait=can_wait, views=views, network=network)
        line = self.scheduler._lines[kind]
        before = line.n_views
        try:
            self.scheduler.admit(call, self.now)
        except ResourceExhausted as refusal:
            is_ahead = any(line.queue.n_waiting for line in self.scheduler._lines.values())
            is_reason = before or (deadline is not None and is_ahead)  # no room, or no time
            is_right = is_reason and (refusal.retry_after_s or 0) > 0
            is_right &= not can_wait or before > 0  # whoever can wait is not refused because time is short
        else:
            is_right = not before or line.n_views <= self.limits.max_waiting_views
            self.calls[call] = _Held(call, n)
        assert is_right

    @rule(passed_s=st.floats(0.001, 1))
    def take(self, passed_s: float) -> None:
        self.now += passed_s
        bulk = self.scheduler._lines[BULK]
        calls = [call for call in bulk.queue.calls() if call.network not in bulk.full]
        bulk_waits = any(self._is_wanted(picture) for call in calls for picture in call.waiting)
        picture = self.scheduler.take(self.now)
        for late in self.scheduler.expired:
            held = self.calls[late.call]
            assert late.call.origin.deadline is not None
            held.is_left = True
            self.scheduler.finish(late, self.now, has_feature=False)
        self.scheduler.expired.clear()
        if picture is None:
            return
        if picture in self.parked:
            self.parked.remove(picture)
            self.opened.append(picture)
            return
        held = self.calls[picture.call]
        assert not held.is_left
        held.taken.append(int(picture.work))  # type: ignore[call-overload]
        assert held.taken == sorted(held.taken)
        assert len(set(held.taken)) == len(held.taken)
        self.taken.append(picture)
        is_passed = picture.call.work_class is INTERACTIVE and bulk_waits
        self.interactive_in_a_row = self.interactive_in_a_row + 1 if is_passed else 0
        assert self.interactive_in_a_row < BULK_TURN

    def _is_wanted(self, picture: Picture) -> bool:
        deadline = picture.call.origin.deadline
        return not picture.is_abandoned and (deadline is None or deadline >= self.now)

    @precondition(lambda self: self.taken)
    @rule(n_bytes=st.integers(1, 150))
    def open(self, n_bytes: int) -> None:
        picture = self.taken.pop(0)
        if self.scheduler.open(picture, n_bytes):
            self.opened.append(picture)
        else:
            self.parked.add(picture)

    @precondition(lambda self: self.opened)
    @rule(data=st.data())
    def decode(self, data: st.DataObject) -> None:
        picture = self.opened.pop(data.draw(st.integers(0, len(self.opened) - 1)))
        self.scheduler.decoded(picture)
        self.decoded.append(picture)

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def abandon_parked(self, data: st.DataObject) -> None:
        """Give up a picture that waits for memory."""
        picture = data.draw(st.sampled_from(sorted(self.parked, key=lambda picture: id(picture))))
        self.parked.remove(picture)
        self.scheduler.finish(picture, self.now, has_feature=False)
        self.calls[picture.call].ended.add(int(picture.work))  # type: ignore[call-overload]

    @precondition(lambda self: self.decoded)
    @rule(data=st.data(), has_feature=st.booleans())
    def finish(self, data: st.DataObject, has_feature: bool) -> None:
        picture = self.decoded.pop(data.draw(st.integers(0, len(self.decoded) - 1)))
        self.scheduler.finish(picture, self.now, has_feature=has_feature)
        ended = self.calls[picture.call].ended
        assert picture.work not in ended
        ended.add(int(picture.work))  # type: ignore[call-overload]

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(list(self.calls.values())))
        self.scheduler.leave(held.call)
        held.is_left = True

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def abandon_one(self, data: st.DataObject) -> None:
        """Give up a picture that waits, as the future of a call that is being cancelled does."""
        held = data.draw(st.sampled_from(list(self.calls.values())))
        if held.call.waiting:
            picture = held.call.waiting[0]
            if not picture.is_abandoned:
                self.scheduler.finish(picture, self.now, has_feature=False)
                held.n -= 1

    @invariant()
    def memory_is_never_handed_out_twice(self) -> None:
        held = sum(picture.decoding_bytes for picture in self.opened)
        assert held <= self.limits.max_decoding_bytes
        assert self.scheduler._free_bytes == self.limits.max_decoding_bytes - held

    @invariant()
    def few_are_under_way(self) -> None:
        for kind, line in self.scheduler._lines.items():
            under_way = [*self.taken, *self.parked, *self.opened, *self.decoded]
            for network in ("net", "other"):
                mine = [p for p in under_way if p.call.work_class is kind and p.call.network == network]
                n_ahead = line.ahead_of.get(network, 0)
                assert n_ahead == sum(p.call.views for p in mine) < self.limits.max_ahead[kind] + 3

    def teardown(self) -> None:
        """Everybody who stayed is served, and nothing is left over."""
        if not hasattr(self, "scheduler"):
            return
        for held in self.calls.values():
            if held.call.origin.deadline is not None and not held.is_left:
                self.scheduler.leave(held.call)
                held.is_left = True
        for _ in range(10_000):
            while self.taken:
                self.open(1)
            for picture in self.opened:
                self.scheduler.decoded(picture)
            self.decoded += self.opened
            self.opened = []
            for picture in self.decoded:
                self.scheduler.finish(picture, self.now, has_feature=True)
                self.calls[picture.call].ended.add(int(picture.work))  # type: ignore[call-overload]
            self.decoded = []
            self.take(0.001)
            if not (self.taken or self.opened or self.parked):
                break
        assert all(len(held.ended) == held.n for held in self.calls.values() if not held.is_left)
        for line in self.scheduler._lines.values():
            assert (line.n_views, line.n_bytes, line.queue.n_waiting) == (0, 0, 0)
            assert not line.ahead_of
            assert not line.full
            assert not line.views_of
            assert not line.bytes_of
        assert not self.scheduler._coming
        assert self.scheduler._free_bytes == self.limits.max_decoding_bytes


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def serve(scheduler: Scheduler, n: int, now: float, view_s: float) -> float:
    """Serve pictures one after the other, each in ``view_s`` seconds; return the time."""
    for _ in range(n):
        picture = scheduler.take(now)
        assert picture is not None
        scheduler.decoded(picture)
        now += view_s
        scheduler.finish(picture, now, has_feature=True)
    return now


def test_a_call_that_cannot_be_served_in_time_is_refused_with_the_time_it_lacks() -> None:
    scheduler = Scheduler(MANY)
    scheduler.admit(call_of("a", 200, INTERACTIVE), 0.0)
    now = serve(scheduler, 100, 0.0, 0.01)
    assert scheduler.rates["net"].per_s == pytest.approx(100)
    with pytest.raises(ResourceExhausted, match=r"about 0\.2 s.* deadline in 0\.2 s") as refused:
        scheduler.admit(call_of("a", 10, INTERACTIVE, deadline=now + 0.2), now)
    # Served in turns with the call that waits: 20 pictures at 100 per second.
    assert refused.value.retry_after_s == pytest.approx(0.1)
    scheduler.admit(call_of("a", 10, INTERACTIVE, deadline=now + 0.41), now)
    scheduler.admit(call_of("b", 1, INTERACTIVE, deadline=now + 0.1), now)  # its turn comes at once


def test_what_is_under_way_is_ahead_as_much_as_what_waits() -> None:
    """A network slower than decoding holds many decoded pictures, and whoever comes now waits for them."""
    scheduler = Scheduler(MANY)
    scheduler.admit(call_of("a", 100, INTERACTIVE), 0.0)
    now = serve(scheduler, 50, 0.0, 0.01)
    for _ in range(50):
        assert scheduler.take(now) is not None
    with pytest.raises(ResourceExhausted, match=r"about 0\.51 s"):
        scheduler.admit(call_of("b", 1, INTERACTIVE, deadline=now + 1.0), now)
    with pytest.raises(ResourceExhausted, match=r"about 0\.51 s"):
        scheduler.admit(call_of("b", 1, BULK, deadline=now + 1.0), now)
    scheduler.admit(call_of("b", 1, INTERACTIVE, deadline=now + 1.1), now)


def test_a_slow_network_keeps_no_other_one_waiting() -> None:
    """Its pictures take all the room that it has. Those of another one behind them go on, judged by their own rate."""
    scheduler = Scheduler(Limits(1000, 10**6, 10**9, dict.fromkeys(WorkClass, 4)))
    scheduler.admit(call_of("a", 20, INTERACTIVE, network="fast"), 0.0)
    now = serve(scheduler, 20, 0.0, 0.01)
    scheduler.admit(call_of("a", 100, INTERACTIVE, network="slow"), now)
    for _ in range(4):
        assert scheduler.take(now) is not None
    assert not scheduler.has_next
    scheduler.admit(call_of("a", 3, INTERACTIVE, network="fast"), now)
    scheduler.admit(call_of("a", 3, INTERACTIVE, network="fast", deadline=now + 0.3), now)
    taken = [picture.call.network for _ in range(6) if (picture := scheduler.take(now)) is not None]
    assert taken == ["fast"] * 4
    with pytest.raises(ResourceExhausted, match="too close to the call's deadline"):
        scheduler.admit(call_of("b", 30, INTERACTIVE, network="fast", deadline=now + 0.3), now)


def test_an_idle_server_tries_what_it_has_not_measured_or_may_miss() -> None:
    scheduler = Scheduler(MANY)
    scheduler.admit(call_of("a", 100, INTERACTIVE, deadline=0.5), 0.0)
    serve(scheduler, 20, 0.0, 0.01)
    idle = Scheduler(MANY)
    idle.admit(call_of("a", 20, INTERACTIVE), 0.0)
    now = serve(idle, 20, 0.0, 1.0)
    idle.admit(call_of("a", 1, INTERACTIVE, deadline=now + 0.5), now)
    assert idle.take(now) is not None


def test_what_is_late_is_dropped_before_it_is_decoded() -> None:
    scheduler = Scheduler(MANY)
    late, other = call_of("a", 3, INTERACTIVE, deadline=1.0), call_of("b", 1, INTERACTIVE)
    scheduler.admit(late, 0.0)
    scheduler.admit(other, 0.0)
    picture = scheduler.take(1.5)
    assert picture is not None
    assert picture.call is other
    assert [one.call for one in scheduler.expired] == [late]
    assert scheduler.take(1.5) is None
    assert scheduler.n_coming("net", INTERACTIVE) == 1


def test_a_slow_start_does_not_take_time_from_later_deadlines() -> None:
    scheduler = Scheduler(MANY)
    scheduler.admit(call_of("a", 1, INTERACTIVE), 0.0)
    now = serve(scheduler, 1, 0.0, 3.0)  # the network was loaded meanwhile
    scheduler.admit(call_of("a", 1, INTERACTIVE, deadline=now + 2), now)
    assert scheduler.take(now) is not None
    scheduler.admit(call_of("b", 1, INTERACTIVE, deadline=now + 2), now)
    assert scheduler.take(now) is not None
    assert scheduler.expired == []


def test_what_is_given_up_while_it_waits_for_memory_leaves_nothing_behind() -> None:
    scheduler = Scheduler(Limits(100, 10**6, 10, MANY.max_ahead))
    scheduler.admit(call_of("a", 3), 0.0)
    first, second, third = (scheduler.take(0.0) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert scheduler.open(first, 9)
    assert not scheduler.open(second, 9)
    assert not scheduler.open(third, 1)
    scheduler.finish(second, 1.0, has_feature=False)
    assert scheduler.take(1.0) is third
    assert scheduler.n_coming("net", BULK) == 2
    assert scheduler.n_held == 2


def test_callers_that_come_once_leave_no_debts() -> None:
    queue = FairQueue()
    for i in range(100):
        queue.add(call_of(str(i), 1))
        assert queue.take() is not None
    assert queue._debts == {}


def test_bulk_work_leaves_the_queue_of_the_interactive_alone_and_newcomers_find_room() -> None:
    scheduler = Scheduler(Limits(100, 10**6, 10**6, MANY.max_ahead))
    scheduler.admit(call_of("a", 100), 0.0)
    with pytest.raises(ResourceExhausted, match="the queue is full: 100 images wait"):
        scheduler.admit(call_of("a", 1), 0.0)
    scheduler.admit(call_of("b", 1, INTERACTIVE), 0.0)
    some = Scheduler(Limits(100, 10**6, 10**6, MANY.max_ahead))
    for _ in range(80):
        some.admit(call_of("a", 1), 0.0)
    with pytest.raises(ResourceExhausted):
        some.admit(call_of("a", 1), 0.0)
    for _ in range(15):
        some.admit(call_of("b", 1), 0.0)


def test_the_class_of_a_call_is_what_it_says_or_what_its_size_tells() -> None:
    few, many = MAX_INTERACTIVE_VIEWS, MAX_INTERACTIVE_VIEWS + 1
    assert class_of(CallOrigin(), few, is_stream=False) is INTERACTIVE
    assert class_of(CallOrigin(), many, is_stream=False) is BULK
    assert class_of(CallOrigin(), 1, is_stream=True) is BULK
    assert class_of(CallOrigin(work_class=INTERACTIVE), many, is_stream=True) is INTERACTIVE
    assert class_of(CallOrigin(work_class=BULK), 1, is_stream=False) is BULK


NOTHING = Ready(0, 0, 0.0)


def test_the_network_waits_for_what_is_being_decoded_but_not_for_the_less_urgent() -> None:
    choice = BatchChoice(32)
    one, more_to_come = Ready(1, 0, 0.0), Ready(1, 5, 0.001)
    assert choice.choose(one, Ready(3, 50, 0.0), 0.0, shares_cores=True) == (INTERACTIVE, 32)
    assert choice.choose(more_to_come, NOTHING, 0.0, shares_cores=True) is None
    assert choice.choose(more_to_come, Ready(32, 5, 0.01), 0.0, shares_cores=True) is None
    assert choice.choose(more_to_come, NOTHING, 0.0, shares_cores=False) == (INTERACTIVE, 32)
    assert choice.choose(Ready(1, 5, 1.0), NOTHING, 0.0, shares_cores=True) == (INTERACTIVE, 32)
    assert choice.choose(Ready(16, 5, 0.0), NOTHING, 0.0, shares_cores=True) == (INTERACTIVE, 32)
    assert choice.choose(NOTHING, Ready(31, 5, 0.0), 0.0, shares_cores=True) is None
    assert choice.choose(NOTHING, Ready(31, 0, 0.0), 0.0, shares_cores=True) == (BULK, 32)


def test_bulk_batches_are_short_while_somebody_waits_for_single_pictures_and_get_their_turn() -> None:
    choice = BatchChoice(32)
    choice.ran(BULK, 32, 0.16, 0.0, is_bulk_ready=True)  # 5 ms per view
    assert choice.choose(NOTHING, Ready(40, 9, 0.0), 1.0, shares_cores=True) == (BULK, 32)
    choice.ran(INTERACTIVE, 1, 0.01, 1.0, is_bulk_ready=True)
    assert choice.choose(NOTHING, Ready(6, 9, 0.0), 1.1, shares_cores=True) == (BULK, 6)
    assert choice.choose(NOTHING, Ready(40, 9, 0.0), 2.1, shares_cores=True) == (BULK, 32)
    for _ in range(BULK_TURN - 2):
        choice.ran(INTERACTIVE, 1, 0.01, 3.0, is_bulk_ready=True)
    assert choice.choose(Ready(1, 0, 0.0), Ready(6, 0, 0.0), 3.0, shares_cores=True) == (BULK, 6)
