"""CollectionService: collections, their items and their neighbours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from fc7.contract.filter import Filter
from fc7.contract.filter_json import read_json
from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc
from fc7_service.collections.collection import Collection
from fc7_service.collections.registry import Collections, Use
from fc7_service.collections.rows import Metric, why_absent
from fc7_service.collections.summary import Damaged, Summary
from fc7_service.features.extractor import MAX_WAITING_BYTES, Extractor
from fc7_service.rpc.duplicates import find_duplicates
from fc7_service.rpc.facets import count_values
from fc7_service.rpc.item_map import map_items
from fc7_service.rpc.item_pages import list_items, write_item
from fc7_service.rpc.label_records import add_labels, list_labels, undo_labels
from fc7_service.rpc.messages import check_answer, write_error, write_provenance, write_timing
from fc7_service.rpc.payload_updates import delete_matching, update_payloads
from fc7_service.rpc.query_items import read_queries, write_hits, write_recall, write_report
from fc7_service.rpc.read_search import read_search
from fc7_service.rpc.upsert_items import upsert_items
from fc7_service.telemetry.record import Record, ignore

_METRIC_NUMBERS: dict[Metric, pb.Metric] = {"cosine": pb.METRIC_COSINE, "l2": pb.METRIC_L2, "dot": pb.METRIC_DOT}
_METRICS: dict[int, Metric] = {number: name for name, number in _METRIC_NUMBERS.items()}
_DEFAULT_PAGE, _LARGEST_PAGE = 1000, 10_000  # items
_READ_AT_ONCE = 64  # items
_MOST_DAMAGED_IDS = 1000


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """Collections, their items and their neighbours."""

    def __init__(self, collections: Collections, extractor: Extractor, record: Record = ignore) -> None:
        self._collections, self._extractor, self._record = collections, extractor, record
        self._pools = collections.pools

    async def CreateCollection(self, request: pb.CreateCollectionRequest, context: Any) -> pb.CreateCollectionResponse:  # noqa: N802
        """Create an empty collection."""
        bundle = self._extractor.models.bundle(request.model)
        provenance = bundle.provenance(request.layer)
        metric = _METRICS.get(request.metric or pb.METRIC_COSINE)
        if metric is None:
            raise InvalidArgument(
                f"metric {request.metric} is unknown", name="metric", reason=Reason.UNKNOWN_ENUM_VALUE
            )
        dim = bundle.layers[provenance.layer].dim
        created = await self._pools.change(
            self._collections.create, request.name, provenance, dim, metric, request.recall or None
        )
        return pb.CreateCollectionResponse(collection=_write_collection(created))

    async def GetCollection(self, request: pb.GetCollectionRequest, context: Any) -> pb.GetCollectionResponse:  # noqa: N802
        """Return what a collection is."""
        with await self._use(request.name) as collection:
            described = await self._pools.read(_describe, collection, request.find_damage)
            return pb.GetCollectionResponse(collection=described)

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: Any) -> pb.ListCollectionsResponse:  # noqa: N802
        """List the collections by name."""
        collections = await self._pools.change(self._collections.list)
        return pb.ListCollectionsResponse(collections=[_write_collection(one) for one in collections])

    async def DeleteCollection(self, request: pb.DeleteCollectionRequest, context: Any) -> pb.DeleteCollectionResponse:  # noqa: N802
        """Delete a collection and all its items."""
        await self._pools.change(self._collections.delete, request.name)
        return pb.DeleteCollectionResponse()

    async def UpsertItems(self, request: pb.UpsertItemsRequest, context: Any) -> pb.UpsertItemsResponse:  # noqa: N802
        """Add or replace items; answer once they are on disk."""
        with await self._use(request.collection) as collection:
            _check_memory(collection, len(request.items))
            return await upsert_items(collection, self._extractor, request, self._pools)

    async def GetItems(self, request: pb.GetItemsRequest, context: Any) -> pb.GetItemsResponse:  # noqa: N802
        """Return items by id."""
        with await self._use(request.collection) as collection:
            return await self._pools.read(_get_items, collection, request)

    async def ListItems(self, request: pb.ListItemsRequest, context: Any) -> pb.ListItemsResponse:  # noqa: N802
        """List items page by page."""
        with await self._use(request.collection) as collection:
            size = request.page_size or _DEFAULT_PAGE
            if not 1 <= size <= _LARGEST_PAGE:
                raise InvalidArgument(f"page_size must be 1 to {_LARGEST_PAGE} (got {size})", name="page_size")
            where = _read_filter(request.filter_json)
            return await self._pools.read(list_items, collection, request, size, where)

    async def CountItems(self, request: pb.CountItemsRequest, context: Any) -> pb.CountItemsResponse:  # noqa: N802
        """Count the items that match a filter."""
        with await self._use(request.collection) as collection:
            where = _read_filter(request.filter_json)
            count = collection.count if where is None else await self._pools.read(collection.count_where, where)
            return pb.CountItemsResponse(count=count)

    async def CountValues(self, request: pb.CountValuesRequest, context: Any) -> pb.CountValuesResponse:  # noqa: N802
        """Count how often each value of payload fields occurs."""
        with await self._use(request.collection) as collection:
            return await self._pools.read(count_values, collection, request, _read_filter(request.filter_json))

    async def MapItems(self, request: pb.MapItemsRequest, context: Any) -> pb.MapItemsResponse:  # noqa: N802
        """Place all items in two dimensions."""
        with await self._use(request.collection) as collection:
            return await map_items(collection, request, self._collections)

    async def DeleteItems(self, request: pb.DeleteItemsRequest, context: Any) -> pb.DeleteItemsResponse:  # noqa: N802
        """Delete items by id, or those that match a filter."""
        with await self._use(request.collection) as collection:
            where = _read_filter(request.filter_json)
            if where is not None:
                if request.ids:
                    raise InvalidArgument("ids and filter_json exclude each other. Send one of them", name="ids")
                return await self._pools.write(collection.name, delete_matching, collection, where, request.page_token)
            were_there = await self._pools.write(collection.name, collection.delete, list(request.ids))
            results = [
                pb.DeleteItemResult(
                    id=name, error=None if was_there else write_error(why_absent(collection.name, name, None))
                )
                for name, was_there in zip(request.ids, were_there, strict=True)
            ]
            return pb.DeleteItemsResponse(results=results, count=collection.count)

    async def UpdatePayloads(self, request: pb.UpdatePayloadsRequest, context: Any) -> pb.UpdatePayloadsResponse:  # noqa: N802
        """Change the payloads of items by id, or of those that match a filter."""
        with await self._use(request.collection) as collection:
            where = _read_filter(request.filter_json)
            return await self._pools.write(collection.name, update_payloads, collection, request, where)

    async def AddLabels(self, request: pb.AddLabelsRequest, context: Any) -> pb.AddLabelsResponse:  # noqa: N802
        """Record what somebody says about items."""
        with await self._use(request.collection) as collection:
            return await self._pools.write(collection.name, add_labels, collection, request)

    async def ListLabels(self, request: pb.ListLabelsRequest, context: Any) -> pb.ListLabelsResponse:  # noqa: N802
        """List the label records page by page."""
        with await self._use(request.collection) as collection:
            return await self._pools.read(list_labels, collection, request)

    async def UndoLabels(self, request: pb.UndoLabelsRequest, context: Any) -> pb.UndoLabelsResponse:  # noqa: N802
        """Take back the newest label record of each item."""
        with await self._use(request.collection) as collection:
            return await self._pools.write(collection.name, undo_labels, collection, request)

    async def TuneCollection(self, request: pb.TuneCollectionRequest, context: Any) -> pb.TuneCollectionResponse:  # noqa: N802
        """Make the index search as hard as a recall needs."""
        with await self._use(request.name) as collection:
            await self._index(collection)
            recall = await self._pools.change(collection.tune, request.recall)
            return pb.TuneCollectionResponse(recall=write_recall(recall), deviations=collection.effort.deviations)

    async def GetThreshold(self, request: pb.GetThresholdRequest, context: Any) -> pb.GetThresholdResponse:  # noqa: N802
        """Turn a rate of false matches into a score."""
        with await self._use(request.collection) as collection:
            await self._index(collection)
            lowest, pairs = await self._pools.read(collection.threshold, request.false_matches)
            return pb.GetThresholdResponse(
                min_score=lowest,
                pairs=pairs.n_pairs,
                complete=pairs.is_complete,
                count=pairs.n_items,
                commit=pairs.commit,
            )

    async def FindDuplicates(  # noqa: N802
        self, request: pb.FindDuplicatesRequest, context: Any
    ) -> AsyncIterator[pb.FindDuplicatesResponse]:
        """Find groups of items that are the same or nearly so."""
        with await self._use(request.collection) as collection:
            where = _read_filter(request.filter_json)
            async for answer in find_duplicates(collection, request, where, self._pools):
                yield answer

    async def QueryItems(self, request: pb.QueryItemsRequest, context: Any) -> pb.QueryItemsResponse:  # noqa: N802
        """Find the nearest items of each query."""
        with await self._use(request.collection) as collection:
            start = time.monotonic()
            search = read_search(request, collection.count)
            _check_memory(collection, sum(max(1, len(query.examples)) for query in request.queries))
            queries, timing = await read_queries(collection, self._extractor, request.queries, self._pools)
            read = time.monotonic()
            await self._index(collection)
            results, report = await self._pools.read(write_hits, collection, queries, search)
            self._record("fc7_search_seconds", time.monotonic() - read, index=report.index)
            return pb.QueryItemsResponse(
                results=results,
                metric=_METRIC_NUMBERS[collection.metric],
                timing=write_timing(timing),
                filtered=search.where is not None,
                report=write_report(report, read - start, collection.recall if request.with_recall else None),
            )

    async def _index(self, collection: Collection) -> None:
        """Wait until the collection has an index. All calls wait for the same work, in no thread of their own."""
        if not collection.is_indexed:
            await self._pools.build(f"index {collection.name}", collection.index)

    async def _use(self, name: str) -> Use:
        return await self._collections.use_soon(name)


def _check_memory(collection: Collection, n_items: int) -> None:
    """Refuse a call whose features, sent or stored, would fill the memory."""
    if (n_bytes := 4 * collection.dim * n_items) > MAX_WAITING_BYTES:
        raise ResourceExhausted(
            f"The features of {n_items} items of collection {collection.name!r} have {n_bytes} bytes, but the limit "
            f"per call is {MAX_WAITING_BYTES}. Send fewer items per call",
            name="items",
            reason=Reason.WORK_TOO_LARGE,
        )


def _get_items(collection: Collection, request: pb.GetItemsRequest) -> pb.GetItemsResponse:
    """Return one result per id; stop where the answer would not fit one message."""
    answer, n_bytes = pb.GetItemsResponse(), 0
    for start in range(0, len(request.ids), _READ_AT_ONCE):
        ids = request.ids[start : start + _READ_AT_ONCE]
        thumbnails = collection.thumbnails.images(ids) if request.with_thumbnails else {}
        for item in collection.get(ids, request.with_features):
            if isinstance(item, Fc7Error):
                result = answer.results.add(error=write_error(item))
            else:
                result = answer.results.add(item=write_item(item))
                result.item.thumbnail = thumbnails.get(item.id, b"")
            n_bytes += result.ByteSize()  # not of the answer, which would be serialised as a whole each time
        check_answer(n_bytes, "ids")
    return answer


def _read_filter(text: str) -> Filter | None:
    return read_json(text) if text else None


def _write_collection(collection: Collection | Summary | Damaged) -> pb.Collection:
    if isinstance(collection, Damaged):
        return pb.Collection(name=collection.name, fault=collection.fault)
    return pb.Collection(
        name=collection.name,
        count=collection.count,
        provenance=write_provenance(collection.provenance),
        metric=_METRIC_NUMBERS[collection.metric],
        dim=collection.dim,
        index=collection.index_name,
        damaged=collection.n_damaged,
    )


def _describe(collection: Collection, find_damage: bool) -> pb.Collection:
    if find_damage:
        collection.find_damage()
    described = _write_collection(collection)
    described.damaged_ids.extend(collection.damaged_ids[:_MOST_DAMAGED_IDS])
    described.versions.update(collection.versions())
    if (recall := collection.recall) is not None:
        described.recall.CopyFrom(write_recall(recall))
    described.recall_target = collection.effort.target or 0
    return described
