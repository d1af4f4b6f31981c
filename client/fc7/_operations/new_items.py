"""New items of a collection, made from images or features, with their ids and payloads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

from fc7._operations.batches import align
from fc7._operations.conversion import check_text, write_payload, write_tensor
from fc7.errors import Fc7Error, InvalidArgument
from fc7.features import Features
from fc7.images import ImageLike, InputImage, list_images, path_of, read_entries, text_of
from fc7.v1 import collection_pb2 as pb

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be sent. An item with an error is sent without its content, and the server refuses it."""

    id: str  # as the caller gave it
    message: pb.NewItem
    error: Fc7Error | None = None
    n_bytes: int = 0  # of the message, roughly
    sha256: str = ""  # of its image, hex

    @property
    def inquiry(self) -> pb.NewItem:
        """The message with the digest of the image instead of its bytes."""
        return pb.NewItem(
            id=self.message.id, payload_json=self.message.payload_json, content_sha256=self.sha256 or None
        )


def from_images(
    images: ImageLike | Iterable[ImageLike],
    ids: Iterable[str] | None,
    root: Path | str | None,
    payloads: Iterable[Payload] | None,
) -> Iterator[NewItem]:
    """Yield one item per image. Each image is read when its turn comes.

    Raises
    ------
    InvalidArgument
        An image has no id or is outside ``root``, or the lists have different lengths.
    """
    entries = read_entries(list_images(images))
    with_ids = zip(entries, repeat(None)) if ids is None else align(entries, _a_list(ids), "images", "ids")
    pairs = zip(with_ids, repeat(None)) if payloads is None else align(with_ids, payloads, "images", "payloads")
    seen: set[str] = set()
    for (entry, own), payload in pairs:
        own = _id_of(entry, root) if own is None else own
        item = pb.NewItem()
        entry.content.write(item.image)
        payload = _payload_of(entry) if payload is None else payload
        new = _complete(own, item, payload, entry.n_bytes, entry.error, seen)
        yield new if new.error else replace(new, sha256=entry.content.sha256().hex())


def from_features(features: Features, ids: Iterable[str], payloads: Iterable[Payload] | None) -> Iterator[NewItem]:
    """Yield one item per row.

    Raises
    ------
    InvalidArgument
        The lists have different lengths.
    """
    with_ids = align(features.values, _a_list(ids), "features", "ids")
    pairs = zip(with_ids, repeat({})) if payloads is None else align(with_ids, payloads, "features", "payloads")
    seen: set[str] = set()
    for (values, own), payload in pairs:
        vector = pb.Vector(values=write_tensor(values), provenance_digest=features.provenance.digest)
        yield _complete(own, pb.NewItem(vector=vector), payload, values.nbytes, None, seen)


def _complete(
    own: str, item: pb.NewItem, payload: Payload, n_content: int, error: Fc7Error | None, seen: set[str]
) -> NewItem:
    """Return the item with its id and payload, or without its content if something is wrong with it."""
    try:
        item.id = check_text(own, "id")
        item.payload_json = write_payload(payload)
        if own in seen:
            raise InvalidArgument(f"id {own!r} is used twice in this call. Give root= or ids=", name=own)
    except Fc7Error as wrong:
        error = error or wrong
    seen.add(item.id)
    if error is not None:
        return NewItem(str(own), pb.NewItem(id=item.id), error)
    return NewItem(own, item, None, n_content + len(item.payload_json))


def _a_list(ids: Iterable[str]) -> Iterable[str]:
    if isinstance(ids, str):
        raise InvalidArgument(f"ids must be a list with one id per image (got the string {ids!r})", name="ids")
    return ids


def _id_of(entry: InputImage, root: Path | str | None) -> str:
    path = path_of(entry.source)
    if isinstance(entry.source, str) and path is None:
        return entry.name  # a URL, without a password
    if path is None:
        raise InvalidArgument(f"{entry.name} has no path to take an id from. Give ids=", name="ids")
    if root is None:
        return text_of(path.name)
    try:
        return text_of(Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix())
    except ValueError:
        raise InvalidArgument(f"{str(path)!r} is not below root {str(root)!r}. Give ids=", name="root") from None


def _payload_of(entry: InputImage) -> Payload:
    path = path_of(entry.source)
    if path is not None:
        return {"path": text_of(Path(os.path.abspath(path)).as_posix())}
    return {"url": entry.name} if isinstance(entry.source, str) else {}
