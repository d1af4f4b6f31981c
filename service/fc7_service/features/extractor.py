"""Pictures to features: one scheduler, threads that decode in its order, one batcher per network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, Reason, ResourceExhausted
from fc7_service.bundle.bundle import VERSION_MARK, Bundle, find_bundle
from fc7_service.features.batcher import MAX_BATCH, Batcher, ComputedFeature
from fc7_service.features.decode_threads import DecodeThreads
from fc7_service.features.image_work import ImageInput, ImageWork
from fc7_service.scheduling.call import CALL_ORIGIN, Call, Picture, WorkClass, class_of
from fc7_service.scheduling.scheduler import Limits, Scheduler
from fc7_service.telemetry.record import Record, ignore

VIEWS = (1, 10)  # how many views of an image may be asked for: its centre; centre, corners, and these mirrored

MAX_WAITING_IMAGES = 4096  # of each class; ten views count as ten
MAX_WAITING_BYTES = 512 * 2**20  # of each class
_MAX_DECODING_BYTES = 256 * 2**20  # of decoded pixels at once; a picture that takes more is decoded alone
# Tensors at once: the engine never waits for them, and they never fill the memory.
_MAX_AHEAD = {WorkClass.INTERACTIVE: 4 * MAX_BATCH, WorkClass.BULK: 2 * MAX_BATCH}


@dataclass(frozen=True, slots=True)
class Extraction:
    """Features of a list of images."""

    rows: list[NDArray[np.float32] | Fc7Error]  # per image, in the order given: its views (V, D), or why there is none
    timing: Timing


class Extractor:
    """The networks of a server.

    Parameters
    ----------
    bundles
        The default one first. No graph is loaded before it is needed.
    device
        "auto", "cpu" or "cuda".
    threads
        Of the engine, and as many that decode.
    record
        Gets the metrics of images and of runs.
    """

    def __init__(self, bundles: Sequence[Bundle], *, device: str, threads: int, record: Record = ignore) -> None:
        self.bundles = {bundle.name: bundle for bundle in bundles}
        limits = Limits(MAX_WAITING_IMAGES, MAX_WAITING_BYTES, _MAX_DECODING_BYTES, _MAX_AHEAD)
        self._threads = DecodeThreads(Scheduler(limits), threads)
        self._record = record
        self._batchers = {
            b.name: Batcher(
                _loader(b, device, threads),
                partial(self._threads.n_coming, b.name),
                partial(self._record_run, b.name),
            )
            for b in bundles
        }

    def bundle(self, model: str) -> Bundle:
        """Return a model's bundle; names and errors as `find_bundle` takes and raises them."""
        return find_bundle(self.bundles, model)

    def provider(self, model: str) -> str:
        """Return the execution provider that ``model`` runs on; empty before its first use."""
        return self._batcher(model).provider

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
        bundle = self.bundle(model)
        layer = bundle.provenance(layer).layer
        dim = bundle.layers[layer].dim
        if (n_bytes := 4 * dim * n_views * len(images)) > MAX_WAITING_BYTES:
            raise ResourceExhausted(
                f"layer {layer} of {len(images)} images has {n_bytes} bytes over {n_views} views: at most "
                f"{MAX_WAITING_BYTES}, so ask for fewer images",
                name="images",
                reason=Reason.WORK_TOO_LARGE,
            )
        call = self._call(images, bundle, layer, n_views, can_wait=can_wait)
        works: list[ImageWork] = [picture.work for picture in call.waiting]  # type: ignore[misc]
        try:
            self._threads.admit(call)
        except Fc7Error:
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
        done = [
            (work, found) for work, found in zip(works, outcomes, strict=True) if isinstance(found, ComputedFeature)
        ]
        self._record_images(bundle.name, works, outcomes)
        return Extraction([o if isinstance(o, Fc7Error) else o.values for o in outcomes], _timing(done))

    @property
    def n_waiting(self) -> int:
        """Number of views that wait or are being computed."""
        return self._threads.n_held

    def _record_run(self, model: str, n_images: int, seconds: float) -> None:
        self._record("fc7_batch_images", n_images, model=model)
        self._record("fc7_compute_seconds", seconds, model=model)

    def _record_images(
        self, name: str, works: Sequence[ImageWork], outcomes: Sequence[ComputedFeature | Fc7Error]
    ) -> None:
        model = name.partition(VERSION_MARK)[0]
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Fc7Error):
                self._record("fc7_unreadable_images_total", reason=outcome.reason)
            else:
                self._record("fc7_decode_seconds", work.decode_s)
                self._record("fc7_queue_seconds", max(0.0, outcome.batch.taken - work.ready), model=model)

    async def warm_up(self) -> None:
        """Load every network; run it on one image, then on a queue of a full batch, of each size that it sees.

        Raises
        ------
        FailedPrecondition
            The device cannot be had.
        DataLoss
            A graph is damaged.
        """
        for name, bundle in self.bundles.items():
            for recipe, (layer, *_) in bundle.layers_by_recipe().items():
                grey = np.zeros((recipe.crop_px, recipe.crop_px, 3), np.uint8)
                await self.extract([grey], model=name, layer=layer)
                await self.extract([grey] * MAX_BATCH, model=name, layer=layer)

    def close(self) -> None:
        """Let runs under way end and give the networks' memory back."""
        self._threads.close()
        for batcher in self._batchers.values():
            batcher.close()

    def _batcher(self, model: str) -> Batcher:
        """Return the queue of a network, the same for every version of its recipes."""
        return self._batchers[model.partition(VERSION_MARK)[0]]

    def _call(self, images: Sequence[ImageInput], bundle: Bundle, layer: str, n_views: int, *, can_wait: bool) -> Call:
        """Return the call that the scheduler is to admit."""
        origin, recipe = CALL_ORIGIN.get(), bundle.recipe_of(layer)
        kind = class_of(origin, n_views * len(images), is_stream=can_wait)
        call = Call(origin, kind, bundle.name.partition(VERSION_MARK)[0], n_views, can_wait)
        batcher, tensor_bytes = self._batcher(bundle.name), n_views * 4 * 3 * recipe.crop_px**2
        for image in images:
            n_bytes = len(image) if isinstance(image, bytes) else image.nbytes
            work = ImageWork(image, recipe, n_views, layer, kind, batcher)
            picture = Picture(call, max(n_bytes, tensor_bytes), work)
            work.future.add_done_callback(partial(self._finish, picture))
            call.waiting.append(picture)
        return call

    def _finish(self, picture: Picture, future: asyncio.Future[Any]) -> None:
        is_failed = future.cancelled() or future.exception() is not None
        self._threads.finish(picture, has_feature=not is_failed and isinstance(future.result(), ComputedFeature))


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
