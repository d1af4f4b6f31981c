"""Natural batching: whenever the engine is free it takes what is ready, up to the maximum batch.

The engine waits only while the cores decode pictures that join the batch. A single caller gets a batch of one at once;
many callers get large batches.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DeadlineExceeded, Fc7Error, Reason, Unavailable
from fc7_service.features.session import CPU
from fc7_service.scheduling.batch_choice import BatchChoice, Ready
from fc7_service.scheduling.call import WorkClass

MAX_BATCH = 32  # on a CPU, 32 images per batch are within 2 % of the rate of 64, at half the delay
NO_THREAD = "the server cannot start a thread, because the machine or its container has none left. Try again later"
LATE = "the deadline passed before the network ran. Allow more time"
STOPPING = "the server is stopping: send the call again"
_LOOK_AGAIN_S = 0.01  # while the engine waits for more
_IDLE_S = 30.0  # after which the memory of large batches is given back


class Engine(Protocol):
    """What runs a batch."""

    provider: str

    def run(self, batch: NDArray[np.float32], layers: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return each layer (N, D) of ``batch`` (N, 3, H, W)."""
        ...

    def give_back(self) -> None:
        """Give the memory of large batches back to the machine."""
        ...


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of the engine."""

    taken: float  # monotonic seconds at which it left the queue
    compute_s: float


@dataclass(frozen=True, slots=True)
class ComputedFeature:
    """The features of the views of one picture."""

    values: NDArray[np.float32]  # (V, D)
    batch: BatchRun


@dataclass(slots=True)
class Request:
    """A picture that is ready for the network."""

    tensors: NDArray[np.float32]  # (V, 3, H, W), one per view
    layer: str
    future: asyncio.Future[Any]  # gets a ComputedFeature
    work_class: WorkClass = WorkClass.INTERACTIVE
    ready: float = field(default_factory=time.monotonic)  # seconds at which it was decoded
    deadline: float | None = None  # monotonic seconds after which nobody wants the feature


@dataclass(slots=True)
class _Outcome:
    request: Request
    feature: ComputedFeature | None = None
    error: Exception | None = None


class Batcher:
    """An engine behind a queue, on a thread of its own that starts with the first picture.

    Parameters
    ----------
    load
        Makes the engine. It is called on that thread. If it raises, all waiting requests get the error, and the next
        request tries again.
    n_coming
        Says how many views of a class wait to be decoded for this engine.
    on_run
        Called on that thread after every run, with the number of images and the seconds.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        n_coming: Callable[[WorkClass], int] = lambda _: 0,
        on_run: Callable[[int, float], None] = lambda n, seconds: None,
    ) -> None:
        self._load, self._n_coming, self._on_run = load, n_coming, on_run
        self._engine: Engine | None = None
        self._waiting: dict[WorkClass, deque[Request]] = {kind: deque() for kind in WorkClass}
        self._choice = BatchChoice(MAX_BATCH)
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.n_batches = 0  # runs of the engine so far
        self._is_swollen = False  # holds the memory of a batch of several views

    @property
    def provider(self) -> str:
        """Execution provider in use; empty before the first run."""
        return self._engine.provider if self._engine else ""

    def put(self, request: Request) -> None:
        """Queue a picture, from any thread. If its future is cancelled before the run, it is never computed.

        The future gets the feature, or what loading or running the engine raised.

        Raises
        ------
        Unavailable
            The batcher is closed, or its thread cannot be started.
        """
        with self._changed:
            if self._is_closed:
                raise Unavailable(STOPPING, reason=Reason.SERVER_STOPPING)
            if self._thread is None:
                self._thread = self._start()
            self._waiting[request.work_class].append(request)
            self._changed.notify()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="fc7-engine", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no more; the next picture tries again
            raise Unavailable(NO_THREAD) from error
        return thread

    def close(self) -> None:
        """Let the run under way end, refuse what waits, end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._engine = None

    def _run(self) -> None:
        while (requests := self._take()) is not None:
            try:
                outcomes = self._compute(requests)
            except Exception as error:  # handed to every caller of this batch; the thread goes on
                outcomes = [_Outcome(request, error=error) for request in requests]
            _deliver(outcomes)

    def _take(self) -> list[Request] | None:
        """Wait for work; return up to a batch of one picture size, or None once closed."""
        with self._changed:
            while not self._is_closed:
                if not any(self._waiting.values()):
                    if not self._changed.wait(_IDLE_S if self._is_swollen else None):
                        self._give_back()
                elif (chosen := self._choose()) is None:
                    self._changed.wait(_LOOK_AGAIN_S)  # what is coming may also have failed or been given up
                elif batch := self._pick(*chosen):
                    return batch
            error = Unavailable(STOPPING, reason=Reason.SERVER_STOPPING)
            _deliver([_Outcome(request, error=error) for waiting in self._waiting.values() for request in waiting])
            for waiting in self._waiting.values():
                waiting.clear()
            return None

    def _give_back(self) -> None:
        self._is_swollen = False
        try:
            if self._engine is not None:
                self._engine.give_back()
        except Exception:  # whatever is wrong with the engine: the next request loads another one, and gets the error
            self._engine = None

    def _choose(self) -> tuple[WorkClass, int] | None:
        now = time.monotonic()
        ready = {
            kind: Ready(sum(len(r.tensors) for r in waiting), self._n_coming(kind), now - waiting[0].ready)
            if waiting
            else Ready(0, 0, 0.0)
            for kind, waiting in self._waiting.items()
        }
        shares_cores = self.provider in ("", CPU)
        return self._choice.choose(ready[WorkClass.INTERACTIVE], ready[WorkClass.BULK], now, shares_cores=shares_cores)

    def _pick(self, kind: WorkClass, size: int) -> list[Request]:
        """Remove and return up to ``size`` views of the picture size that is first in line.

        Cancelled ones are lost, and those that are late are told so: under overload their callers leave later than
        the deadline passes.
        """
        waiting = self._waiting[kind]
        shape, batch, others = waiting[0].tensors.shape[1:], list[Request](), list[Request]()
        n_views, now, late = 0, time.monotonic(), DeadlineExceeded(LATE)
        while waiting and (not batch or n_views + len(waiting[0].tensors) <= size):
            request = waiting.popleft()
            if request.tensors.shape[1:] != shape:
                others.append(request)
            elif request.deadline is not None and now > request.deadline:
                _deliver([_Outcome(request, error=late)])
            elif not request.future.cancelled():  # a caller may leave at any moment
                batch.append(request)
                n_views += len(request.tensors)
        waiting.extendleft(reversed(others))  # first in the next batch
        return batch

    def _compute(self, requests: list[Request]) -> list[_Outcome]:
        if self._engine is None:
            self._engine = self._load()
        taken, kind = time.monotonic(), requests[0].work_class
        layers = sorted({request.layer for request in requests})
        tensors = np.concatenate([request.tensors for request in requests])
        outputs = dict(zip(layers, self._engine.run(tensors, layers), strict=True))
        self.n_batches += 1
        self._is_swollen |= len(tensors) > 1
        now = time.monotonic()
        is_bulk_ready = bool(self._waiting[WorkClass.BULK])
        self._choice.ran(kind, len(tensors), now - taken, now, is_bulk_ready=is_bulk_ready)
        ends = np.cumsum([len(request.tensors) for request in requests])
        run = BatchRun(taken, now - taken)
        self._on_run(len(tensors), run.compute_s)
        return [
            _Outcome(request, ComputedFeature(outputs[request.layer][end - len(request.tensors) : end], run))
            for request, end in zip(requests, ends, strict=True)
        ]


def _deliver(outcomes: list[_Outcome]) -> None:
    """Hand results to their event loops, with one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome.request.future.get_loop(), []).append(outcome)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, mine)
        except RuntimeError:  # the loop is closed, so nobody waits any more
            continue


def _settle(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.request.future
        if future.done():
            continue
        if outcome.feature is not None:
            future.set_result(outcome.feature)
        else:
            future.set_exception(outcome.error or Fc7Error("the engine gave no result"))
