"""Long lists are sent in batches, limited in bytes and in count. Each batch is read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any, TypeVar

from google.protobuf.message import Message

from fc7._operations.steps import RunBlocking, SendRequest
from fc7.errors import InvalidArgument
from fc7.images import ImageLike, InputImage, list_images, read_entries
from fc7.v1 import MAX_MESSAGE_BYTES

E = TypeVar("E")

BATCH_BYTES = MAX_MESSAGE_BYTES // 4
BATCH_IMAGES = 64
ROWS = 1024  # features or ids per request, if the bytes allow it
_BULK = 16  # entries; the server itself joins calls with fewer into batches
_ABSENT: Any = object()


def split(entries: Iterable[E], size: Callable[[E], int], count: int = BATCH_IMAGES) -> Iterator[list[E]]:
    """Yield lists of at most ``count`` entries and `BATCH_BYTES` bytes. A larger entry goes alone."""
    batch: list[E] = []
    n_bytes = 0
    for entry in entries:
        entry_bytes = size(entry)
        if batch and (len(batch) == count or n_bytes + entry_bytes > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(entry)
        n_bytes += entry_bytes
    if batch:
        yield batch


def split_images(images: ImageLike | Iterable[ImageLike], count: int = BATCH_IMAGES) -> Iterator[list[InputImage]]:
    """Yield the images of a call in batches, each read when its turn comes."""
    return split(read_entries(list_images(images)), lambda entry: entry.n_bytes, count)


def next_request(batches: Iterator[list[E]], pack: Callable[[list[E]], Message]) -> RunBlocking:
    """Return the step that reads the next batch and serializes its request, outside the caller's event loop.

    It yields the batch and the bytes of the request. At the end the batch is empty.
    """

    def read_and_pack() -> tuple[list[E], bytes]:
        batch = next(batches, [])
        return batch, pack(batch).SerializeToString() if batch else b""

    return RunBlocking(read_and_pack)


def call_with(stub: type[Any], method: str, work: tuple[list[Any], bytes]) -> SendRequest:
    """Return the call that sends a batch."""
    batch, request = work
    return SendRequest(stub, method, request, is_bulk=len(batch) >= _BULK)


def write_images(entries: Iterable[InputImage], images: Any) -> None:
    """Append each image to a repeated field of messages. Its bytes are copied once."""
    for entry in entries:
        entry.content.write(images.add())


def align(left: Iterable[Any], right: Iterable[Any], left_name: str, right_name: str) -> Iterator[tuple[Any, Any]]:
    """Yield pairs.

    Raises
    ------
    InvalidArgument
        One of them ends before the other.
    """
    for index, (a, b) in enumerate(zip_longest(left, right, fillvalue=_ABSENT)):
        if a is _ABSENT or b is _ABSENT:
            longer, shorter = (right_name, left_name) if a is _ABSENT else (left_name, right_name)
            raise InvalidArgument(
                f"{shorter} ends after {index}, but {longer} has more. Give as many {shorter} as {longer}", name=shorter
            )
        yield a, b
