"""What becomes of one image: opened and decoded on one thread, run on another, answered on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fc7.errors import Fc7Error, ImageDecodeError, InvalidArgument
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.batcher import Batcher, ComputedFeature, Request
from fc7_service.features.image_part import ImagePart
from fc7_service.features.prepared_tensor import PreparedTensor
from fc7_service.scheduling.call import Call

if TYPE_CHECKING:
    from fc7_service.features.decode import Picture

# An encoded file, pixels uint8 (H, W, 3) in RGB, a part of either, or what would be made of one of them.
ImageInput = bytes | NDArray[Any] | ImagePart | PreparedTensor


class ImageWork:
    """One image on its way to a feature. Made on the event loop that waits for ``future``.

    The future gets the image's features, or the error of an image that cannot be read as its result. An exception in
    it is a failure of the whole call.
    """

    def __init__(
        self,
        image: ImageInput,
        recipe: Recipe,
        n_views: int,
        layer: str,
        call: Call,
        batcher: Batcher,
    ) -> None:
        self._image: ImageInput | None = image  # let go once it is decoded
        self._recipe, self._n_views, self._layer, self._call, self._batcher = recipe, n_views, layer, call, batcher
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[ComputedFeature | Fc7Error] = self._loop.create_future()
        self._opened: Picture | None = None
        self._tensors: NDArray[Any] | None = None  # (V, 3, H, W) float32
        self.decode_s = 0.0
        self.ready = 0.0  # monotonic seconds at which it was decoded

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for the image any more."""
        return self.future.done()

    def open(self) -> int:
        """Read the header; return the bytes of memory that decoding takes."""
        from fc7_service.features.preprocess import open_views

        start, image, self._image = time.perf_counter(), self._image, None
        assert image is not None  # opened once
        if isinstance(image, PreparedTensor):
            self._tensors = image.view(self._recipe, self._n_views)
            return image.nbytes
        self._opened = open_views(image, self._recipe, self._n_views)
        self.decode_s = time.perf_counter() - start
        return self._opened.n_bytes

    def decode(self) -> None:
        """Decode the image."""
        from fc7_service.features.preprocess import cut_views

        start, opened, self._opened = time.perf_counter(), self._opened, None
        if opened is not None:  # otherwise it came as a tensor
            self._tensors = cut_views(opened, self._recipe, self._n_views)
        self.decode_s += time.perf_counter() - start
        self.ready = time.monotonic()

    def hand_over(self) -> None:
        """Hand the tensors of the image's views to the batcher."""
        tensors, self._tensors = self._tensors, None
        assert tensors is not None  # decoded before
        call = self._call
        self._batcher.put(Request(tensors, self._layer, self.future, call.work_class, self.ready, call.origin.deadline))

    def fail(self, error: Exception) -> None:
        """Hand an error to whoever waits. What is wrong with the image is its result, not a failure of the call."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: Exception) -> None:
        if self.future.done():
            return
        if isinstance(error, ImageDecodeError | InvalidArgument):
            self.future.set_result(error)
        else:
            self.future.set_exception(error)
