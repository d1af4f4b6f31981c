"""Natural batching: rows reach their callers, whoever asks and whoever leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fc7.errors import DataLoss, DeadlineExceeded, Unavailable
from fc7_service.features import batcher as module
from fc7_service.features.batcher import MAX_BATCH, Batcher, ComputedFeature, Request


class Doubler:
    """Returns twice ("two") or thrice ("three") its input; waits at a gate that a test holds."""

    provider = "test"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Event()
        self.sizes: list[int] = []
        self.error: Exception | None = None

    def run(self, batch: NDArray[np.float32], layers: Sequence[str]) -> list[NDArray[np.float32]]:
        self.running.set()
        assert self.gate.wait(10)
        self.sizes.append(len(batch))
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return [batch.reshape(len(batch), -1) * {"two": 2, "three": 3}[layer] for layer in layers]


def tensor(value: float) -> NDArray[np.float32]:
    return np.full((1, 3, 1, 1), value, np.float32)


async def submit(batcher: Batcher, tensors: NDArray[np.float32], layer: str) -> ComputedFeature:
    future: asyncio.Future[ComputedFeature] = asyncio.get_running_loop().create_future()
    batcher.put(Request(tensors, layer, future))
    return await future


async def until(condition: threading.Event) -> None:
    assert await asyncio.to_thread(condition.wait, 10)


async def test_one_caller_gets_batch_one_and_waiting_callers_share_the_next() -> None:
    engine = Doubler()
    batcher = Batcher(lambda: engine)
    engine.gate.clear()
    first = asyncio.create_task(submit(batcher, tensor(0), "two"))
    await until(engine.running)
    others = [asyncio.create_task(submit(batcher, tensor(i), "two")) for i in range(1, MAX_BATCH + 4)]
    await asyncio.sleep(0)
    engine.gate.set()
    rows = await asyncio.gather(first, *others)
    assert engine.sizes == [1, MAX_BATCH, 3]
    assert [row.values[0, 0] for row in rows] == [2.0 * i for i in range(MAX_BATCH + 4)]
    batcher.close()


async def test_what_is_cancelled_before_its_run_is_never_computed() -> None:
    engine = Doubler()
    batcher = Batcher(lambda: engine)
    engine.gate.clear()
    first = asyncio.create_task(submit(batcher, tensor(0), "two"))
    await until(engine.running)
    left = asyncio.create_task(submit(batcher, tensor(1), "two"))
    stays = asyncio.create_task(submit(batcher, tensor(2), "two"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    engine.gate.set()
    assert (await stays).values[0, 0] == 4
    await first
    assert engine.sizes == [1, 1]
    batcher.close()


async def test_what_is_late_when_its_turn_comes_is_told_so_and_never_computed() -> None:
    engine = Doubler()
    batcher = Batcher(lambda: engine)
    engine.gate.clear()
    first = asyncio.create_task(submit(batcher, tensor(0), "two"))
    await until(engine.running)
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
    for future, left_s in zip(futures, (0.0, 60.0), strict=True):
        batcher.put(Request(tensor(1), "two", future, deadline=time.monotonic() + left_s))
    engine.gate.set()
    await first
    with pytest.raises(DeadlineExceeded, match="before the network ran"):
        await futures[0]
    assert (await futures[1]).values[0, 0] == 2
    assert engine.sizes == [1, 1]
    batcher.close()


async def test_a_failed_run_ends_its_callers_and_no_others() -> None:
    engine = Doubler()
    engine.error = MemoryError("no room")
    batcher = Batcher(lambda: engine)
    with pytest.raises(MemoryError):
        await submit(batcher, tensor(1), "two")
    assert (await submit(batcher, tensor(2), "two")).values[0, 0] == 4
    batcher.close()


async def test_a_failed_load_is_tried_again() -> None:
    tries = iter([DataLoss("damaged"), None])

    def load() -> Doubler:
        if (error := next(tries)) is not None:
            raise error
        return Doubler()

    batcher = Batcher(load)
    with pytest.raises(DataLoss):
        await submit(batcher, tensor(1), "two")
    assert batcher.provider == ""
    assert (await submit(batcher, tensor(2), "two")).values[0, 0] == 4
    assert batcher.provider == "test"
    batcher.close()


async def test_close_lets_the_run_end_and_refuses_what_waits() -> None:
    engine = Doubler()
    batcher = Batcher(lambda: engine)
    engine.gate.clear()
    first = asyncio.create_task(submit(batcher, tensor(1), "two"))
    await until(engine.running)
    second = asyncio.create_task(submit(batcher, tensor(2), "two"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    engine.gate.set()
    await closing
    assert (await first).values[0, 0] == 2
    outcome = (await asyncio.gather(second, return_exceptions=True))[0]
    assert isinstance(outcome, Unavailable) or outcome.values[0, 0] == 4  # the engine may have taken it just before
    with pytest.raises(Unavailable):
        await submit(batcher, tensor(3), "two")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from(["two", "three"]), st.sampled_from([1, 2]), st.booleans()),
        max_size=150,
    )
)
def test_rows_belong_to_their_callers(calls: list[tuple[int, str, int, bool]]) -> None:
    """Against a plain model: values, layers and picture sizes mixed, some callers cancelled."""

    async def run() -> None:
        batcher = Batcher(Doubler)
        tasks = []
        for value, layer, size, is_cancelled in calls:
            task = asyncio.create_task(submit(batcher, np.full((1, 3, size, 1), value, np.float32), layer))
            tasks.append(task)
            if is_cancelled:
                await asyncio.sleep(0)
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for (value, layer, size, is_cancelled), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, asyncio.CancelledError):
                assert is_cancelled
                continue
            assert not isinstance(outcome, BaseException)
            assert outcome.values[0].tolist() == [value * {"two": 2.0, "three": 3.0}[layer]] * 3 * size
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())


async def test_the_memory_of_large_batches_is_given_back_once_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Swelling(Doubler):
        def __init__(self) -> None:
            super().__init__()
            self.given_back: list[int] = []
            self.is_slim = threading.Event()

        def give_back(self) -> None:
            self.given_back.append(len(self.sizes))
            self.is_slim.set()
            if len(self.given_back) == 2:
                raise RuntimeError("cannot")

    monkeypatch.setattr(module, "_IDLE_S", 0.01)
    engines = [Swelling()]
    batcher = Batcher(lambda: engines[-1])
    for _ in range(2):
        await submit(batcher, np.concatenate([tensor(0), tensor(1)]), "two")
        await until(engines[0].is_slim)
        engines[0].is_slim.clear()
    assert engines[0].given_back == [1, 2]
    engines.append(Swelling())
    await submit(batcher, tensor(1), "two")  # the engine that could not give back is not used again
    assert engines[1].sizes == [1]
    batcher.close()
    assert engines[1].given_back == []  # a batch of one takes no more than the engine needs anyway


async def test_an_engine_whose_thread_cannot_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    engine = Doubler()
    batcher = Batcher(lambda: engine)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(Unavailable, match="cannot start a thread"):
            await submit(batcher, tensor(1), "two")
    assert (await submit(batcher, tensor(2), "two")).values[0, 0] == 4
    assert engine.sizes == [1]  # nothing of the first is left
    batcher.close()
