"""MapItems: all items of a collection in two dimensions."""

from __future__ import annotations

import json

from fc7.contract.filter import check_field
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.rpc.messages import check_answer, write_tensor


def map_items(collection: Collection, field: str) -> pb.MapItemsResponse:
    """Answer one call."""
    if field:
        check_field(field)
    found = collection.map_items(field)
    answer = pb.MapItemsResponse(
        ids=found.ids,
        positions=write_tensor(found.positions),
        shares=found.shares,
        groups=write_tensor(found.groups),
        values_json=[json.dumps(value, ensure_ascii=False) for value in found.values],
    )
    check_answer(answer.ByteSize(), "items")
    return answer
