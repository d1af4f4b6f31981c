"""Pictures to features: decode in a bounded pool of threads, run in natural batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, Reason, ResourceExhausted
from fc7_service.bundle.bundle import VERSION_MARK, Bundle, find_bundle
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.batcher import MAX_BATCH, Batcher, ComputedFeature
from fc7_service.features.memory_budget import MemoryBudget
from fc7_service.telemetry.record import Record, ignore

if TYPE_CHECKING:
    from fc7_service.features.decode import Picture

ImageInput = bytes | NDArray[Any]  # an encoded file, or pixels uint8 (H, W, 3) in RGB

VIEWS = (1, 10)  # how many views of an image may be asked for: its centre; centre, corners, and these mirrored

MAX_WAITING_IMAGES = 4096  # ten views count as ten
MAX_WAITING_BYTES = 512 * 2**20
_DECODE_BYTES = 256 * 2**20  # of decoded pixels at once; one picture that takes more goes alone
_RETRY_AFTER_S = 1.0
_AHEAD = 4 * MAX_BATCH  # tensors of one call at once: the engine never waits for them, and they never fill the memory


@dataclass(frozen=True, slots=True)
class Extraction:
    """Features of a list of images."""

    views: NDArray[np.float32]  # (images without error, views, D), in the order given
    errors: list[Fc7Error | None]  # one entry an image
    timing: Timing

    @property
    def values(self) -> NDArray[np.float32]:
        """The mean of each image's views, (images without error, D)."""
        return np.asarray(self.views.mean(axis=1))


@dataclass(frozen=True, slots=True)
class _Done:
    rows: list[ComputedFeature]  # one a view
    decode_s: float
    ready: float  # monotonic seconds at which the tensors were ready


@dataclass(frozen=True, slots=True)
class _Opened:
    """An image of which the header has been read."""

    picture: Picture
    seconds: float


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
        self._record = record
        self._batchers = {
            b.name: Batcher(_loader(b, device, threads), partial(self._record_run, b.name)) for b in bundles
        }
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fc7-decode")
        self._budget = MemoryBudget(_DECODE_BYTES)
        self._waiting_images = self._waiting_bytes = 0

    def bundle(self, model: str) -> Bundle:
        """Return a model's bundle; names and errors as `find_bundle` takes and raises them."""
        return find_bundle(self.bundles, model)

    def provider(self, model: str) -> str:
        """Return the execution provider that ``model`` runs on; empty before its first use."""
        return self._batcher(model).provider

    async def extract(self, images: Sequence[ImageInput], *, model: str, layer: str, n_views: int = 1) -> Extraction:
        """Return one layer of each readable image.

        Parameters
        ----------
        images
            Encoded files, or pixels uint8 (H, W, 3) in RGB.
        model, layer
            Names; an empty model is the default one.
        n_views
            One of ``VIEWS``.

        Raises
        ------
        NotFound
            No such model or layer.
        ResourceExhausted
            Too much is waiting; says when to come back. Or the features alone would fill the memory; says none.
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
        gate = asyncio.Semaphore(_AHEAD // n_views)
        with self._admitted(images, bundle.recipe_of(layer), n_views):
            tasks = [asyncio.ensure_future(self._one(image, bundle, layer, n_views, gate)) for image in images]
            try:
                outcomes = await asyncio.gather(*tasks)
            finally:
                for task in tasks:  # a failure of the engine ends the call: the rest need not be computed
                    task.cancel()
        done = [outcome for outcome in outcomes if isinstance(outcome, _Done)]
        self._record_images(bundle.name, outcomes)
        rows = [row.values for d in done for row in d.rows]
        stacked = await asyncio.to_thread(np.stack, rows) if rows else np.empty(0, np.float32)
        views = stacked.reshape(-1, n_views, dim)
        return Extraction(views, [o if isinstance(o, Fc7Error) else None for o in outcomes], _timing(done))

    @property
    def n_waiting(self) -> int:
        """Number of views that wait or are being computed."""
        return self._waiting_images

    def _record_run(self, model: str, n_images: int, seconds: float) -> None:
        self._record("fc7_batch_images", n_images, model=model)
        self._record("fc7_compute_seconds", seconds, model=model)

    def _record_images(self, name: str, outcomes: Sequence[_Done | Fc7Error]) -> None:
        model = name.partition(VERSION_MARK)[0]
        for outcome in outcomes:
            if isinstance(outcome, Fc7Error):
                self._record("fc7_unreadable_images_total", reason=outcome.reason)
            else:
                self._record("fc7_decode_seconds", outcome.decode_s)
                waited_s = outcome.rows[-1].batch.taken - outcome.ready
                self._record("fc7_queue_seconds", max(0.0, waited_s), model=model)

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
        for batcher in self._batchers.values():
            batcher.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _batcher(self, model: str) -> Batcher:
        """Return the queue of a network, the same for every version of its recipes."""
        return self._batchers[model.partition(VERSION_MARK)[0]]

    async def _one(
        self, image: ImageInput, bundle: Bundle, layer: str, n_views: int, gate: asyncio.Semaphore
    ) -> _Done | Fc7Error:
        """Return what became of one image: its rows, or why it cannot be read."""
        loop, batcher, recipe = asyncio.get_running_loop(), self._batcher(bundle.name), bundle.recipe_of(layer)
        async with gate:
            try:
                opened = await loop.run_in_executor(self._pool, _open, image, recipe, n_views)
                async with self._budget.hold(opened.picture.n_bytes):
                    tensors, decode_s = await loop.run_in_executor(self._pool, _decode, opened, recipe, n_views)
            except Fc7Error as error:
                return error
            ready = time.monotonic()
            return _Done(await asyncio.gather(*(batcher.submit(tensor, layer) for tensor in tensors)), decode_s, ready)

    @contextmanager
    def _admitted(self, images: Sequence[ImageInput], recipe: Recipe, n_views: int) -> Iterator[None]:
        """Hold a place for ``images`` in the queue, bounded by their number and by the larger of file and tensors."""
        n_images, tensor_bytes = n_views * len(images), n_views * 4 * 3 * recipe.crop_px**2
        n_bytes = sum(max(i.nbytes if isinstance(i, np.ndarray) else len(i), tensor_bytes) for i in images)
        is_full = (
            self._waiting_images + n_images > MAX_WAITING_IMAGES or self._waiting_bytes + n_bytes > MAX_WAITING_BYTES
        )
        if is_full and self._waiting_images:  # an idle server takes whatever a message holds
            raise ResourceExhausted(
                f"the queue is full: {self._waiting_images} images wait; retry after {_RETRY_AFTER_S:g} s",
                name="images",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._waiting_images += n_images
        self._waiting_bytes += n_bytes
        try:
            yield
        finally:
            self._waiting_images -= n_images
            self._waiting_bytes -= n_bytes


def _loader(bundle: Bundle, device: str, threads: int) -> Any:
    def load() -> Any:
        from fc7_service.features.session import Session  # brings onnxruntime: half a second

        return Session(bundle, device=device, threads=threads)

    return load


def _open(image: ImageInput, recipe: Recipe, n_views: int) -> _Opened:
    """Read an image's header."""
    from fc7_service.features.preprocess import open_views

    start = time.perf_counter()
    return _Opened(open_views(image, recipe, n_views), time.perf_counter() - start)


def _decode(opened: _Opened, recipe: Recipe, n_views: int) -> tuple[NDArray[np.float32], float]:
    """Return the tensors of an image's views and the seconds that it took to open and decode it."""
    from fc7_service.features.preprocess import cut_views

    start = time.perf_counter()
    return cut_views(opened.picture, recipe, n_views), opened.seconds + time.perf_counter() - start


def _timing(done: list[_Done]) -> Timing:
    if not done:
        return Timing()
    last = max(done, key=lambda d: d.ready)
    batches = {row.batch.taken: row.batch.compute_s for d in done for row in d.rows}
    return Timing(
        decode_s=sum(d.decode_s for d in done),
        queue_s=max(0.0, last.rows[-1].batch.taken - last.ready),
        compute_s=sum(batches.values()),
    )
