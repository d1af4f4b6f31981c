"""What counts as an image, how it is read, and how it becomes a message."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fc7.contract.image_digest import image_digest
from fc7.download import download, is_url, without_credentials
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, NotFound, ResourceExhausted
from fc7.pillow_images import read_pillow
from fc7.v1 import MAX_MESSAGE_BYTES, common_pb2

MAX_IMAGE_BYTES = MAX_MESSAGE_BYTES - 2**20  # leaves room for the id, the payload and the rest of a message
_KINDS = 'a path, a URL (http, https), bytes, a file opened with "rb", a Pillow image, or an array of uint8 (H, W, 3)'


class PillowImage(Protocol):
    """A `PIL.Image.Image`, described without importing Pillow."""

    def convert(self, mode: str) -> Any:
        """Return it in another mode."""


ImageLike: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8] | PillowImage


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What is sent of an image: the bytes of a file, or pixels uint8 in RGB."""

    data: bytes = b""
    shape: tuple[int, ...] = ()  # (H, W, 3) of pixels; empty for a file

    def sha256(self) -> bytes:
        """Return the digest by which the server recognises the image."""
        return image_digest(self.data, self.shape or None)

    def write(self, message: common_pb2.Image) -> None:
        """Write it into a message. An empty image is left out, so that the server refuses it."""
        if self.shape:
            message.pixels.dtype, message.pixels.data = "uint8", self.data
            message.pixels.shape.extend(self.shape)
        elif self.data:
            message.encoded = self.data


@dataclass(frozen=True, slots=True)
class InputImage:
    """One image of a call. An unreadable one is sent empty, so that images and answers stay in step."""

    index: int  # in the caller's list
    source: ImageLike
    content: ImageContent
    error: Fc7Error | None = None  # why it could not be read

    @property
    def name(self) -> str:
        """The path, the URL, or the position in the list."""
        if is_url(self.source):
            return without_credentials(self.source)
        path = path_of(self.source)
        return f"image {self.index}" if path is None else text_of(str(path))

    @property
    def n_bytes(self) -> int:
        """How much it adds to a message, roughly."""
        return len(self.content.data)


def list_images(images: Any) -> Iterable[Any]:
    """Return ``images`` as an iterable. A single image becomes a list of one.

    Raises
    ------
    InvalidArgument
        It is neither an image nor an iterable of images.
    """
    is_one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview)
    if is_one or hasattr(images, "convert") or hasattr(images, "read"):
        return [images]
    if hasattr(images, "__array__"):
        return _list_array(np.asarray(images))
    if isinstance(images, Mapping):
        raise InvalidArgument(
            "images is a dictionary. Give a list, for example images=list(d.values()), and names as ids=list(d)",
            name="images",
        )
    if not isinstance(images, Iterable):
        raise InvalidArgument(
            f"images is {type(images).__name__}. Give one image, or a list of images: {_KINDS}", name="images"
        )
    return images


def _list_array(images: NDArray[Any]) -> Iterable[Any]:
    """Return an array as a list: of paths or images (N,), of pixels (N, H, W, 3), or of one image (H, W, 3)."""
    if images.dtype.kind == "S":
        raise InvalidArgument(
            "images is an array of bytes, in which NumPy drops zeros at the end. Give a list of bytes or paths",
            name="images",
        )
    if images.dtype.kind not in "UOT":
        return images if images.ndim == 4 else [images]
    if images.ndim > 1:
        raise InvalidArgument(
            f"images is a table {images.shape}. Give one column of it: paths or images, shape (N,)", name="images"
        )
    return images.reshape(-1).tolist()


def read_entries(images: Iterable[ImageLike]) -> Iterator[InputImage]:
    """Read images one by one. An image that cannot be read keeps its place, with its error."""
    for index, image in enumerate(images):
        try:
            yield InputImage(index, image, read_image(image))
        except Fc7Error as error:
            yield InputImage(index, image, ImageContent(), error)


def path_of(image: ImageLike) -> Path | None:
    """Return the path of an image that is given by its path, otherwise None."""
    return Path(image) if isinstance(image, str | os.PathLike) and not is_url(image) else None


def text_of(file_name: str) -> str:
    r"""Return a file name as text. A byte that is not UTF-8 becomes ``\xNN``, as in ``caf\xe9.jpg``."""
    try:
        return os.fsencode(file_name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair that stands for no byte; no file has that name
        return file_name.encode("utf-8", "backslashreplace").decode()


def read_image(image: ImageLike) -> ImageContent:
    """Return what is sent of one image: the file of a path, the pixels of an array, and so on.

    Raises
    ------
    NotFound
        The file or URL does not exist.
    FailedPrecondition
        The file or URL cannot be read.
    Unavailable, DeadlineExceeded
        The server of a URL cannot be reached, or is too slow.
    ImageDecodeError
        Pillow cannot decode the image.
    ResourceExhausted
        The image is too large for one message.
    InvalidArgument
        It is not an image.
    """
    path = path_of(image)
    if path is not None:
        return ImageContent(_read_file(path))
    if isinstance(image, str):
        return ImageContent(download(image, MAX_IMAGE_BYTES))
    if isinstance(image, bytes | bytearray | memoryview):
        _check_size(memoryview(image).nbytes, "image")
        return ImageContent(bytes(image))  # copies nothing if it is bytes
    if hasattr(image, "convert"):
        seen = read_pillow(image, MAX_IMAGE_BYTES)
        return ImageContent(seen) if isinstance(seen, bytes) else _read_pixels(seen)
    if hasattr(image, "read"):
        return ImageContent(_read_open(image))
    if hasattr(image, "__array__"):
        return _read_pixels(np.asarray(image))
    raise InvalidArgument(f"image is {type(image).__name__}. Give {_KINDS}", name="image")


def write_image(image: ImageLike) -> common_pb2.Image:
    """Return the message of one image. Raises the errors of `read_image`."""
    message = common_pb2.Image()
    read_image(image).write(message)
    return message


def _read_file(path: Path) -> bytes:
    name = str(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
            raise InvalidArgument(f"{name!r} is not a file. Name the images in it", name=name)
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


def _read_open(file: Any) -> bytes:
    """Return the rest of an open file. If the file can seek, its position is restored, so that it can be read again."""
    name = str(getattr(file, "name", "image"))
    if isinstance(file, io.TextIOBase):
        raise InvalidArgument(f'the file {name!r} is open as text. Open it with "rb"', name=name)
    try:
        start = file.tell() if hasattr(file, "seekable") and file.seekable() else None
        data: bytes = file.read(MAX_IMAGE_BYTES + 1)
        if start is not None:
            file.seek(start)
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"the open file {name!r} cannot be read: {error}", name=name) from error
    if not data:
        raise InvalidArgument(f"the file {name!r} is at its end. Call seek(0) first, or give the path", name=name)
    _check_size(len(data), name)
    return data


def _read_pixels(pixels: NDArray[Any]) -> ImageContent:
    if (
        pixels.dtype != np.uint8
        or not pixels.size
        or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3)))
    ):
        raise InvalidArgument(
            f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (H, W, 3). {_way_out(pixels)}", name="pixels"
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))  # grey in all three channels
    _check_size(pixels.nbytes, "pixels")
    return ImageContent(pixels.tobytes(), pixels.shape)


def _way_out(pixels: NDArray[Any]) -> str:
    """Return how to turn an array into pixels."""
    shape = pixels.shape
    if not pixels.size:
        return "The array is empty"
    if pixels.dtype.kind == "f":
        return "For values from 0 to 1 give (pixels * 255).round().astype(np.uint8)"
    if pixels.dtype == np.uint16:
        return "For 16-bit values give (pixels / 257).round().astype(np.uint8)"
    if pixels.dtype != np.uint8:
        return "For values from 0 to 255 give pixels.astype(np.uint8)"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "For channels that come first give pixels.transpose(1, 2, 0)"
    if len(shape) == 3 and shape[2] == 4:
        return "For an alpha channel give PIL.Image.fromarray(pixels), which is laid on white"
    return "For a stack of grey images give list(pixels)"


def _check_size(n_bytes: int, name: str) -> None:
    if n_bytes > MAX_IMAGE_BYTES:
        raise ResourceExhausted(
            f"{name} has {n_bytes} bytes, but a message holds at most {MAX_IMAGE_BYTES}. Make the image smaller",
            name=name,
        )
