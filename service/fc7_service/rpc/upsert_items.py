"""UpsertItems: read the items, extract the images among them, store all, write the results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument, Reason
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import common_pb2
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.item_rules import check_id
from fc7_service.collections.pools import Pools
from fc7_service.collections.upsert import NewItem, Upsert
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.features.thumbnail import THUMBNAIL_SIZE, make_thumbnail
from fc7_service.rpc.messages import content_sha256, read_image, read_vector, write_error, write_timing
from fc7_service.rpc.payload import read_payload
from fc7_service.rpc.request_models import model_of_provenance

_STATUSES = {
    "added": pb.UPSERT_STATUS_ADDED,
    "replaced": pb.UPSERT_STATUS_REPLACED,
    "skipped": pb.UPSERT_STATUS_SKIPPED,
}
_IS_MERGED = {pb.UPSERT_MODE_UNSPECIFIED: False, pb.UPSERT_MODE_REPLACE: False, pb.UPSERT_MODE_MERGE: True}


async def upsert_items(
    collection: Collection, extractor: Extractor, request: pb.UpsertItemsRequest, pools: Pools
) -> pb.UpsertItemsResponse:
    """Answer one call; errors of single items stand in their results."""
    if request.mode not in _IS_MERGED:
        raise InvalidArgument(f"mode {request.mode} is unknown", name="mode", reason=Reason.UNKNOWN_ENUM_VALUE)
    if not request.items:
        raise InvalidArgument("items is empty. Send at least one", name="items")
    # In a thread, because this hashes up to a whole message.
    upsert = await pools.read(_read_upsert, collection, request.items, request.keep_thumbnails)
    timing = Timing()
    if upsert.unextracted:
        provenance = collection.provenance
        model = model_of_provenance(extractor, provenance, f"collection {collection.name!r}")
        images = [read_image(request.items[i].image) for i in upsert.unextracted]
        found = await extract_images(extractor, images, model, provenance.layer)
        upsert.add_features(found.rows)
        timing = found.timing
    if upsert.undrawn:
        upsert.add_thumbnails(await pools.read(_draw, [request.items[i].image for i in upsert.undrawn]))
    outcomes = await pools.write(collection.name, upsert.store, is_merged=_IS_MERGED[request.mode])
    results = [_write_result(item.id, outcome) for item, outcome in zip(request.items, outcomes, strict=True)]
    return pb.UpsertItemsResponse(results=results, timing=write_timing(timing), count=collection.count)


def _read_upsert(collection: Collection, messages: Sequence[pb.NewItem], keeps_thumbnails: bool) -> Upsert:
    items: list[NewItem | Fc7Error] = []
    seen: set[str] = set()
    for message in messages:
        try:
            check_id(message.id)
            if message.id in seen:
                raise InvalidArgument(
                    f"id {message.id!r} occurs twice in this call", name=message.id, reason=Reason.INVALID_ID
                )
            seen.add(message.id)
            items.append(_read_item(message, collection.provenance, keeps_thumbnails))
        except Fc7Error as error:
            items.append(error)
    upsert = Upsert(collection, items)
    upsert.sort()
    return upsert


def _read_item(message: pb.NewItem, provenance: Provenance, keeps_thumbnail: bool) -> NewItem:
    payload = read_payload(message.payload_json)
    if message.WhichOneof("source") == "vector":
        content = hashlib.sha256(b"vector" + message.vector.values.data).hexdigest()
        return NewItem(message.id, content, payload, read_vector(message.vector, provenance))
    if message.content_sha256:
        return NewItem(message.id, message.content_sha256, payload, has_thumbnail=keeps_thumbnail)
    content = content_sha256(message.image)
    return NewItem(message.id, content, payload, has_image=True, has_thumbnail=keeps_thumbnail)


def _draw(images: Sequence[common_pb2.Image]) -> list[bytes]:
    """Return the thumbnail of each image; empty for one that cannot be read, or that came as pixels."""
    thumbnails = []
    for image in images:
        try:
            thumbnails.append(make_thumbnail(image.encoded, THUMBNAIL_SIZE) if image.encoded else b"")
        except Fc7Error:  # extraction says what is wrong with it
            thumbnails.append(b"")
    return thumbnails


def _write_result(id: str, outcome: str | Fc7Error) -> pb.UpsertResult:
    if isinstance(outcome, Fc7Error):
        return pb.UpsertResult(id=id, status=pb.UPSERT_STATUS_FAILED, error=write_error(outcome))
    return pb.UpsertResult(id=id, status=_STATUSES[outcome])
