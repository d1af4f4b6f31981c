"""CollectionService: messages to calls of the collections, images through the extractor."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument, NotFound, Reason, ResourceExhausted
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc, common_pb2
from fc7_service.collections.collection import Collection, check_id
from fc7_service.collections.registry import Collections, Damaged, Summary, Use
from fc7_service.collections.store import Item, Metric, StoredItem
from fc7_service.features.extractor import MAX_WAITING_BYTES, Extractor
from fc7_service.rpc.messages import (
    check_answer,
    content_sha256,
    extract,
    find_model,
    read_vector,
    write_error,
    write_provenance,
    write_tensor,
    write_timing,
)
from fc7_service.rpc.payload import read_payload, write_payload

_METRIC_NUMBERS: dict[Metric, pb.Metric] = {"cosine": pb.METRIC_COSINE, "l2": pb.METRIC_L2, "dot": pb.METRIC_DOT}
_METRICS: dict[int, Metric] = {number: name for name, number in _METRIC_NUMBERS.items()}
_STATUSES = {
    "added": pb.UPSERT_STATUS_ADDED,
    "replaced": pb.UPSERT_STATUS_REPLACED,
    "skipped": pb.UPSERT_STATUS_SKIPPED,
}
_IS_MERGED = {pb.UPSERT_MODE_UNSPECIFIED: False, pb.UPSERT_MODE_REPLACE: False, pb.UPSERT_MODE_MERGE: True}
_DEFAULT_PAGE, _LARGEST_PAGE = 1000, 10_000
_PAGE_BYTES = 16 * 2**20  # a page ends once it has as many
_STEP = 64  # items read, or queries answered, at once
_MOST_HITS = 100_000  # of one call


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """Collections, their items and their neighbours."""

    def __init__(self, collections: Collections, extractor: Extractor) -> None:
        self._collections, self._extractor = collections, extractor

    async def CreateCollection(self, request: pb.CreateCollectionRequest, context: Any) -> pb.CreateCollectionResponse:  # noqa: N802
        """Create an empty collection."""
        bundle = self._extractor.bundle(request.model)
        provenance = bundle.provenance(request.layer)
        metric = _METRICS.get(request.metric or pb.METRIC_COSINE)
        if metric is None:
            raise InvalidArgument(
                f"metric {request.metric} is unknown", name="metric", reason=Reason.UNKNOWN_ENUM_VALUE
            )
        dim = bundle.layers[provenance.layer].dim
        made = await asyncio.to_thread(self._collections.create, request.name, provenance, dim, metric)
        return pb.CreateCollectionResponse(collection=_facts(made))

    async def GetCollection(self, request: pb.GetCollectionRequest, context: Any) -> pb.GetCollectionResponse:  # noqa: N802
        """Return one collection's facts."""
        collection = await asyncio.to_thread(self._collections.get, request.name)
        return pb.GetCollectionResponse(collection=_facts(collection))

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: Any) -> pb.ListCollectionsResponse:  # noqa: N802
        """List the collections by name."""
        found = await asyncio.to_thread(self._collections.list)
        return pb.ListCollectionsResponse(collections=[_facts(c) for c in found])

    async def DeleteCollection(self, request: pb.DeleteCollectionRequest, context: Any) -> pb.DeleteCollectionResponse:  # noqa: N802
        """Delete a collection and all its items."""
        await asyncio.to_thread(self._collections.delete, request.name)
        return pb.DeleteCollectionResponse()

    async def UpsertItems(self, request: pb.UpsertItemsRequest, context: Any) -> pb.UpsertItemsResponse:  # noqa: N802
        """Add or replace items; answer once they are on disk."""
        with await self._use(request.collection) as collection:
            if request.mode not in _IS_MERGED:
                raise InvalidArgument(f"mode {request.mode} is unknown", name="mode", reason=Reason.UNKNOWN_ENUM_VALUE)
            upsert = _Upsert(collection, self._extractor, request.items, _IS_MERGED[request.mode])
            timing = await upsert.run()
            return pb.UpsertItemsResponse(results=upsert.results(), timing=write_timing(timing), count=collection.count)

    async def GetItems(self, request: pb.GetItemsRequest, context: Any) -> pb.GetItemsResponse:  # noqa: N802
        """Return items by id."""
        with await self._use(request.collection) as collection:
            return await asyncio.to_thread(_get_items, collection, list(request.ids), request.with_features)

    async def ListItems(self, request: pb.ListItemsRequest, context: Any) -> pb.ListItemsResponse:  # noqa: N802
        """List items page by page."""
        with await self._use(request.collection) as collection:
            size = request.page_size or _DEFAULT_PAGE
            if not 1 <= size <= _LARGEST_PAGE:
                raise InvalidArgument(f"page_size is {size}: 1 to {_LARGEST_PAGE}", name="page_size")
            token = request.page_token or "0"
            if not (token.isascii() and token.isdecimal() and len(token) <= 19):
                raise InvalidArgument("page_token is not one that this server gave", name="page_token")
            return await asyncio.to_thread(_page, collection, int(token), size, request.with_features)

    async def DeleteItems(self, request: pb.DeleteItemsRequest, context: Any) -> pb.DeleteItemsResponse:  # noqa: N802
        """Delete items by id."""
        with await self._use(request.collection) as collection:
            were_there = await asyncio.to_thread(collection.delete, list(request.ids))
            results = [_deletion(*each, collection) for each in zip(request.ids, were_there, strict=True)]
            return pb.DeleteItemsResponse(results=results, count=collection.count)

    async def QueryItems(self, request: pb.QueryItemsRequest, context: Any) -> pb.QueryItemsResponse:  # noqa: N802
        """Find the nearest items of each query."""
        with await self._use(request.collection) as collection:
            if request.k < 1:
                raise InvalidArgument(f"k is {request.k}: at least 1", name="k")
            if not request.queries:
                raise InvalidArgument("queries is empty: send one at least", name="queries")
            n_hits = len(request.queries) * min(request.k, collection.count)
            if n_hits > _MOST_HITS:
                raise ResourceExhausted(
                    f"the answer would have {n_hits} hits: at most {_MOST_HITS}, so send fewer queries or a smaller k",
                    name="k",
                    reason=Reason.ANSWER_TOO_LARGE,
                )
            found, timing = await _queries(collection, self._extractor, request.queries)
            own = [query.id or None for query in request.queries]
            results = await asyncio.to_thread(_search, collection, found, request.k, own)
            return pb.QueryItemsResponse(
                results=results, metric=_METRIC_NUMBERS[collection.metric], timing=write_timing(timing)
            )

    async def _use(self, name: str) -> Use:
        return await asyncio.to_thread(self._collections.use, name)


class _Upsert:
    """One call of UpsertItems: each item ends with a status or an error of its own."""

    def __init__(
        self, collection: Collection, extractor: Extractor, items: Sequence[pb.NewItem], is_merged: bool
    ) -> None:
        if not items:
            raise InvalidArgument("items is empty: send one at least", name="items")
        self._collection, self._extractor, self._items, self._is_merged = collection, extractor, items, is_merged
        self._outcomes: list[str | Fc7Error] = [""] * len(items)
        self._ready: dict[int, Item] = {}  # index in the request -> item to store
        self._images: dict[int, tuple[str, dict[str, Any]]] = {}  # index -> content hash and payload, not yet extracted

    async def run(self) -> Timing:
        """Do what there is to do."""
        await asyncio.to_thread(self._sort)  # hashes up to a whole message: not on the event loop
        timing = await self._extract()
        rows = sorted(self._ready)
        if rows:
            ready = [self._ready[i] for i in rows]
            statuses = await asyncio.to_thread(self._collection.upsert, ready, is_merged=self._is_merged)
            for i, status in zip(rows, statuses, strict=True):
                self._outcomes[i] = status
        return timing

    def results(self) -> list[pb.UpsertResult]:
        """Return one message an item."""
        return [
            pb.UpsertResult(id=item.id, status=pb.UPSERT_STATUS_FAILED, error=write_error(outcome))
            if isinstance(outcome, Fc7Error)
            else pb.UpsertResult(id=item.id, status=_STATUSES[outcome])
            for item, outcome in zip(self._items, self._outcomes, strict=True)
        ]

    def _sort(self) -> None:
        """Give every item its error, or its place among those that are ready or those to be extracted."""
        _check_room(self._collection, len(self._items))
        stored = self._collection.get([item.id for item in self._items], True)
        seen: set[str] = set()
        for i, (item, old) in enumerate(zip(self._items, stored, strict=True)):
            try:
                check_id(item.id)
                if item.id in seen:
                    raise InvalidArgument(
                        f"id {item.id!r} stands twice in one call", name=item.id, reason=Reason.INVALID_ID
                    )
                seen.add(item.id)
                payload = read_payload(item.payload_json)
                if item.WhichOneof("source") == "vector":
                    content = hashlib.sha256(b"vector" + item.vector.values.data).hexdigest()
                    vector = read_vector(item.vector, self._collection.provenance)
                    self._collection.check_vector(vector)
                    self._ready[i] = Item(item.id, content, payload, vector)
                    continue
                content = item.content_sha256 or content_sha256(item.image)
                if isinstance(old, StoredItem) and old.content_sha256 == content and old.vector is not None:
                    self._ready[i] = Item(item.id, content, payload, old.vector)  # the image need not be seen again
                elif item.content_sha256:
                    raise NotFound(
                        f"item {item.id!r} is not stored with these bytes: send them",
                        name=item.id,
                        reason=Reason.CONTENT_NOT_STORED,
                    )
                else:
                    self._images[i] = content, payload
            except Fc7Error as error:
                self._outcomes[i] = error

    async def _extract(self) -> Timing:
        """Turn the images into items that are ready, or errors."""
        if not self._images:
            return Timing()
        provenance = self._collection.provenance
        model = find_model(self._extractor, provenance, f"collection {self._collection.name!r}")
        images = [self._items[i].image for i in self._images]
        found = await extract(self._extractor, images, model, provenance.layer)
        for (i, (content, payload)), row in zip(self._images.items(), found.rows, strict=True):
            try:
                if isinstance(row, Fc7Error):
                    raise row
                self._collection.check_vector(row)
                self._ready[i] = Item(self._items[i].id, content, payload, row)
            except Fc7Error as error:
                self._outcomes[i] = error
        return found.timing


def _check_room(collection: Collection, n_items: int) -> None:
    """Refuse a call whose items' features would fill the memory, new or stored."""
    if (n_bytes := 4 * collection.dim * n_items) > MAX_WAITING_BYTES:
        raise ResourceExhausted(
            f"the features of {n_items} items of collection {collection.name!r} have {n_bytes} bytes: at most "
            f"{MAX_WAITING_BYTES}, so send fewer items in a call",
            name="items",
            reason=Reason.WORK_TOO_LARGE,
        )


async def _queries(
    collection: Collection, extractor: Extractor, queries: Sequence[pb.Query]
) -> tuple[list[Any], Timing]:
    """Return each query's feature (D,) float32 or its error."""
    found = await asyncio.to_thread(_given, collection, queries)
    images = [i for i, query in enumerate(queries) if query.WhichOneof("source") not in ("vector", "id")]
    if not images:
        return found, Timing()
    provenance = collection.provenance
    model = find_model(extractor, provenance, f"collection {collection.name!r}")
    extracted = await extract(extractor, [queries[i].image for i in images], model, provenance.layer)
    for i, row in zip(images, extracted.rows, strict=True):
        try:
            if not isinstance(row, Fc7Error):
                collection.check_vector(row)
            found[i] = row
        except Fc7Error as error:  # for example a black image, whose feature has no direction
            found[i] = error
    return found, extracted.timing


def _given(collection: Collection, queries: Sequence[pb.Query]) -> list[Any]:
    """Return the feature of each query that brings or names one, or its error; None for images."""
    _check_room(collection, len(queries))
    stored = iter(collection.get([query.id for query in queries if query.WhichOneof("source") == "id"], True))
    found: list[Any] = []
    for query in queries:
        kind = query.WhichOneof("source")
        try:
            if kind == "vector":
                vector = read_vector(query.vector, collection.provenance)
                collection.check_vector(vector)
                found.append(vector)
            elif kind == "id":
                item = next(stored)
                found.append(item if isinstance(item, Fc7Error) else item.vector)
            else:
                found.append(None)
        except Fc7Error as error:
            found.append(error)
    return found


def _search(collection: Collection, vectors: Sequence[Any], k: int, own: Sequence[str | None]) -> list[pb.QueryResult]:
    """Return one result a query: hits of each vector, or the error in its place."""
    rows = [i for i, vector in enumerate(vectors) if not isinstance(vector, Fc7Error)]
    results = [pb.QueryResult(error=write_error(v) if isinstance(v, Fc7Error) else None) for v in vectors]
    n_bytes = 0
    for start in range(0, len(rows), _STEP):
        part = rows[start : start + _STEP]
        answers = collection.search(np.stack([vectors[i] for i in part]), k, [own[i] for i in part])
        for i, hits in zip(part, answers, strict=True):
            results[i].hits.extend(
                pb.Hit(id=hit.id, score=hit.score, payload_json=write_payload(hit.payload)) for hit in hits
            )
            n_bytes += results[i].ByteSize()
            check_answer(n_bytes, "queries, or a smaller k")
    return results


def _get_items(collection: Collection, ids: list[str], with_features: bool) -> pb.GetItemsResponse:
    """Return one result an id; stop where the answer would not fit a message."""
    answer, n_bytes = pb.GetItemsResponse(), 0
    for start in range(0, len(ids), _STEP):
        for item in collection.get(ids[start : start + _STEP], with_features):
            if isinstance(item, Fc7Error):
                result = answer.results.add(error=write_error(item))
            else:
                result = answer.results.add(item=_item(item))
            n_bytes += result.ByteSize()  # of one: that of the answer would serialise all of it each time
        check_answer(n_bytes, "ids")
    return answer


def _page(collection: Collection, after: int, size: int, with_features: bool) -> pb.ListItemsResponse:
    """Return at most ``size`` items, fewer where more would make a large message."""
    answer, rest, n_bytes = pb.ListItemsResponse(), after, 0
    while len(answer.items) < size and n_bytes < _PAGE_BYTES:
        found, following = collection.page(rest, min(_STEP, size - len(answer.items)), with_features)
        items = [_item(item) for item in found]
        answer.items.extend(items)
        n_bytes += sum(item.ByteSize() for item in items)
        if following is None:
            return answer
        rest = following
    answer.next_page_token = str(rest)
    return answer


def _facts(collection: Collection | Summary | Damaged) -> pb.Collection:
    if isinstance(collection, Damaged):
        return pb.Collection(name=collection.name, fault=collection.fault)
    return pb.Collection(
        name=collection.name,
        count=collection.count,
        provenance=write_provenance(collection.provenance),
        metric=_METRIC_NUMBERS[collection.metric],
        dim=collection.dim,
        index=collection.index_name,
    )


def _item(item: StoredItem) -> pb.Item:
    feature: common_pb2.Tensor | None = None if item.vector is None else write_tensor(item.vector)
    return pb.Item(
        id=item.id, payload_json=write_payload(item.payload), content_sha256=item.content_sha256, feature=feature
    )


def _deletion(id: str, was_there: bool, collection: Collection) -> pb.DeleteItemResult:
    return pb.DeleteItemResult(id=id, error=None if was_there else write_error(_no_item(id, collection)))


def _no_item(id: str, collection: Collection) -> NotFound:
    return NotFound(f"collection {collection.name!r} has no item {id!r}", name=id, reason=Reason.ITEM_NOT_FOUND)
