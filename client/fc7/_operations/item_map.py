"""CollectionService: all items of a collection in two dimensions."""

from __future__ import annotations

import json

from fc7._operations.conversion import check_text, read_tensor
from fc7._operations.steps import Operation, SendRequest
from fc7.results import ItemMap
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_NO_GROUP = 255


def map_items(collection: str, field: str) -> Operation[ItemMap]:
    """Return where the items lie."""
    request = pb.MapItemsRequest(collection=collection, field=check_text(field, "field"))
    response: pb.MapItemsResponse = yield SendRequest(Stub, "MapItems", request)
    values = [json.loads(text) for text in response.values_json]
    return ItemMap(
        list(response.ids),
        read_tensor(response.positions),
        (response.shares[0], response.shares[1]),
        [None if group == _NO_GROUP else values[group] for group in read_tensor(response.groups).tolist()],
    )
