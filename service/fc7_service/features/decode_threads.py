"""Threads that open and decode pictures, in the order that the scheduler decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol, cast

from fc7.errors import DeadlineExceeded, Reason, ResourceExhausted, Unavailable
from fc7_service.features.batcher import NO_THREAD, STOPPING
from fc7_service.scheduling.call import Call, CallOrigin, Picture, WorkClass
from fc7_service.scheduling.scheduler import Scheduler


class DecodingWork(Protocol):
    """What is done for one picture, on a thread."""

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for the picture any more."""
        ...

    def open(self) -> int:
        """Read the header; return the bytes of memory that decoding takes."""
        ...

    def decode(self) -> None:
        """Decode the picture."""
        ...

    def hand_over(self) -> None:
        """Hand the decoded picture to the network, which no longer waits for it."""
        ...

    def fail(self, error: Exception) -> None:
        """Hand an error to whoever waits. Never raises."""
        ...


class DecodeThreads:
    """A scheduler and the threads that it keeps busy. They start with the first call.

    Parameters
    ----------
    scheduler
        Only this object uses it, under one lock. The ``work`` of its pictures is a `DecodingWork`.
    n_threads
        Pictures decoded at once.
    """

    def __init__(self, scheduler: Scheduler, n_threads: int) -> None:
        self._scheduler, self._n_threads = scheduler, n_threads
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def admit(self, call: Call) -> None:
        """Queue a call, or refuse it.

        Raises
        ------
        ResourceExhausted
            There is no room, or no time. The error says when to try again.
        Unavailable
            The server is stopping, or cannot start a thread.
        """
        with self._changed:
            if self._is_closed:
                raise Unavailable(STOPPING, reason=Reason.SERVER_STOPPING)
            self._start()
            self._scheduler.admit(call, time.monotonic())
            self._changed.notify()  # whoever takes a picture wakes the next thread

    def check_room(self, origin: CallOrigin, networks: Iterable[str]) -> None:
        """Refuse a call, before its pictures are known, that no network could answer in time.

        Raises
        ------
        ResourceExhausted
            As `admit`.
        """
        refused: ResourceExhausted | None = None
        with self._changed:
            for network in networks:
                try:
                    self._scheduler.check_room(origin, network, time.monotonic())
                except ResourceExhausted as error:
                    refused = error
                else:
                    return
        if refused is not None:
            raise refused

    def _start(self) -> None:
        """Start the threads that are missing; some are enough."""
        while len(self._threads) < self._n_threads:
            thread = threading.Thread(target=self._run, name="fc7-decode", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the machine has no more; the next call tries again
                if not self._threads:
                    raise Unavailable(NO_THREAD) from error
                return
            self._threads.append(thread)

    def finish(self, picture: Picture, *, has_feature: bool) -> None:
        """Note that a picture is answered or given up."""
        with self._changed:
            self._scheduler.finish(picture, time.monotonic(), has_feature=has_feature)
            self._wake()

    def leave(self, call: Call) -> None:
        """Drop what waits of a call."""
        with self._changed:
            self._scheduler.leave(call)

    @property
    def n_held(self) -> int:
        """Number of views that wait or are under way."""
        return self._scheduler.n_held

    def n_coming(self, network: str, work_class: WorkClass) -> int:
        """Return how many views of a network are not decoded yet. Needs no lock: the next look corrects it."""
        return self._scheduler.n_coming(network, work_class)

    def close(self) -> None:
        """Let the pictures under way end, refuse those that wait, end the threads."""
        with self._changed:
            self._is_closed = True
            waiting = self._scheduler.drain()
            self._changed.notify_all()
        _refuse(waiting)
        for thread in self._threads:
            thread.join()
        _refuse(self._scheduler.drain())  # what a thread opened meanwhile, and found no memory for

    def _run(self) -> None:
        while (picture := self._take()) is not None:
            work = _work(picture)
            try:
                if work.is_left or self._is_decoded(picture, work):
                    self._end(picture)
                    if not work.is_left:
                        work.hand_over()
            except Exception as error:  # handed to the caller of this picture; the thread goes on
                work.fail(error)

    def _take(self) -> Picture | None:
        """Wait for the next picture; None once closed."""
        while True:
            with self._changed:
                picture = None if self._is_closed else self._scheduler.take(time.monotonic())
                late, self._scheduler.expired = self._scheduler.expired, []
                if picture:
                    self._wake()
                elif not (late or self._is_closed):
                    self._changed.wait()
            for expired in late:
                error = DeadlineExceeded("The deadline passed before the images were decoded. Allow more time")
                _work(expired).fail(error)
            if picture or self._is_closed:
                return picture

    def _is_decoded(self, picture: Picture, work: DecodingWork) -> bool:
        """Open and decode a picture; return False if it must wait for memory first."""
        try:
            if not picture.decoding_bytes:
                n_bytes = max(1, work.open())
                with self._changed:
                    if not self._scheduler.open(picture, n_bytes):
                        return False
            work.decode()
        except Exception:
            self._end(picture)
            raise
        return True

    def _end(self, picture: Picture) -> None:
        with self._changed:
            self._scheduler.decoded(picture)
            self._wake()

    def _wake(self) -> None:
        """Wake a thread if there is something to decode: a thread that wakes for nothing costs as much as a call."""
        if self._scheduler.has_next:
            self._changed.notify()


def _refuse(waiting: list[Picture]) -> None:
    for picture in waiting:
        _work(picture).fail(Unavailable(STOPPING, reason=Reason.SERVER_STOPPING))


def _work(picture: Picture) -> DecodingWork:
    return cast(DecodingWork, picture.work)
