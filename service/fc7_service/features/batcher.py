"""Natural batching: whenever the engine is free it takes what is ready, up to the maximum batch.

There is no timer and no idle wait. A single caller gets a batch of one at once; many callers get large batches,
because the queue has filled while the engine was busy.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, Reason, Unavailable

MAX_BATCH = 32  # on a CPU, 32 images per batch are within 2 % of the rate of 64, at half the delay
_STOPPING = "the server is stopping: send the call again"


class Engine(Protocol):
    """What runs a batch."""

    provider: str

    def run(self, batch: NDArray[np.float32], layers: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return each layer (N, D) of ``batch`` (N, 3, H, W)."""
        ...


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of the engine."""

    taken: float  # monotonic seconds at which it left the queue
    compute_s: float


@dataclass(frozen=True, slots=True)
class ComputedFeature:
    """The feature of one tensor."""

    values: NDArray[np.float32]  # (D,)
    batch: BatchRun


@dataclass(slots=True)
class _Request:
    tensor: NDArray[np.float32]  # (3, H, W)
    layer: str
    future: asyncio.Future[ComputedFeature]


@dataclass(slots=True)
class _Outcome:
    work: _Request
    row: ComputedFeature | None = None
    error: Exception | None = None


class Batcher:
    """An engine behind a queue, on a thread of its own that starts with the first tensor.

    Parameters
    ----------
    load
        Makes the engine; called once, on that thread. What it raises is raised by
        every ``submit`` until a later call of it succeeds.
    on_run
        Called on that thread after every run, with the number of images and the seconds.
    """

    def __init__(
        self, load: Callable[[], Engine], on_run: Callable[[int, float], None] = lambda n, seconds: None
    ) -> None:
        self._load, self._on_run = load, on_run
        self._engine: Engine | None = None
        self._works: deque[_Request] = deque()
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.n_batches = 0  # runs of the engine so far

    @property
    def provider(self) -> str:
        """Execution provider in use; empty before the first run."""
        return self._engine.provider if self._engine else ""

    async def submit(self, tensor: NDArray[np.float32], layer: str) -> ComputedFeature:
        """Return the feature of ``tensor`` (3, H, W); if cancelled before the run, it is never computed.

        Raises
        ------
        Unavailable
            The batcher is closed.
        Fc7Error
            What loading the engine raised; a failed run raises its own exception.
        """
        work = _Request(tensor, layer, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._is_closed:
                raise Unavailable(_STOPPING, reason=Reason.SERVER_STOPPING)
            self._works.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fc7-engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return await work.future

    def close(self) -> None:
        """Let the current run end, refuse the requests that wait, end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._engine = None

    def _run(self) -> None:
        while (works := self._take()) is not None:
            try:
                outcomes = self._compute(works)
            except Exception as error:  # handed to every caller of this batch; the thread goes on
                outcomes = [_Outcome(work, error=error) for work in works]
            _deliver(outcomes)

    def _take(self) -> list[_Request] | None:
        """Wait for work; return up to a batch of one picture size, or None once closed."""
        with self._changed:
            batch: list[_Request] = []
            while not batch:
                if self._is_closed:
                    _deliver(
                        [
                            _Outcome(work, error=Unavailable(_STOPPING, reason=Reason.SERVER_STOPPING))
                            for work in self._works
                        ]
                    )
                    self._works.clear()
                    return None
                if not self._works:
                    self._changed.wait()
                shape = self._works[0].tensor.shape if self._works else ()
                others: list[_Request] = []
                while self._works and len(batch) < MAX_BATCH:
                    work = self._works.popleft()
                    if work.tensor.shape != shape:
                        others.append(work)
                    elif not work.future.cancelled():  # a caller may leave at any moment
                        batch.append(work)
                self._works.extendleft(reversed(others))  # first in the next batch
            return batch

    def _compute(self, works: list[_Request]) -> list[_Outcome]:
        if self._engine is None:
            self._engine = self._load()
        taken = time.monotonic()
        layers = sorted({work.layer for work in works})
        outputs = dict(zip(layers, self._engine.run(np.stack([w.tensor for w in works]), layers), strict=True))
        self.n_batches += 1
        batch = BatchRun(taken, time.monotonic() - taken)
        self._on_run(len(works), batch.compute_s)
        return [_Outcome(work, ComputedFeature(outputs[work.layer][i], batch)) for i, work in enumerate(works)]


def _deliver(outcomes: list[_Outcome]) -> None:
    """Hand results to their event loops, with one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome.work.future.get_loop(), []).append(outcome)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, mine)
        except RuntimeError:  # the loop is closed, so nobody waits any more
            continue


def _settle(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.work.future
        if future.done():
            continue
        if outcome.row is not None:
            future.set_result(outcome.row)
        else:
            future.set_exception(outcome.error or Fc7Error("the engine gave no result"))
