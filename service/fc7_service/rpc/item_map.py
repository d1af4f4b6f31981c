"""MapItems: all items of a collection in two dimensions."""

from __future__ import annotations

import json
from functools import partial

from fc7.contract.filter import check_field
from fc7.errors import InvalidArgument, Reason
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.registry import Collections
from fc7_service.collections.tsne_map import TsneMap, check_library
from fc7_service.rpc.messages import check_answer, write_tensor


async def map_items(collection: Collection, request: pb.MapItemsRequest, library: Collections) -> pb.MapItemsResponse:
    """Answer one call."""
    if request.field:
        check_field(request.field)
    if request.method not in pb.MapMethod.values():
        raise InvalidArgument(
            f"map method {request.method} is unknown", name="method", reason=Reason.UNKNOWN_ENUM_VALUE
        )
    pools = library.pools
    known = None
    if request.method == pb.MAP_METHOD_TSNE:
        check_library()
        known = await pools.read(collection.tsne_map, is_current=True)
        if known is None:
            await pools.map(f"map {collection.name}", partial(collection.make_tsne_map, library.tsne))
            known = await pools.read(collection.tsne_map, is_current=False)
    return await pools.read(_answer, collection, request.field, known)


def _answer(collection: Collection, field: str, known: TsneMap | None) -> pb.MapItemsResponse:
    found = collection.map_items(field, known)
    answer = pb.MapItemsResponse(
        ids=found.ids,
        positions=write_tensor(found.positions),
        shares=found.shares,
        groups=write_tensor(found.groups),
        values_json=[json.dumps(value, ensure_ascii=False) for value in found.values],
    )
    check_answer(answer.ByteSize(), "items")
    return answer
