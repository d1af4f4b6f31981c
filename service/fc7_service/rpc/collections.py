"""CollectionService: messages to calls of the collections, images through the extractor."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument, NotFound
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc, common_pb2
from fc7_service.collections.collection import Collection, check_id
from fc7_service.collections.library import Collections, Damaged
from fc7_service.collections.store import Item, Metric, StoredItem
from fc7_service.features.extractor import Extractor, Timing
from fc7_service.rpc.messages import (
    extract,
    find_model,
    read_payload,
    read_vector,
    write_error,
    write_payload,
    write_provenance,
    write_tensor,
    write_timing,
)

_METRIC_NUMBERS: dict[Metric, pb.Metric] = {"cosine": pb.METRIC_COSINE, "l2": pb.METRIC_L2, "dot": pb.METRIC_DOT}
_METRICS: dict[int, Metric] = {number: name for name, number in _METRIC_NUMBERS.items()}
_STATUSES = {
    "added": pb.UPSERT_STATUS_ADDED,
    "replaced": pb.UPSERT_STATUS_REPLACED,
    "skipped": pb.UPSERT_STATUS_SKIPPED,
}
_DEFAULT_PAGE, _LARGEST_PAGE = 1000, 10_000
_NO_TIME = Timing(0.0, 0.0, 0.0)


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
            raise InvalidArgument(f"metric {request.metric} is unknown", name="metric")
        dim = bundle.layers[provenance.layer].dim
        made = await asyncio.to_thread(self._collections.create, request.name, provenance, dim, metric)
        return pb.CreateCollectionResponse(collection=_facts(made))

    async def GetCollection(self, request: pb.GetCollectionRequest, context: Any) -> pb.GetCollectionResponse:  # noqa: N802
        """Return one collection's facts."""
        return pb.GetCollectionResponse(collection=_facts(await self._get(request.name)))

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
        collection = await self._get(request.collection)
        upsert = _Upsert(collection, self._extractor, request.items)
        timing = await upsert.run()
        return pb.UpsertItemsResponse(results=upsert.results(), timing=write_timing(timing))

    async def GetItems(self, request: pb.GetItemsRequest, context: Any) -> pb.GetItemsResponse:  # noqa: N802
        """Return items by id."""
        collection = await self._get(request.collection)
        found = await asyncio.to_thread(collection.get, list(request.ids), request.with_features)
        return pb.GetItemsResponse(
            results=[
                pb.GetItemResult(error=write_error(item))
                if isinstance(item, Fc7Error)
                else pb.GetItemResult(item=_item(item))
                for item in found
            ]
        )

    async def ListItems(self, request: pb.ListItemsRequest, context: Any) -> pb.ListItemsResponse:  # noqa: N802
        """List items page by page."""
        collection = await self._get(request.collection)
        size = request.page_size or _DEFAULT_PAGE
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidArgument(f"page_size is {size}: 1 to {_LARGEST_PAGE}", name="page_size")
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidArgument("page_token is not one that this server gave", name="page_token")
        after = int(request.page_token or 0)
        items, rest = await asyncio.to_thread(collection.page, after, size, request.with_features)
        return pb.ListItemsResponse(
            items=[_item(item) for item in items], next_page_token="" if rest is None else str(rest)
        )

    async def DeleteItems(self, request: pb.DeleteItemsRequest, context: Any) -> pb.DeleteItemsResponse:  # noqa: N802
        """Delete items by id."""
        collection = await self._get(request.collection)
        were_there = await asyncio.to_thread(collection.delete, list(request.ids))
        return pb.DeleteItemsResponse(
            results=[
                pb.DeleteItemResult(id=item_id, error=None if was_there else write_error(_no_item(item_id, collection)))
                for item_id, was_there in zip(request.ids, were_there, strict=True)
            ]
        )

    async def QueryItems(self, request: pb.QueryItemsRequest, context: Any) -> pb.QueryItemsResponse:  # noqa: N802
        """Find the nearest items of each query."""
        collection = await self._get(request.collection)
        if request.k < 1:
            raise InvalidArgument(f"k is {request.k}: at least 1", name="k")
        if not request.queries:
            raise InvalidArgument("queries is empty: send one at least", name="queries")
        found, timing = await _queries(collection, self._extractor, request.queries)
        rows = [i for i, vector in enumerate(found) if not isinstance(vector, Fc7Error)]
        results = [pb.QueryResult(error=write_error(v) if isinstance(v, Fc7Error) else None) for v in found]
        if rows:
            vectors = np.stack([found[i] for i in rows])
            own = [request.queries[i].id or None for i in rows]
            answers = await asyncio.to_thread(collection.search, vectors, request.k, own)
            for i, hits in zip(rows, answers, strict=True):
                results[i].hits.extend(
                    pb.Hit(id=hit.id, score=hit.score, payload_json=write_payload(hit.payload)) for hit in hits
                )
        return pb.QueryItemsResponse(
            results=results, metric=_METRIC_NUMBERS[collection.metric], timing=write_timing(timing)
        )

    async def _get(self, name: str) -> Collection:
        return await asyncio.to_thread(self._collections.get, name)


class _Upsert:
    """One call of UpsertItems: each item ends with a status or an error of its own."""

    def __init__(self, collection: Collection, extractor: Extractor, items: Sequence[pb.NewItem]) -> None:
        if not items:
            raise InvalidArgument("items is empty: send one at least", name="items")
        self._collection, self._extractor, self._items = collection, extractor, items
        self._outcomes: list[str | Fc7Error] = [""] * len(items)

    async def run(self) -> Timing:
        """Do what there is to do."""
        ready: dict[int, Item] = {}  # index in the request -> item to store
        images: list[int] = []
        known = await asyncio.to_thread(self._collection.known, [item.id for item in self._items])
        seen: set[str] = set()
        for i, item in enumerate(self._items):
            try:
                check_id(item.id)
                if item.id in seen:
                    raise InvalidArgument(f"id {item.id!r} stands twice in one call", name=item.id)
                seen.add(item.id)
                payload, content = read_payload(item.payload_json), _content(item)
                if item.id in known and known[item.id][0] == content and _is_same(known[item.id][1], payload):
                    self._outcomes[i] = "skipped"
                elif item.id in known and known[item.id][0] == content:
                    ready[i] = Item(item.id, content, payload, await self._stored(item.id))
                elif item.WhichOneof("source") == "vector":
                    vector = read_vector(item.vector, self._collection.provenance)
                    self._collection.check_vector(vector)
                    ready[i] = Item(item.id, content, payload, vector)
                else:
                    images.append(i)
            except Fc7Error as error:
                self._outcomes[i] = error
        timing = await self._extract(images, ready)
        rows = sorted(ready)
        statuses = await asyncio.to_thread(self._collection.upsert, [ready[i] for i in rows]) if rows else []
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

    async def _extract(self, rows: list[int], ready: dict[int, Item]) -> Timing:
        """Turn the images of ``rows`` into items of ``ready`` or errors."""
        if not rows:
            return _NO_TIME
        provenance = self._collection.provenance
        model = find_model(self._extractor, provenance, f"collection {self._collection.name!r}")
        found = await extract(self._extractor, [self._items[i].image for i in rows], model, provenance.layer)
        for i, row in zip(rows, found.rows, strict=True):
            item = self._items[i]
            try:
                if isinstance(row, Fc7Error):
                    raise row
                self._collection.check_vector(row)
                ready[i] = Item(item.id, _content(item), read_payload(item.payload_json), row)
            except Fc7Error as error:
                self._outcomes[i] = error
        return found.timing

    async def _stored(self, id: str) -> NDArray[np.float32]:
        (item,) = await asyncio.to_thread(self._collection.get, [id], True)
        if isinstance(item, Fc7Error):
            raise item
        assert item.vector is not None  # asked for
        return item.vector


async def _queries(
    collection: Collection, extractor: Extractor, queries: Sequence[pb.Query]
) -> tuple[list[Any], Timing]:
    """Return each query's feature (D,) float32 or its error."""
    found: list[Any] = []
    images: list[int] = []
    for i, query in enumerate(queries):
        kind = query.WhichOneof("source")
        try:
            if kind == "vector":
                vector = read_vector(query.vector, collection.provenance)
                collection.check_vector(vector)
                found.append(vector)
            elif kind == "id":
                (item,) = await asyncio.to_thread(collection.get, [query.id], True)
                found.append(item if isinstance(item, Fc7Error) else item.vector)
            else:
                images.append(i)
                found.append(None)
        except Fc7Error as error:
            found.append(error)
    if not images:
        return found, _NO_TIME
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


def _content(item: pb.NewItem) -> str:
    """Return the SHA-256 of what an item's feature comes from."""
    if item.WhichOneof("source") == "vector":
        return hashlib.sha256(b"vector" + item.vector.values.data).hexdigest()
    if item.image.WhichOneof("source") == "pixels":
        shape = ",".join(map(str, item.image.pixels.shape)).encode()
        return hashlib.sha256(b"pixels" + shape + item.image.pixels.data).hexdigest()
    return hashlib.sha256(item.image.encoded).hexdigest()


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare payloads as JSON: in Python, 1 and true and 1.0 are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _facts(collection: Collection | Damaged) -> pb.Collection:
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


def _no_item(id: str, collection: Collection) -> NotFound:
    return NotFound(f"collection {collection.name!r} has no item {id!r}", name=id)
