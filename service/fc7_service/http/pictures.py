"""The pictures of items: `GET /pictures/COLLECTION?id=ID&size=256`.

Small ones are the thumbnails that a collection keeps. All others come from the files on the server's disk. A file is
shown only if it lies in a folder that the server was told to show, and only while it is the picture of which the item
was made. So nobody can make the server show another file by storing its path.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fc7.contract.image_digest import image_digest
from fc7.errors import InvalidArgument, NotFound, Reason
from fc7.v1 import collection_pb2
from fc7_service.features.decode import MAX_IMAGE_BYTES
from fc7_service.features.image_format import detect_format
from fc7_service.features.thumbnail import THUMBNAIL_SIZE, make_thumbnail
from fc7_service.http.door import Door

SIZES = (64, 256, 1024)  # pixels of the longer side
_CACHE_BYTES = 64 * 2**20  # some 6,000 pictures of 256 pixels
_KEPT = "private, max-age=60"  # a browser asks again after a minute, with the ETag
_AT_ONCE = 2  # pictures that are made
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
_MEDIA_TYPES |= {"TIFF": "image/tiff", "AVIF": "image/avif"}


class Pictures:
    """Shows the pictures of items.

    Parameters
    ----------
    door
        Looks items up for the caller of a request.
    folders
        Where files may be shown from. If empty, no item has a picture.
    """

    def __init__(self, door: Door, folders: Sequence[Path]) -> None:
        self._door, self._folders = door, [folder.resolve() for folder in folders]
        self._threads = ThreadPoolExecutor(_AT_ONCE, "picture")
        self._cache = _Cache(_CACHE_BYTES)

    def routes(self) -> list[Route]:
        """Return the route of all pictures."""
        return [Route("/pictures/{collection}", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        collection, item_id = request.path_params["collection"], request.query_params.get("id", "")
        size = _read_size(request.query_params.get("size", "256"))
        ask = collection_pb2.GetItemsRequest(collection=collection, ids=[item_id], with_thumbnails=size is not None)
        found = await self._door.ask(request, "/fc7.v1.CollectionService/GetItems", ask, shows_paths=True)
        (result,) = found.results
        if result.HasField("error"):
            raise NotFound(result.error.message, name=item_id, reason=Reason.ITEM_NOT_FOUND)
        data = await asyncio.get_running_loop().run_in_executor(self._threads, self._make, result.item, size)
        if data is None:
            raise NotFound(
                f"item {item_id[:64]!r} has no picture that this server may show: it keeps no thumbnail, and its "
                "file lies in no folder of --pictures, is gone, or has changed",
                name=item_id,
                reason=Reason.FILE_NOT_FOUND,
            )
        tag = f'"{result.item.content_sha256}-{size}"'
        headers = {"Cache-Control": _KEPT, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=_MEDIA_TYPES[detect_format(data)])

    def _make(self, item: collection_pb2.Item, size: int | None) -> bytes | None:
        """Return the picture of an item, or the file itself without a size; None if there is none to show."""
        kept = item.thumbnail
        if size is not None and kept and size <= THUMBNAIL_SIZE:
            return kept if size == THUMBNAIL_SIZE else make_thumbnail(kept, size)
        return self._from_file(item, size) or kept or None

    def _from_file(self, item: collection_pb2.Item, size: int | None) -> bytes | None:
        try:
            file = self._find(item)
            facts = None if file is None else os.stat(file)
            if file is None or facts is None or not stat.S_ISREG(facts.st_mode):
                return None
            key = (file, facts.st_mtime_ns, facts.st_size, item.content_sha256, size)
            if size is None or (known := self._cache.get(key)) is None:
                data = _read(file)
                if image_digest(data).hex() != item.content_sha256:
                    return None
        except (OSError, RuntimeError):  # gone, or a circle of links
            return None
        if size is None:
            return data
        if known is None:
            known = make_thumbnail(data, size)
            self._cache.put(key, known)
        return known

    def _find(self, item: collection_pb2.Item) -> Path | None:
        """Return the file of an item, if it may be shown."""
        path = json.loads(item.payload_json or "{}").get("path")
        if not isinstance(path, str) or "\0" in path or not Path(path).is_absolute():
            return None
        real = Path(path).resolve(strict=True)
        return real if any(real.is_relative_to(folder) for folder in self._folders) else None


def _read(path: Path) -> bytes:
    """Return the bytes of a file, and no more of it than a picture may have."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # does not wait, if it became a pipe
        return file.read(MAX_IMAGE_BYTES + 1)


class _Cache:
    """Thumbnails by content and size; those that were not asked for longest make room."""

    def __init__(self, n_bytes: int) -> None:
        self._free, self._lock = n_bytes, threading.Lock()
        self._kept: OrderedDict[Any, bytes] = OrderedDict()

    def get(self, key: Any) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Any, data: bytes) -> None:
        with self._lock:
            self._free += len(self._kept.pop(key, b"")) - len(data)
            self._kept[key] = data
            while self._free < 0:
                _, dropped = self._kept.popitem(last=False)
                self._free += len(dropped)


def _read_size(text: str) -> int | None:
    """Return the size that is asked for; None for the file itself."""
    if text == "full":
        return None
    if text not in map(str, SIZES):
        known = ", ".join(map(str, SIZES))
        raise InvalidArgument(f"size must be one of {known}, or full (got {text[:32]!r})", name="size")
    return int(text)
