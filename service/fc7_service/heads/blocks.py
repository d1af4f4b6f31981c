"""Passes over many rows: block by block, on all cores, always with the same result."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fc7.contract.cores import usable_cores
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.stop_check import StopCheck

T = TypeVar("T")
Part = TypeVar("Part")

BLOCK = 512  # rows of one float32 product; the sums of blocks are added in float64


def row_blocks(n_rows: int) -> list[slice]:
    """Return the blocks of ``n_rows`` rows. They do not depend on the machine, so neither do sums over them."""
    return [slice(start, min(start + BLOCK, n_rows)) for start in range(0, n_rows, BLOCK)]


def on_all_cores(work: Callable[[Part], T], parts: Sequence[Part], check_stop: StopCheck) -> Iterator[T]:
    """Yield ``work(part)`` for each part, in order; ``check_stop`` is called before each.

    The threads are ours, and BLAS has one in each of them. BLAS threads of its own wait for one another by spinning:
    beside one busy core, two of them were 25 times slower than one.
    """
    n_threads = min(usable_cores(), len(parts))
    if n_threads < 2:
        for part in parts:
            check_stop()
            yield work(part)
        return
    waiting: deque[Future[T]] = deque()  # results that were not taken yet are few, because each takes memory
    with ThreadPoolExecutor(n_threads, thread_name_prefix="fc7-fit-block") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > n_threads:
                    check_stop()
                    yield waiting.popleft().result()
            while waiting:
                check_stop()
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Scratch(threading.local):
    """Arrays that a thread uses for block after block: fresh memory costs as much as the arithmetic on it."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def array(self, name: str, n_rows: int, n_columns: int) -> NDArray[np.float32]:
        """Return an array of this shape, with any content; it is this thread's until it asks for ``name`` again."""
        size, held = n_rows * n_columns, self._arrays.get(name)
        if held is None or held.size < size:
            held = self._arrays[name] = np.empty(size, np.float32)
        return held[:size].reshape(n_rows, n_columns)


def logits_in_blocks(
    layer: SoftmaxLayer, features: NDArray[np.float32], members: NDArray[np.intp], check_stop: StopCheck
) -> NDArray[np.float32]:
    """Return the logits (N, C) of some rows of the features."""
    logits = np.empty((len(members), len(layer.bias)), np.float32)

    def fill(rows: slice) -> None:
        logits[rows] = layer.logits(features[members[rows]])

    for _ in on_all_cores(fill, row_blocks(len(members)), check_stop):
        pass
    return logits
