"""CollectionService: all items of a collection in two dimensions."""

from __future__ import annotations

import json

from fc7._operations.conversion import check_text, read_tensor
from fc7._operations.steps import Operation, SendRequest
from fc7.errors import InvalidArgument
from fc7.results import ItemMap, MapMethod
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_NO_GROUP = 255


_METHODS: dict[MapMethod, pb.MapMethod] = {"pca": pb.MAP_METHOD_PCA, "tsne": pb.MAP_METHOD_TSNE}


def map_items(collection: str, field: str, method: MapMethod) -> Operation[ItemMap]:
    """Return where the items lie."""
    if method not in _METHODS:
        raise InvalidArgument(f"method must be one of {', '.join(_METHODS)} (got {method!r})", name="method")
    request = pb.MapItemsRequest(collection=collection, field=check_text(field, "field"), method=_METHODS[method])
    response: pb.MapItemsResponse = yield SendRequest(Stub, "MapItems", request)
    values = [json.loads(text) for text in response.values_json]
    return ItemMap(
        list(response.ids),
        read_tensor(response.positions),
        tuple(response.shares),
        [None if group == _NO_GROUP else values[group] for group in read_tensor(response.groups).tolist()],
    )
