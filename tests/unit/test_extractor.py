"""The extractor: order, errors an image, limits, golden vectors."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fc7.errors import DataLoss, DeadlineExceeded, FailedPrecondition, ImageDecodeError, NotFound, ResourceExhausted
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features import extractor as module
from fc7_service.features.decode_threads import DecodeThreads
from fc7_service.features.extractor import Extraction, Extractor
from fc7_service.features.image_work import ImageInput
from fc7_service.features.session import CPU, CUDA, open_session
from fc7_service.scheduling.call import CALL_ORIGIN, Call, CallOrigin, WorkClass
from fc7_service.scheduling.service_rate import ServiceRate
from fc7_service.served.table import ModelTable


@pytest.fixture
async def extractor(tiny_bundle: Path) -> AsyncIterator[Extractor]:
    made = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
    yield made
    made.close()


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def features(found: Extraction) -> NDArray[np.float32]:
    """The only view of each image (N, D); none may have failed."""
    return np.stack([row[0] for row in found.rows if isinstance(row, np.ndarray)])


async def test_meets_the_golden_vectors_of_every_layer(extractor: Extractor) -> None:
    bundle = extractor.models.bundle("")
    golden = read_golden(bundle)
    for layer, wanted in golden.layers.items():
        found = features(await extractor.extract(list(golden.pixels), model="", layer=layer))
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


async def test_nothing_is_loaded_before_it_is_needed(extractor: Extractor) -> None:
    assert extractor.provider(extractor.models.default) == ""
    await extractor.warm_up()
    assert extractor.provider(extractor.models.default) == "CPUExecutionProvider"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(st.integers(-2, 5), max_size=12), max_size=6))
def test_rows_keep_order_and_ownership_under_concurrency(tiny_bundle: Path, calls: list[list[int]]) -> None:
    """Concurrent calls, each a mix of good and bad images, against one image at a time."""
    images: dict[int, ImageInput] = {i: jpeg(i) for i in range(6)} | {-1: b"", -2: b"junk"}

    async def run() -> None:
        shared = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
        alone = {i: features(await shared.extract([images[i]], model="", layer="fc7"))[0] for i in range(6)}
        answers = await asyncio.gather(
            *(shared.extract([images[i] for i in call], model="", layer="fc7") for call in calls if call)
        )
        for call, answer in zip([c for c in calls if c], answers, strict=True):
            for i, row in zip(call, answer.rows, strict=True):
                if i < 0:
                    assert isinstance(row, ImageDecodeError)
                else:
                    np.testing.assert_allclose(row, alone[i][np.newaxis], rtol=1e-5)
        shared.close()

    asyncio.run(run())


async def test_unknown_names_are_refused_with_the_known_ones(extractor: Extractor) -> None:
    with pytest.raises(NotFound, match="tiny"):
        await extractor.extract([jpeg(0)], model="nope", layer="fc7")
    with pytest.raises(NotFound, match="conv5, pool5"):
        await extractor.extract([jpeg(0)], model="", layer="fc99")


async def test_a_full_queue_says_when_to_come_back(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_IMAGES", 10)
    extractor = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
    calls = [extractor.extract([jpeg(0)] * 6, model="", layer="fc7") for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, ResourceExhausted)]
    assert len(refused) == 2
    assert refused[0].retry_after_s is not None
    after = await extractor.extract([jpeg(0)], model="", layer="fc7")
    assert len(features(after)) == 1
    extractor.close()


async def test_the_tensors_of_every_view_count(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor_bytes = 4 * 3 * 16 * 16  # more than the file and than the feature
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 20 * tensor_bytes)
    extractor = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
    images = [b"junk"] * 2  # read as errors: their places are held until then
    calls = [extractor.extract(images, model="", layer="fc7", n_views=10) for _ in range(2)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, ResourceExhausted) for outcome in outcomes] == [False, True]
    extractor.close()


async def test_a_damaged_graph_is_reported_and_cuda_is_never_silently_the_cpu(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))
    bundle = open_bundle(folder)
    data = bytearray((folder / "model.onnx").read_bytes())
    data[100] ^= 1
    (folder / "model.onnx").write_bytes(data)
    damaged = Extractor(ModelTable([bundle]), device="cpu", threads=1)
    with pytest.raises(DataLoss, match="hash"):
        await damaged.extract([jpeg(0)], model="", layer="fc7")
    damaged.close()

    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        no_gpu = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cuda", threads=1)
        with pytest.raises(FailedPrecondition, match="cuda"):
            await no_gpu.warm_up()
        no_gpu.close()


@pytest.mark.parametrize(("available", "kept"), [([CPU], False), ([CUDA, CPU], True)])
def test_a_session_that_keeps_no_memory_keeps_the_arena_on_a_gpu(
    available: list[str], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the arena explanations failed on a GPU, with senseless shapes."""
    opened: list[Any] = []
    monkeypatch.setattr(ort, "get_available_providers", lambda: available)
    monkeypatch.setattr(ort, "InferenceSession", lambda graph, options, providers: opened.append(options))
    open_session(b"", "tiny", device="auto", threads=1, keeps_memory=False)
    assert opened[0].enable_cpu_mem_arena is kept


async def test_calls_that_can_wait_stay_within_the_quota_and_are_all_answered(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams of one picture at a time, interactive and bulk, many more than fit; a few leave while they wait."""
    monkeypatch.setattr(module, "MAX_WAITING_IMAGES", 6)
    extractor = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
    most, threads_admit = 0, DecodeThreads.admit

    def admit(threads: DecodeThreads, call: Call) -> None:
        nonlocal most
        threads_admit(threads, call)
        most = max(most, max(line.n_views for line in threads._scheduler._lines.values()))

    monkeypatch.setattr(DecodeThreads, "admit", admit)

    async def ask(kind: WorkClass, i: int) -> Extraction:
        CALL_ORIGIN.set(CallOrigin(f"caller {i % 3}", None, kind))
        return await extractor.extract([jpeg(0)], model="", layer="fc7", can_wait=True)

    calls = [asyncio.create_task(ask(kind, i)) for i in range(60) for kind in WorkClass]
    await asyncio.sleep(0)
    leaving = calls[20::7]
    for call in leaving:
        call.cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    for call, outcome in zip(calls, found, strict=True):
        assert isinstance(outcome, asyncio.CancelledError if call in leaving else Extraction), outcome
    assert 0 < most <= 6
    assert extractor.n_waiting == 0
    assert not any(extractor._in_line.values())
    extractor.close()


async def test_other_work_waits_for_its_turn_which_one_holds_in_each_class(extractor: Extractor) -> None:
    log, may_end = list[str](), asyncio.Event()

    async def work(name: str, *, is_bulk: bool) -> None:
        async with extractor.turn(is_bulk=is_bulk):
            log.append(name)
            await may_end.wait()

    one, other = (asyncio.create_task(work(name, is_bulk=True)) for name in ("first", "second"))
    while not log:
        await asyncio.sleep(0)
    single = asyncio.create_task(work("single", is_bulk=False))
    await extractor.extract([jpeg(1)], model="", layer="fc7")  # features need no turn of other work
    while len(log) < 2:
        await asyncio.sleep(0)
    assert log == ["first", "single"]
    other.cancel()
    third = asyncio.create_task(work("third", is_bulk=True))
    may_end.set()
    await asyncio.gather(one, single, third)
    assert log == ["first", "single", "third"]
    assert other.cancelled()
    assert extractor.n_waiting == 0


async def test_other_work_is_dropped_when_its_deadline_has_passed(extractor: Extractor) -> None:
    async def late() -> None:
        CALL_ORIGIN.set(CallOrigin(deadline=time.monotonic() - 1))
        async with extractor.turn(is_bulk=True):
            raise AssertionError("it came too late")

    with pytest.raises(DeadlineExceeded):
        await asyncio.create_task(late())
    assert extractor.n_waiting == 0


async def test_a_call_is_refused_before_it_is_read_only_if_no_network_has_room(tiny_bundle: Path) -> None:
    made = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=1)
    rate = made._threads._scheduler.rates[made.models.keys[0]] = ServiceRate()
    for now in (0.0, 0.0, 1.0, 2.0):  # one view per second
        rate.begin(now)
        rate.count(1, now)
    soon = CallOrigin("b", time.monotonic() + 1)
    made.check_room(soon)  # nobody is ahead
    line = made._threads._scheduler._lines[WorkClass.INTERACTIVE]
    line.go_ahead(made.models.keys[0], 5)
    with pytest.raises(ResourceExhausted, match="too close to the call's deadline"):
        made.check_room(soon)
    made.check_room(CallOrigin("b", time.monotonic() + 60))
    made.models.add(made.models.make(open_bundle(tiny_bundle)))  # another one, which nobody uses
    made.check_room(soon)
    made.close()
