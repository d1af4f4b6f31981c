"""Pictures to features: one scheduler, threads that decode in its order, one batcher per network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, Reason, ResourceExhausted
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.batcher import MAX_BATCH, Batcher, ComputedFeature, Request
from fc7_service.features.decode_threads import DecodeThreads
from fc7_service.features.image_work import ImageInput, ImageWork
from fc7_service.features.turn import Turn
from fc7_service.scheduling.call import CALL_ORIGIN, OTHER_WORK, Call, CallOrigin, Picture, WorkClass, class_of
from fc7_service.scheduling.scheduler import Limits, Scheduler
from fc7_service.served.call_models import hold_models
from fc7_service.served.served_model import ServedModel
from fc7_service.served.table import ModelTable
from fc7_service.telemetry.record import Record, ignore

VIEWS = (1, 10)  # how many views of an image may be asked for: its centre; centre, corners, and these mirrored

MAX_WAITING_IMAGES = 4096  # of each class; ten views count as ten
MAX_WAITING_BYTES = 512 * 2**20  # of each class
_MAX_DECODING_BYTES = 256 * 2**20  # of decoded pixels at once; a picture that takes more is decoded alone
# Tensors at once: the engine never waits for them, and they never fill the memory.
_MAX_AHEAD = dict.fromkeys(WorkClass, 2 * MAX_BATCH)  # one batch runs, the next one is ready


@dataclass(frozen=True, slots=True)
class Extraction:
    """Features of a list of images."""

    rows: list[NDArray[np.float32] | Fc7Error]  # per image, in the order given: its views (V, D), or why there is none
    timing: Timing


class Extractor:
    """Computes features with the networks of a server.

    Parameters
    ----------
    models
        The networks. No graph is loaded before it is needed.
    device
        "auto", "cpu" or "cuda".
    threads
        Of the engine, and as many that decode.
    record
        Gets the metrics of images and of runs.
    """

    def __init__(self, models: ModelTable, *, device: str, threads: int, record: Record = ignore) -> None:
        self.models = models
        limits = Limits(MAX_WAITING_IMAGES, MAX_WAITING_BYTES, _MAX_DECODING_BYTES, _MAX_AHEAD)
        self._threads = DecodeThreads(Scheduler(limits), threads)
        self._device, self._n_threads = device, threads
        self._record = record
        self._in_line: dict[WorkClass, deque[asyncio.Future[None]]] = {kind: deque() for kind in WorkClass}

    def provider(self, model: ServedModel) -> str:
        """Return the execution provider that a network runs on; empty before its first use."""
        batcher = model.opened(Batcher)
        return batcher.provider if isinstance(batcher, Batcher) else ""

    async def extract(
        self, images: Sequence[ImageInput], *, model: str, layer: str, n_views: int = 1, can_wait: bool = False
    ) -> Extraction:
        """Return one layer of each readable image.

        Parameters
        ----------
        images
            Encoded files, or pixels uint8 (H, W, 3) in RGB.
        model, layer
            Names; an empty model is the default one.
        n_views
            One of ``VIEWS``.
        can_wait
            Whether the call waits for its turn where others are refused because the queue is full. Such calls are bulk.

        Raises
        ------
        NotFound
            There is no such model or layer.
        ResourceExhausted
            The queue is full, or the call cannot be answered before its deadline. The error says when to try again.
            It says no time if the features alone would fill the memory.
        DeadlineExceeded
            The deadline passed before the images were decoded.
        """
        with hold_models():
            return await self.extract_with(
                *self.models.choose(model), images, layer=layer, n_views=n_views, can_wait=can_wait
            )

    async def extract_with(
        self,
        model: ServedModel,
        bundle: Bundle,
        images: Sequence[ImageInput],
        *,
        layer: str,
        n_views: int = 1,
        can_wait: bool = False,
    ) -> Extraction:
        """Extract with a network that the caller has acquired; ``bundle`` is its bundle in one version of the recipes.

        The other parameters and the errors are those of `extract`.
        """
        layer = bundle.provenance(layer).layer
        dim = bundle.layers[layer].dim
        if (n_bytes := 4 * dim * n_views * len(images)) > MAX_WAITING_BYTES:
            raise ResourceExhausted(
                f"layer {layer} of {len(images)} images has {n_bytes} bytes over {n_views} views: at most "
                f"{MAX_WAITING_BYTES}, so ask for fewer images",
                name="images",
                reason=Reason.WORK_TOO_LARGE,
            )
        call = self._call(model, images, bundle.recipe_of(layer), layer, n_views, can_wait=can_wait)
        works: list[ImageWork] = [picture.work for picture in call.waiting]  # type: ignore[misc]
        try:
            await self._admit(call)
        except BaseException:  # refused, or its caller left while it waited for room
            for work in works:  # its callback leads back to the call, which would keep the images
                work.future.cancel()
            call.waiting.clear()
            raise
        try:
            outcomes = await asyncio.gather(*(work.future for work in works))
        finally:
            for work in works:  # a failure of the engine ends the call: the rest need not be computed
                work.future.cancel()
            self._threads.leave(call)
            self._wake(call.work_class)
        done = [
            (work, found) for work, found in zip(works, outcomes, strict=True) if isinstance(found, ComputedFeature)
        ]
        self._record_images(model.bundle.name, works, outcomes)
        return Extraction([o if isinstance(o, Fc7Error) else o.values for o in outcomes], _timing(done))

    @asynccontextmanager
    async def turn(self, *, is_bulk: bool) -> AsyncIterator[None]:
        """Hold the turn of work that is not features, among the calls of all callers. One holds it in each class.

        Parameters
        ----------
        is_bulk
            Whether the work is bulk unless its call says otherwise. Bulk work waits where the queue is full.

        Raises
        ------
        ResourceExhausted, DeadlineExceeded
            As `extract`.
        """
        origin, turn = CALL_ORIGIN.get(), Turn()
        kind = origin.work_class or (WorkClass.BULK if is_bulk else WorkClass.INTERACTIVE)
        call = Call(origin, kind, OTHER_WORK, can_wait=is_bulk)
        picture, is_done = Picture(call, 0, turn), False
        call.waiting.append(picture)
        await self._admit(call)
        try:
            await turn.future
            yield
            is_done = True
        finally:
            turn.future.cancel()
            self._threads.finish(picture, has_feature=is_done)
            self._threads.leave(call)
            self._wake(kind)

    def check_room(self, origin: CallOrigin) -> None:
        """Refuse a call that wants features of some network, before its message is read, if none could answer in time.

        Raises
        ------
        ResourceExhausted
            The queue is full, or the call cannot be answered before its deadline. The error says when to try again.
        """
        self._threads.check_room(origin, self.models.keys)

    async def _admit(self, call: Call) -> None:
        """Give a call its place in the queue. If the queue is full, a call that can wait stands in line for room."""
        line, is_next = self._in_line[call.work_class], False
        while True:
            try:
                if is_next or not (call.can_wait and line):
                    self._threads.admit(call)
                    self._wake(call.work_class)  # there may be room for one more
                    return
            except ResourceExhausted:
                if not call.can_wait:
                    raise
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            line.insert(0 if is_next else len(line), turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in line:
                    line.remove(turn)
                else:  # its turn had come just before
                    self._wake(call.work_class)
                raise
            is_next = True

    def _wake(self, work_class: WorkClass) -> None:
        """Let the first call in line try again."""
        line = self._in_line[work_class]
        while line:
            if not (turn := line.popleft()).done():
                turn.set_result(None)
                return

    @property
    def n_waiting(self) -> int:
        """Number of views that wait or are being computed."""
        return self._threads.n_held

    def _record_run(self, model: str, n_images: int, seconds: float) -> None:
        self._record("fc7_batch_images", n_images, model=model)
        self._record("fc7_compute_seconds", seconds, model=model)

    def _record_images(
        self, model: str, works: Sequence[ImageWork], outcomes: Sequence[ComputedFeature | Fc7Error]
    ) -> None:
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Fc7Error):
                self._record("fc7_unreadable_images_total", reason=outcome.reason)
            else:
                self._record("fc7_decode_seconds", work.decode_s)
                self._record("fc7_queue_seconds", max(0.0, outcome.batch.taken - work.ready), model=model)

    async def warm_up(self) -> None:
        """Warm up every network; see `warm_up_model`."""
        for model in self.models.models.values():
            await self.warm_up_model(model)

    async def warm_up_model(self, model: ServedModel) -> None:
        """Load a network; run it on one image, then on a full batch, of each size that it sees.

        Raises
        ------
        FailedPrecondition
            The device cannot be had.
        DataLoss
            A graph is damaged.
        """
        for recipe, (layer, *_) in model.bundle.layers_by_recipe().items():
            grey = np.zeros((recipe.crop_px, recipe.crop_px, 3), np.uint8)
            await self.extract_with(model, model.bundle, [grey], layer=layer, can_wait=True)
            whole = np.zeros((MAX_BATCH, 3, recipe.crop_px, recipe.crop_px), np.float32)
            future: asyncio.Future[ComputedFeature] = asyncio.get_running_loop().create_future()
            self._batcher(model).put(Request(whole, layer, future))
            await future

    def close(self) -> None:
        """Let runs under way end and give the networks' memory back."""
        self._threads.close()
        self.models.close()

    def _batcher(self, model: ServedModel) -> Batcher:
        """Return the queue of a network, the same for every version of its recipes."""

        def make() -> Batcher:
            return Batcher(
                _loader(model.bundle, self._device, self._n_threads),
                partial(self._threads.n_coming, model.key),
                partial(self._record_run, model.bundle.name),
            )

        return model.open(Batcher, make)

    def _call(
        self,
        model: ServedModel,
        images: Sequence[ImageInput],
        recipe: Recipe,
        layer: str,
        n_views: int,
        *,
        can_wait: bool,
    ) -> Call:
        """Return the call that the scheduler is to admit."""
        origin = CALL_ORIGIN.get()
        kind = class_of(origin, n_views * len(images), is_stream=can_wait)
        call = Call(origin, kind, model.key, n_views, can_wait)
        batcher, tensor_bytes = self._batcher(model), n_views * 4 * 3 * recipe.crop_px**2
        for image in images:
            n_bytes = len(image) if isinstance(image, bytes) else image.nbytes
            work = ImageWork(image, recipe, n_views, layer, call, batcher)
            picture = Picture(call, max(n_bytes, tensor_bytes), work)
            work.future.add_done_callback(partial(self._finish, picture))
            call.waiting.append(picture)
        return call

    def _finish(self, picture: Picture, future: asyncio.Future[Any]) -> None:
        is_failed = future.cancelled() or future.exception() is not None
        self._threads.finish(picture, has_feature=not is_failed and isinstance(future.result(), ComputedFeature))
        self._wake(picture.call.work_class)


def _loader(bundle: Bundle, device: str, threads: int) -> Any:
    def load() -> Any:
        from fc7_service.features.session import Session  # brings onnxruntime: half a second

        return Session(bundle, device=device, threads=threads)

    return load


def _timing(done: list[tuple[ImageWork, ComputedFeature]]) -> Timing:
    if not done:
        return Timing()
    last, found = max(done, key=lambda pair: pair[0].ready)
    runs = {one.batch.taken: one.batch.compute_s for _, one in done}
    return Timing(
        decode_s=sum(work.decode_s for work, _ in done),
        queue_s=max(0.0, found.batch.taken - last.ready),
        compute_s=sum(runs.values()),
    )
