"""CollectionService: collections, their items and their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

from fc7._operations.batches import BATCH_IMAGES, ROWS, call_with, next_request, split
from fc7._operations.conversion import (
    check_text,
    newer_server,
    read_payload,
    read_provenance,
    read_tensor,
)
from fc7._operations.ids import split_ids
from fc7._operations.new_items import NewItem
from fc7._operations.search import check_filtered, read_recall
from fc7._operations.steps import Emit, Operation, SendRequest
from fc7.errors import FailedPrecondition, Fc7Error, ImageDecodeError, InvalidArgument, NotFound
from fc7.filters import Where, write_where
from fc7.grpc_errors import read_item_error
from fc7.results import Added, CollectionFacts, Item, Metric, Provenance, Recall, Removed, UpsertStatus
from fc7.v1 import MAX_MESSAGE_BYTES
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_METRICS: dict[Metric, pb.Metric] = {"cosine": pb.METRIC_COSINE, "l2": pb.METRIC_L2, "dot": pb.METRIC_DOT}
_METRIC_NAMES: dict[int, Metric] = {number: name for name, number in _METRICS.items()}
_METRIC_NAMES[pb.METRIC_UNSPECIFIED] = (
    "cosine"  # the server's default, and the metric of a collection that was set aside
)
_STATUSES: dict[int, UpsertStatus] = {
    pb.UPSERT_STATUS_ADDED: "added",
    pb.UPSERT_STATUS_REPLACED: "replaced",
    pb.UPSERT_STATUS_SKIPPED: "skipped",
}
_IDS = 1000  # per request; an id has at most 1 KiB
_ITEM_BYTES = 2**18  # a payload of 64 Ki characters, each of four bytes
_THUMBNAIL_BYTES = 2**17  # of the largest: noise

T = TypeVar("T")


def create(name: str, layer: str, model: str, metric: Metric, recall: float | None) -> Operation[CollectionFacts]:
    """Create an empty collection."""
    if metric not in _METRICS:
        raise InvalidArgument(f"metric must be one of {', '.join(get_args(Metric))} (got {metric!r})", name="metric")
    request = pb.CreateCollectionRequest(
        name=check_text(name, "name"),
        layer=check_text(layer, "layer"),
        model=check_text(model, "model"),
        metric=_METRICS[metric],
        recall=recall,
    )
    response: pb.CreateCollectionResponse = yield SendRequest(Stub, "CreateCollection", request)
    return _read_facts(response.collection)


def tune(name: str, recall: float) -> Operation[Recall]:
    """Let the index search as hard as a recall needs."""
    request = pb.TuneCollectionRequest(name=name, recall=recall)
    response: pb.TuneCollectionResponse = yield SendRequest(Stub, "TuneCollection", request)
    sent = response.recall
    return Recall(sent.value, sent.low, sent.high, sent.queries)


def get(name: str, find_damage: bool = False) -> Operation[CollectionFacts]:
    """Return one collection's facts; let the server read all items first to ``find_damage``."""
    request = pb.GetCollectionRequest(name=check_text(name, "name"), find_damage=find_damage)
    response: pb.GetCollectionResponse = yield SendRequest(Stub, "GetCollection", request)
    return _read_facts(response.collection)


def unknown(name: str) -> CollectionFacts:
    """Return a collection of which only the name is known, without asking the server."""
    return CollectionFacts(check_text(name, "name"), 0, Provenance(*[""] * 7), "cosine", 0, "", "")


def list_all() -> Operation[list[CollectionFacts]]:
    """Return the facts of all collections, by name."""
    response: pb.ListCollectionsResponse = yield SendRequest(Stub, "ListCollections", pb.ListCollectionsRequest())
    return [_read_facts(collection) for collection in response.collections]


def delete(name: str) -> Operation[None]:
    """Delete a collection."""
    yield SendRequest(Stub, "DeleteCollection", pb.DeleteCollectionRequest(name=check_text(name, "name")))


def upsert(
    collection: CollectionFacts,
    items: Iterable[NewItem],
    is_images: bool,
    replace: bool,
    report: Callable[[Added], object] | None,
    keep_thumbnails: bool = False,
) -> Operation[list[Added]]:
    """Add items batch by batch, and report each item when the server has answered.

    For images, the digests are sent first, and then the bytes of the images that are not stored.
    """
    added: list[Added] = []
    mode = pb.UPSERT_MODE_REPLACE if replace else pb.UPSERT_MODE_MERGE
    batches = split(items, lambda item: item.n_bytes, BATCH_IMAGES if is_images else ROWS)

    def request_of(items: list[pb.NewItem]) -> pb.UpsertItemsRequest:
        return pb.UpsertItemsRequest(
            collection=collection.name, items=items, mode=mode, keep_thumbnails=keep_thumbnails
        )

    def pack(batch: list[NewItem]) -> pb.UpsertItemsRequest:
        return request_of([item.message for item in batch])

    def pack_inquiry(batch: list[NewItem]) -> pb.UpsertItemsRequest:
        return request_of([item.inquiry for item in batch])

    while (work := (yield next_request(batches, pack_inquiry if is_images else pack)))[0]:
        batch = work[0]
        response: pb.UpsertItemsResponse = yield call_with(Stub, "UpsertItems", work)
        results = list(response.results)
        wanted = [i for i, result in enumerate(results) if batch[i].sha256 and _is_wanted(result)]
        if wanted:
            _, request = yield next_request(iter([[batch[i] for i in wanted]]), pack)
            response = yield call_with(
                Stub, "UpsertItems", (batch, request)
            )  # repeated as patiently as the whole batch
            for i, result in zip(wanted, response.results, strict=True):
                results[i] = result
        if response.HasField("count"):
            collection.count = response.count
        for item, result in zip(batch, results, strict=True):
            added.append(_read_upsert(item, result))
            if report:
                report(added[-1])
    return added


def contains(collection: CollectionFacts, id: str) -> Operation[bool]:
    """Return whether an item is stored."""
    (item,) = yield from get_items(collection, [id], False)
    if isinstance(item, Fc7Error) and not isinstance(item, NotFound):
        raise item
    return isinstance(item, Item)


def get_items(
    collection: CollectionFacts, ids: Iterable[str], with_features: bool, with_thumbnails: bool = False
) -> Operation[list[Item | Fc7Error]]:
    """Return items by id."""
    items: list[Item | Fc7Error] = []
    if with_features and not collection.dim:
        collection = yield from get(collection.name)
    for part in split_ids(ids, _page_size(collection.dim, with_features, with_thumbnails)):
        request = pb.GetItemsRequest(
            collection=collection.name,
            ids=[own.sent for own in part],
            with_features=with_features,
            with_thumbnails=with_thumbnails,
        )
        response: pb.GetItemsResponse = yield SendRequest(Stub, "GetItems", request)
        items += [
            _read_item(result.item)
            if result.WhichOneof("result") == "item"
            else own.error or read_item_error(result.error)
            for own, result in zip(part, response.results, strict=True)
        ]
    return items


def list_items(
    collection: CollectionFacts, with_features: bool, where: Where | None, order_by: str, descending: bool
) -> Operation[None]:
    """Emit every item that matches, in the order of first insertion, of their ids or of a field."""
    check_text(order_by, "order_by")
    token, filter_json = "", write_where(where)
    while True:
        request = pb.ListItemsRequest(
            collection=collection.name,
            page_size=_page_size(collection.dim, with_features) if collection.dim else 0,
            page_token=token,
            with_features=with_features,
            filter_json=filter_json,
            order_by=order_by,
            descending=descending,
        )
        response: pb.ListItemsResponse = yield SendRequest(Stub, "ListItems", request)
        check_filtered(where is not None, response.filtered)
        if order_by and not response.ordered:
            raise FailedPrecondition(
                "The server knows only the order of first insertion. Upgrade fc7 on the server, or leave order_by out",
                name="order_by",
            )
        collection.damaged = response.damaged
        for item in response.items:
            yield Emit(_read_item(item))
        token = response.next_page_token
        if not token:
            return


def count_items(collection: str, where: Where | None) -> Operation[int]:
    """Return how many items match."""
    request = pb.CountItemsRequest(collection=collection, filter_json=write_where(where))
    response: pb.CountItemsResponse = yield SendRequest(Stub, "CountItems", request)
    return response.count


def delete_items(
    collection: CollectionFacts,
    ids: Iterable[str] | None,
    where: Where | None,
    report: Callable[[Removed], object] | None,
) -> Operation[list[Removed]]:
    """Delete items by id, or those that match, and report each when the server has answered."""
    if (ids is None) == (where is None):
        raise InvalidArgument("remove takes exactly one of ids and where=", name="ids")
    removed: list[Removed] = []

    def add(item: Removed) -> None:
        removed.append(item)
        if report:
            report(item)

    if ids is None:
        request = pb.DeleteItemsRequest(collection=collection.name, filter_json=write_where(where))
        more = True
        while more:
            response: pb.DeleteItemsResponse = yield SendRequest(Stub, "DeleteItems", request)
            check_filtered(True, response.filtered)
            collection.count, more = response.count, response.more
            request.page_token = response.next_page_token
            for result in response.results:
                add(Removed(result.id))
        return removed
    for part in split_ids(ids, _IDS):
        request = pb.DeleteItemsRequest(collection=collection.name, ids=[own.sent for own in part])
        response = yield SendRequest(Stub, "DeleteItems", request)
        if response.HasField("count"):
            collection.count = response.count
        for own, result in zip(part, response.results, strict=True):
            add(Removed(own.id, own.error or (read_item_error(result.error) if result.HasField("error") else None)))
    return removed


def _page_size(dim: int, with_features: bool, with_thumbnails: bool = False) -> int:
    """Return how many items fit a message, whatever their payloads are."""
    n_bytes = _ITEM_BYTES + 4 * dim * with_features + _THUMBNAIL_BYTES * with_thumbnails
    return max(1, MAX_MESSAGE_BYTES * 3 // 4 // n_bytes)


def _is_wanted(result: pb.UpsertResult) -> bool:
    """Return whether the server asks for the bytes. Version 0.1 reports an item without bytes as undecodable."""
    return result.HasField("error") and isinstance(read_item_error(result.error), NotFound | ImageDecodeError)


def _read_upsert(item: NewItem, result: pb.UpsertResult) -> Added:
    error = item.error or (read_item_error(result.error) if result.HasField("error") else None)
    if error is None and result.status not in _STATUSES:
        error = newer_server(f"status {result.status} of an item")
    return Added(item.id, "failed", error) if error else Added(result.id, _STATUSES[result.status])


def _read_facts(collection: pb.Collection) -> CollectionFacts:
    if collection.metric not in _METRIC_NAMES:
        raise newer_server(f"metric {collection.metric} of collection {collection.name!r}")
    return CollectionFacts(
        name=collection.name,
        count=collection.count,
        provenance=read_provenance(collection.provenance),
        metric=_METRIC_NAMES[collection.metric],
        dim=collection.dim,
        index=collection.index,
        fault=collection.fault,
        damaged=collection.damaged,
        damaged_ids=list(collection.damaged_ids),
        versions=dict(collection.versions),
        recall=read_recall(collection),
        recall_target=collection.recall_target or None,
    )


def _read_item(item: pb.Item) -> Item:
    feature: Any = read_tensor(item.feature) if item.HasField("feature") else None
    return Item(item.id, read_payload(item.payload_json), item.content_sha256, feature, item.thumbnail or None)
