"""The threads that decode: in the scheduler's order, within its memory, and never for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fc7.errors import DeadlineExceeded, ImageDecodeError, Unavailable
from fc7_service.features.decode_threads import DecodeThreads
from fc7_service.scheduling.call import Call, CallOrigin, Picture, WorkClass
from fc7_service.scheduling.scheduler import Limits, Scheduler

AHEAD = dict.fromkeys(WorkClass, 100)
WAIT_S = 20.0


class Work:
    """Writes down what happens to one picture; decoding waits at a gate that a test holds."""

    def __init__(self, name: str, log: list[str], *, n_bytes: int = 1, is_left: bool = False) -> None:
        self.name, self.log, self.n_bytes, self.is_left = name, log, n_bytes, is_left
        self.gate, self.ended = threading.Event(), threading.Event()
        self.is_decoding = threading.Event()
        self.error: Exception | None = None
        self.note: Callable[[], None] = lambda: None

    def open(self) -> int:
        if self.n_bytes < 0:
            raise ImageDecodeError("damaged")
        return self.n_bytes

    def decode(self) -> None:
        self.is_decoding.set()
        assert self.gate.wait(WAIT_S)

    def hand_over(self) -> None:
        self.log.append(self.name)
        self.note()
        self.ended.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.ended.set()


@pytest.fixture
def threads() -> Iterator[DecodeThreads]:
    made = DecodeThreads(Scheduler(Limits(100, 10**6, 10, AHEAD)), 1)
    yield made
    made.close()


def call_of(*works: Work, kind: WorkClass = WorkClass.BULK, deadline: float | None = None) -> Call:
    call = Call(CallOrigin("", deadline), kind, "net")
    call.waiting.extend(Picture(call, 1, work) for work in works)
    return call


def ended(*works: Work) -> bool:
    return all(work.ended.wait(WAIT_S) for work in works)


def test_an_interactive_picture_goes_before_bulk_that_waits_and_bulk_calls_take_turns(threads: DecodeThreads) -> None:
    log: list[str] = []
    first, *others = (Work(name, log) for name in ("a1", "a2", "a3", "b1", "b2", "single"))
    threads.admit(call_of(first, *others[:2]))
    assert first.is_decoding.wait(WAIT_S)
    threads.admit(call_of(*others[2:4]))
    threads.admit(call_of(others[4], kind=WorkClass.INTERACTIVE))
    for work in (first, *others):
        work.gate.set()
    assert ended(first, *others)
    assert log == ["a1", "single", "b1", "a2", "b2", "a3"]


def test_what_is_late_is_told_so_and_what_nobody_waits_for_is_not_decoded(threads: DecodeThreads) -> None:
    log: list[str] = []
    first, late, left, last = Work("1", log), Work("late", log), Work("left", log, is_left=True), Work("last", log)
    threads.admit(call_of(first))
    assert first.is_decoding.wait(WAIT_S)
    threads.admit(call_of(late, deadline=time.monotonic()))
    threads.admit(call_of(left))
    threads.admit(call_of(last))
    for work in (first, late, left, last):
        work.gate.set()
    assert ended(first, late, last)
    assert isinstance(late.error, DeadlineExceeded)
    assert log == ["1", "last"]


def test_the_network_does_not_wait_for_what_it_is_handed(threads: DecodeThreads) -> None:
    work, n_coming = Work("1", []), list[int]()
    work.note = lambda: n_coming.append(threads.n_coming("net", WorkClass.BULK))
    work.gate.set()
    threads.admit(call_of(work))
    assert ended(work)
    assert n_coming == [0]


def test_a_damaged_picture_fails_alone(threads: DecodeThreads) -> None:
    damaged, good = Work("damaged", [], n_bytes=-1), Work("good", [])
    good.gate.set()
    threads.admit(call_of(damaged, good))
    assert ended(damaged, good)
    assert isinstance(damaged.error, ImageDecodeError)
    assert good.error is None


def test_pictures_that_do_not_fit_the_memory_wait_for_each_other() -> None:
    threads = DecodeThreads(Scheduler(Limits(100, 10**6, 10, AHEAD)), 3)
    log: list[str] = []
    large, huge, small = Work("large", log, n_bytes=9), Work("huge", log, n_bytes=1000), Work("small", log, n_bytes=1)
    threads.admit(call_of(large))
    assert large.is_decoding.wait(WAIT_S)
    threads.admit(call_of(huge, small))
    huge.gate.set()
    small.gate.set()
    assert not log  # both wait: the huge one for all the memory, the small one behind it
    large.gate.set()
    assert ended(large, huge, small)
    assert log == ["large", "huge", "small"]
    threads.close()


def test_close_lets_a_decode_end_and_refuses_what_waits(threads: DecodeThreads) -> None:
    under_way, waits = Work("1", []), Work("2", [])
    threads.admit(call_of(under_way, waits))
    assert under_way.is_decoding.wait(WAIT_S)
    closing = threading.Thread(target=threads.close)
    closing.start()
    assert ended(waits)
    under_way.gate.set()
    closing.join(WAIT_S)
    assert under_way.ended.is_set()
    assert isinstance(waits.error, Unavailable)
    with pytest.raises(Unavailable):
        threads.admit(call_of(Work("3", [])))


def test_closing_answers_a_picture_that_was_opened_meanwhile() -> None:
    threads = DecodeThreads(Scheduler(Limits(100, 10**6, 10, AHEAD)), 2)
    first, second = Work("1", [], n_bytes=9), Work("2", [], n_bytes=9)
    is_opening, may_open = threading.Event(), threading.Event()

    def open_slowly() -> int:
        is_opening.set()
        assert may_open.wait(WAIT_S)
        return 9

    second.open = open_slowly  # type: ignore[method-assign]
    threads.admit(call_of(first))
    assert first.is_decoding.wait(WAIT_S)
    threads.admit(call_of(second))
    assert is_opening.wait(WAIT_S)
    closing = threading.Thread(target=threads.close)
    closing.start()
    while not threads._is_closed:
        time.sleep(0.001)
    may_open.set()
    while not threads._scheduler._parked:
        time.sleep(0.001)
    first.gate.set()
    closing.join(WAIT_S)
    assert ended(first, second)
    assert isinstance(second.error, Unavailable)


def test_a_thread_that_cannot_start_leaves_no_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, start, n_left = DecodeThreads(Scheduler(Limits(100, 10**6, 10, AHEAD)), 2), threading.Thread.start, [0]

    def start_some(thread: threading.Thread) -> None:
        if not n_left[0]:
            raise RuntimeError("can't start new thread")
        n_left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(Unavailable, match="cannot start a thread"):
        threads.admit(call_of(Work("none", [])))
    assert threads.n_held == 0
    n_left[0] = 1  # of two; one is enough
    work = Work("one", [])
    work.gate.set()
    threads.admit(call_of(work))
    assert ended(work)
    threads.close()
