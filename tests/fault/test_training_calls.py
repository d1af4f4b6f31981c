"""Training calls that wait, leave, meet the end of the server, or send what they should not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest

from doors import private_door_aio
from fc7.contract.timing import Timing
from fc7.errors import Unavailable
from fc7.v1 import admin_pb2, admin_pb2_grpc, collection_pb2, collection_pb2_grpc, common_pb2, head_pb2_grpc
from fc7.v1 import head_pb2 as pb
from fc7_service.data_folder import DataFolder
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import ImageFeatures
from fc7_service.heads import limits, train_version
from fc7_service.heads.fit import FittedHead
from fc7_service.heads.registry import Heads, TrainingRows
from fc7_service.rpc import call as call_of_rpc
from fc7_service.rpc import train_head
from fc7_service.server import Server, end_calls
from fc7_service.settings import Settings
from labelled import PROVENANCE, make_labelled
from servers import jpeg

PLAN = pb.TrainHeadRequest(plan=pb.HeadPlan(name="h"))
SOON_S = 20  # far below any limit of ours, far above what a busy machine needs


class Training:
    """A call under way; awaited, its answers."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._answers = asyncio.ensure_future(self._collect())

    def cancel(self) -> None:
        """Cancel the call itself: where its reader is cancelled while it begins, grpc.aio lets the call go on."""
        self._call.cancel()

    def __await__(self) -> Generator[Any, None, list[pb.TrainHeadResponse]]:
        return self._answers.__await__()

    async def _collect(self) -> list[pb.TrainHeadResponse]:
        return [answer async for answer in self._call]


class Door:
    """A server on the test's own loop, whose default executor has two threads."""

    def __init__(self, server: Server, channel: grpc.aio.Channel, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.heads = head_pb2_grpc.HeadServiceStub(channel)
        self.collections = collection_pb2_grpc.CollectionServiceStub(channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)

    def train(self, *requests: pb.TrainHeadRequest) -> Training:
        return Training(self.heads.TrainHead(iter(requests)))

    async def refuses(self, code: str, text: str, *requests: pb.TrainHeadRequest) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match=text) as caught:
            await self.train(*requests)
        assert caught.value.code().name == code
        assert await self.names() == []

    async def names(self) -> list[str]:
        listed = await self.heads.ListHeads(pb.ListHeadsRequest(), timeout=SOON_S)
        return [head.name for head in listed.heads]


@pytest.fixture
async def door(tiny_bundle: Path, tmp_path: Path) -> AsyncIterator[Door]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    folder = DataFolder(tmp_path / "data")
    server = Server(Settings(tmp_path / "data", listen=None, models=(str(tiny_bundle),), drain_s=0.1), folder)
    holder = await server.start()
    async with private_door_aio(holder) as channel:
        yield Door(server, channel, tmp_path / "data")
    await server.stop()
    folder.release()


def images(labels: Iterable[str], first: int = 0) -> pb.TrainHeadRequest:
    labels = list(labels)
    encoded = [common_pb2.Image(encoded=jpeg(first + i)) for i in range(len(labels))]
    return pb.TrainHeadRequest(images=pb.LabelledImages(images=encoded, labels=labels))


class Fits:
    """Stands for `fit`: each runs until it is told to go on, or stopped by the check that it is given."""

    def __init__(self, real: Callable[..., FittedHead]) -> None:
        self.real, self.go_on = real, threading.Event()
        self.n_started = self.n_ended = 0

    def __call__(
        self, features: Any, labels: Any, groups: Any, check: Callable[[], None], **options: Any
    ) -> FittedHead:
        self.n_started += 1
        try:
            while not self.go_on.wait(0.01):
                check()
            return self.real(features, labels, groups, check, **options)
        finally:
            self.n_ended += 1


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    fits = Fits(train_version.fit_head)
    monkeypatch.setattr(train_version, "fit_head", fits)
    return fits


async def collect(door: Door, labels: str) -> None:
    """Make the collection "c" of an item a label."""
    await door.collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="c"))
    items = [
        collection_pb2.NewItem(
            id=str(i), image=common_pb2.Image(encoded=jpeg(i)), payload_json=f'{{"label": "{label}"}}'
        )
        for i, label in enumerate(labels)
    ]
    await door.collections.UpsertItems(collection_pb2.UpsertItemsRequest(collection="c", items=items))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


# Waiting, leaving, ending


async def test_trainings_that_wait_leave_the_other_calls_their_threads(door: Door, fits: Fits) -> None:
    trainings = [door.train(PLAN, images("aabb")) for _ in range(7)]
    await until(lambda: fits.n_started == 1)
    for _ in range(3):
        assert await door.names() == []
    fits.go_on.set()
    answers = await asyncio.gather(*trainings)
    assert sorted(each[-1].head.version for each in answers) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_training_that_is_cancelled_stores_nothing(door: Door, fits: Fits) -> None:
    running = door.train(PLAN, images("aabb"))
    await until(lambda: fits.n_started == 1)
    waiting, last = (door.train(PLAN, images("aabb")) for _ in range(2))
    for training in (running, waiting):
        training.cancel()
    await until(lambda: fits.n_ended == 1 and fits.n_started == 2)  # of the third alone: the second left the queue
    fits.go_on.set()
    assert (await last)[-1].head.version == 1
    assert fits.n_started == fits.n_ended == 2
    assert sorted(path.name for path in (door.folder / "heads" / "h").iterdir()) == ["1"]


async def test_a_training_cancelled_after_its_fit_stores_nothing(door: Door, fits: Fits, monkeypatch: Any) -> None:
    is_fitted, real = threading.Event(), fits.real

    def end_as_the_caller_leaves(
        features: Any, labels: Any, groups: Any, check: Callable[[], None], **options: Any
    ) -> FittedHead:
        found = real(features, labels, groups, check, **options)
        is_fitted.set()
        deadline = time.monotonic() + SOON_S
        with contextlib.suppress(Unavailable):
            while time.monotonic() < deadline:
                check()
        return found

    monkeypatch.setattr(train_version, "fit_head", end_as_the_caller_leaves)
    training = door.train(PLAN, images("aabb"))
    await until(is_fitted.is_set)
    monkeypatch.setattr(train_version, "fit_head", real)
    training.cancel()
    assert (await door.train(PLAN, images("aabb")))[-1].head.version == 1


async def test_the_server_ends_while_it_trains(door: Door, fits: Fits) -> None:
    training = door.train(PLAN, images("aabb"))
    await until(lambda: fits.n_started == 1)
    await asyncio.wait_for(door.server.stop(), SOON_S)
    await until(lambda: fits.n_ended == 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await training
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert not (door.folder / "heads" / "h").exists()


async def test_closed_heads_store_nothing_more(tmp_path: Path, fits: Fits) -> None:
    heads, data = Heads(tmp_path / "heads"), make_labelled(4, 2, 8)
    rows = TrainingRows(data.features, data.labels, data.groups, data.groups, ())
    running, waiting = (asyncio.ensure_future(heads.train_in_turn("h", lambda: rows, PROVENANCE)) for _ in range(2))
    await until(lambda: fits.n_started == 1)
    heads.close()  # from the loop's own thread
    assert fits.n_ended == 1
    for training in (running, waiting):
        with pytest.raises(Unavailable, match="nothing was stored"):
            await training
    assert fits.n_started == 1
    assert heads.list() == []


# What a stream may hold


async def test_a_collection_brings_its_own_images_model_and_layer(door: Door) -> None:
    await collect(door, "aabb")
    plan = pb.HeadPlan(name="h", collection="c")
    request = pb.TrainHeadRequest(plan=plan)
    await door.refuses("INVALID_ARGUMENT", "got images and collection .*c", request, images("ab"))
    await door.refuses("INVALID_ARGUMENT", "plan once, in the first message", request, request)
    for field in ("model", "layer"):
        wrong = pb.HeadPlan(name="h", collection="c", **{field: "fc7"})
        await door.refuses("INVALID_ARGUMENT", f"has its own {field}.*fc7", pb.TrainHeadRequest(plan=wrong))
    assert (await door.train(request))[-1].head.count == 4


async def test_the_plan_comes_once_and_first(door: Door) -> None:
    await door.refuses("INVALID_ARGUMENT", "plan once, in the first message", PLAN, images("aabb"), PLAN)
    await door.refuses("INVALID_ARGUMENT", "first message .* must be the plan", images("aabb"), PLAN)
    await door.refuses("INVALID_ARGUMENT", "first message .* must be the plan")


def features(labels: str, n_rows: int | None = None, dim: int = 8, dtype: str = "float32") -> pb.TrainHeadRequest:
    n_rows = len(labels) if n_rows is None else n_rows
    values = np.random.default_rng(len(labels)).normal(size=(n_rows, dim)).astype(dtype)
    tensor = common_pb2.Tensor(dtype=dtype, shape=values.shape, data=values.tobytes())
    return pb.TrainHeadRequest(features=pb.LabelledFeatures(values=tensor, labels=labels))


async def test_features_are_of_a_model_that_is_here(door: Door) -> None:
    provenance = door.server.parts.extractor.models.bundle("tiny").provenance("fc7")
    message = common_pb2.Provenance(**provenance.to_dict())
    plan = pb.TrainHeadRequest(plan=pb.HeadPlan(name="h", provenance=message))
    dim = door.server.parts.extractor.models.bundle("tiny").layers["fc7"].dim
    assert (await door.train(plan, features("aabb", dim=dim), features("ab", dim=dim)))[-1].head.count == 6
    await door.heads.DeleteHead(pb.DeleteHeadRequest(name="h", all_versions=True), timeout=SOON_S)

    other = common_pb2.Provenance(**replace(provenance, graph_sha256="0" * 64).to_dict())
    forged = common_pb2.Provenance(**provenance.to_dict() | {"graph_sha256": "0" * 64})
    for wrong, code, text in [
        (other, "FAILED_PRECONDITION", "the training data was made with"),
        (forged, "INVALID_ARGUMENT", "does not match its digest"),
        (common_pb2.Provenance(), "INVALID_ARGUMENT", "provenance is malformed"),
    ]:
        await door.refuses(code, text, pb.TrainHeadRequest(plan=pb.HeadPlan(name="h", provenance=wrong)))
    named = pb.TrainHeadRequest(plan=pb.HeadPlan(name="h", provenance=message, model="tiny"))
    await door.refuses("INVALID_ARGUMENT", "Leave both empty", named)
    await door.refuses("INVALID_ARGUMENT", "plan is for features, but images were sent", plan, images("aabb"))
    await door.refuses("INVALID_ARGUMENT", "plan is for images, but features were sent", PLAN, features("aabb"))
    for part in (features("aabb", dim=dim + 1), features("aabb", 3, dim), features("aabb", dim=dim, dtype="float16")):
        await door.refuses("INVALID_ARGUMENT", "float32 of shape .* and 4 labels", plan, part)
    await door.refuses("INVALID_ARGUMENT", "label", plan, features("a\nbb", dim=dim))
    bad = features("aabb", dim=dim)
    bad.features.values.data = b"\xff" * len(bad.features.values.data)  # NaN
    await door.refuses("INVALID_ARGUMENT", "NaN", plan, bad)


async def test_a_stream_ends_where_memory_would(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 6 * (8 * 4 + limits.ROW_BYTES))
    assert (await door.train(PLAN, images("aabbab")))[-1].head.count == 6
    await door.heads.DeleteHead(pb.DeleteHeadRequest(name="h", all_versions=True))
    await door.refuses("RESOURCE_EXHAUSTED", "at most 6 rows of 8 numbers", PLAN, images("aabb"), images("abab", 4))


async def test_rows_that_wait_hold_no_array_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    async def extract(*args: Any, **options: Any) -> ImageFeatures:
        batch = np.ones((32, 8), np.float32)
        batches.append(weakref.ref(batch))
        return ImageFeatures([batch[3], batch[4]], PROVENANCE, Timing(0.0, 0.0, 0.0))

    monkeypatch.setattr(train_head, "extract_images", extract)
    rows = train_head.LabelledRows(cast(Extractor, None), "tiny", PROVENANCE, train_head.RowMemory())
    await rows.add_images(images("ab").images)
    gc.collect()
    assert all(batch() is None for batch in batches)
    features, labels, *_ = rows.take_all()
    assert features.shape == (2, 8)
    assert labels == ["a", "b"]


async def test_more_trainings_than_may_wait_are_told_when_to_come_back(
    door: Door, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_head, "_MOST_TRAININGS", 2)
    calls = [door.heads.TrainHead(iter((PLAN, images("aabb")))) for _ in range(2)]
    for call in calls:
        while (await call.read()).progress.stage != "fit":
            pass
    await door.refuses("RESOURCE_EXHAUSTED", "2 trainings.*Try again in", PLAN)
    fits.go_on.set()
    versions = [(await call.read()).head.version for call in calls]
    assert sorted(versions) == [1, 2]


async def test_a_forgotten_version_deletes_nothing(door: Door) -> None:
    call = door.heads.TrainHead(iter((PLAN, images("aabb"))))
    assert [answer async for answer in call][-1].head.version == 1
    await door.heads.PublishHead(pb.PublishHeadRequest(name="h"))
    both = pb.DeleteHeadRequest(name="h", version=1, all_versions=True)
    for request in (pb.DeleteHeadRequest(name="h"), pb.DeleteHeadRequest(name="h", version=0), both):
        with pytest.raises(grpc.aio.AioRpcError, match=r"name the version .* or set all_versions") as caught:
            await door.heads.DeleteHead(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    listed = await door.heads.ListHeads(pb.ListHeadsRequest())
    assert [head.published_version for head in listed.heads] == [1]
    await door.heads.DeleteHead(pb.DeleteHeadRequest(name="h", all_versions=True))
    assert not (await door.heads.ListHeads(pb.ListHeadsRequest())).heads


async def test_silent_calls_keep_no_other_from_training(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is counted where the fit begins; what came before is bounded by its bytes."""
    monkeypatch.setattr(train_head, "_MOST_TRAININGS", 2)
    silent = [door.heads.TrainHead() for _ in range(6)]
    for call in silent:
        await call.write(PLAN)
        await call.write(images("ab"))
        assert (await call.read()).progress.stage == "extract"
    call = door.heads.TrainHead(iter((PLAN, images("aabb"))))
    answers = [answer async for answer in call]
    assert answers[-1].head.version == 1
    monkeypatch.setattr(train_head, "_MOST_ROW_BYTES", 6 * 2 * 8 * 4)
    refused = door.heads.TrainHead(iter((PLAN, images("aabb"))))
    with pytest.raises(grpc.aio.AioRpcError, match=r"hold 384 bytes of features.*Try again in"):
        await refused.read()
    for call in silent:
        call.cancel()


async def test_a_stream_that_stands_still_is_ended(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_of_rpc, "_ARRIVAL_S", 0.1)
    call = door.heads.TrainHead()
    await call.write(PLAN)
    with pytest.raises(grpc.aio.AioRpcError, match="no message came for") as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_collection_is_read_when_its_turn_comes(door: Door, fits: Fits, monkeypatch: Any) -> None:
    await collect(door, "aabb")
    from fc7_service.collections.collection import Collection

    read, labelled = [], Collection.labelled_features

    def note(self: Collection, *args: Any) -> Any:
        read.append(self.name)
        return labelled(self, *args)

    monkeypatch.setattr(Collection, "labelled_features", note)
    request = pb.TrainHeadRequest(plan=pb.HeadPlan(name="h", collection="c"))
    trainings = [door.train(request) for _ in range(3)]
    await until(lambda: fits.n_started == 1)
    for _ in range(3):
        await door.names()
    info = await door.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=SOON_S)
    assert info.training == ["h"] * 3
    assert info.running_calls["HeadService/TrainHead"] == 3
    assert read == ["c"]
    fits.go_on.set()
    await asyncio.gather(*trainings)
    assert read == ["c"] * 3


async def test_a_collection_too_large_for_memory_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await collect(door, "aabb")
    monkeypatch.setattr(limits, "MAX_BYTES", 3 * (8 * 4 + limits.ROW_BYTES))
    request = pb.TrainHeadRequest(plan=pb.HeadPlan(name="h", collection="c"))
    await door.refuses("RESOURCE_EXHAUSTED", "'c'.* more than 3 ", request)


async def test_classes_are_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLASSES", 3)
    await door.refuses("RESOURCE_EXHAUSTED", "at most 3 classes .got 4", PLAN, images("abcd"))
    monkeypatch.setattr(limits, "MAX_CLASSES", 4)
    monkeypatch.setattr(limits, "MAX_SCORES", 15)
    await door.refuses("RESOURCE_EXHAUSTED", "4 rows of 4 classes", PLAN, images("abcd"))


@pytest.mark.parametrize(("label", "text"), [("", "label is empty"), ("x" * 257, "at most 256 characters")])
async def test_labels_are_checked_as_they_come(door: Door, label: str, text: str) -> None:
    await door.refuses("INVALID_ARGUMENT", text, PLAN, images(["a", label]))


def test_what_grpc_still_does_for_a_call_that_has_ended_is_waited_for() -> None:
    """The end of the loop would cancel it, and gRPC would print a traceback."""
    ended: list[str] = []

    async def clean_up() -> None:
        try:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append("whole")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def serve() -> None:
        cleaning = asyncio.ensure_future(clean_up())
        await asyncio.sleep(0)
        await end_calls()
        assert cleaning.done()

    asyncio.run(serve())
    assert ended == ["whole"]
