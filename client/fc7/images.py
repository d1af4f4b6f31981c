"""What counts as an image, and how it becomes a message."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition, Fc7Error, ImageDecodeError, InvalidArgument, NotFound, ResourceExhausted
from fc7.v1 import MAX_MESSAGE_BYTES, common_pb2

MAX_IMAGE_BYTES = MAX_MESSAGE_BYTES - 2**20  # room for the id, the payload and what else a message holds


class PillowImage(Protocol):
    """A `PIL.Image.Image`, named without importing Pillow."""

    def convert(self, mode: str) -> Any:
        """Return it in another mode."""


ImageLike: TypeAlias = str | os.PathLike[str] | bytes | NDArray[np.uint8] | PillowImage


@dataclass(frozen=True, slots=True)
class Entry:
    """One image on its way: unreadable ones travel empty, so that images and answers stay in step."""

    index: int  # in the caller's list
    source: ImageLike
    message: common_pb2.Image
    error: Fc7Error | None = None  # why it could not be read here

    @property
    def name(self) -> str:
        """The path, or which image of the list it is."""
        path = path_of(self.source)
        return f"image {self.index}" if path is None else text_of(str(path))


def list_images(images: Any) -> Iterable[ImageLike]:
    """Return ``images`` as an iterable: a single image becomes a list of one.

    Raises
    ------
    InvalidArgument
        Neither an image nor an iterable.
    """
    if _is_image(images):
        return [images]
    if not isinstance(images, Iterable):
        raise InvalidArgument(
            f"images is {type(images).__name__}: give an image or an iterable of images", name="images"
        )
    return images


def _is_image(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim <= 3  # (N, H, W, 3) is a list of images
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(value, "convert")


def read_entries(images: Iterable[ImageLike]) -> Iterator[Entry]:
    """Read images one by one; what cannot be read keeps its place with its error."""
    for index, image in enumerate(images):
        try:
            yield Entry(index, image, write_image(image))
        except Fc7Error as error:
            yield Entry(index, image, common_pb2.Image(), error)


def path_of(image: ImageLike) -> Path | None:
    """Return the path of an image that is given by one."""
    return Path(image) if isinstance(image, str | os.PathLike) else None


def text_of(file_name: str) -> str:
    r"""Return a file name as text: a byte that is not UTF-8 becomes ``\xNN``, as in ``caf\xe9.jpg``."""
    try:
        return os.fsencode(file_name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte: no file has that name
        return file_name.encode("utf-8", "backslashreplace").decode()


def write_image(image: ImageLike) -> common_pb2.Image:
    """Return the message of one image; Pillow images and arrays travel as their pixels.

    Raises
    ------
    NotFound
        The file does not exist (any more).
    FailedPrecondition
        The file cannot be read.
    ImageDecodeError
        Pillow cannot decode it.
    ResourceExhausted
        Too large for one message.
    InvalidArgument
        Not an image.
    """
    path = path_of(image)
    if path is not None:
        return common_pb2.Image(encoded=_read_file(path))
    if isinstance(image, bytes | bytearray | memoryview):
        _check_size(memoryview(image).nbytes, "image")
        return common_pb2.Image(encoded=bytes(image))
    if isinstance(image, np.ndarray):
        return common_pb2.Image(pixels=_write_pixels(image))
    if hasattr(image, "convert"):
        return common_pb2.Image(pixels=_write_pixels(_decode(image)))
    raise InvalidArgument(
        f"image is {type(image).__name__}: a path, bytes, a Pillow image or uint8 (H, W, 3) is expected", name="image"
    )


def _read_file(path: Path) -> bytes:
    name = str(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
            raise InvalidArgument(f"{name!r} is not a file: name the images in it", name=name)
        _check_size(facts.st_size, name)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"file {name!r} does not exist", name=name) from error
    except OSError as error:
        raise FailedPrecondition(f"file {name!r} cannot be read: {error.strerror}", name=name) from error
    except Fc7Error:
        raise
    except ValueError as error:  # a null byte, half a surrogate pair
        raise InvalidArgument(f"{name!r} is not a file name: {error}", name="image") from error


def _decode(image: Any) -> NDArray[Any]:
    try:
        return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow decodes here, and its plug-ins raise what they like
        raise ImageDecodeError(f"Pillow cannot decode the image: {error}", name="image") from error


def _write_pixels(pixels: NDArray[Any]) -> common_pb2.Tensor:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InvalidArgument(f"pixels are {pixels.dtype} {pixels.shape}: uint8 (H, W, 3) is expected", name="pixels")
    _check_size(pixels.nbytes, "pixels")
    return common_pb2.Tensor(dtype="uint8", shape=pixels.shape, data=pixels.tobytes())


def _check_size(n_bytes: int, name: str) -> None:
    if n_bytes > MAX_IMAGE_BYTES:
        raise ResourceExhausted(
            f"{name} has {n_bytes} bytes: at most {MAX_IMAGE_BYTES} fit a message; make the image smaller", name=name
        )
