"""ListItems: pages of items, in the order of first insertion, of their ids or of a field."""

from __future__ import annotations

from fc7.contract.filter import Filter
from fc7.contract.filter_json import write_json
from fc7.errors import InvalidArgument
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import common_pb2
from fc7_service.collections.collection import Collection
from fc7_service.collections.ordering import TEXT, Key, Order
from fc7_service.collections.rows import StoredItem
from fc7_service.rpc.cursor import read_cursor, unknown_cursor, write_cursor
from fc7_service.rpc.messages import write_tensor
from fc7_service.rpc.payload import write_payload

_PAGE_BYTES = 16 * 2**20  # a page ends once it is as large
_READ_AT_ONCE = 64  # items


def list_items(
    collection: Collection, request: pb.ListItemsRequest, size: int, where: Filter | None
) -> pb.ListItemsResponse:
    """Return at most ``size`` items, or fewer where more would make a large message or take long to find."""
    if request.descending and not request.order_by:
        raise InvalidArgument("descending needs order_by, the field to order by", name="descending")
    about = ("items", collection.name, "" if where is None else write_json(where))
    answer = pb.ListItemsResponse(filtered=where is not None, ordered=bool(request.order_by))
    if request.order_by:
        _fill_ordered(answer, collection, request, size, where, about)
    else:
        _fill(answer, collection, request, size, where, about)
    answer.damaged = collection.n_damaged
    return answer


def write_item(item: StoredItem) -> pb.Item:
    """Return the message of an item."""
    feature: common_pb2.Tensor | None = None if item.vector is None else write_tensor(item.vector)
    return pb.Item(
        id=item.id, payload_json=write_payload(item.payload), content_sha256=item.content_sha256, feature=feature
    )


def _fill(
    answer: pb.ListItemsResponse,
    collection: Collection,
    request: pb.ListItemsRequest,
    size: int,
    where: Filter | None,
    about: tuple[str, ...],
) -> None:
    after: int = read_cursor(request.page_token, (int,), *about)[0] if request.page_token else 0
    n_bytes = 0
    while len(answer.items) < size and n_bytes < _PAGE_BYTES:
        wanted = min(_READ_AT_ONCE, size - len(answer.items))
        if where is None:
            found, following = collection.page(after, wanted, request.with_features)
        else:
            found, following = collection.page_where(where, after, wanted, request.with_features)
        n_bytes += _add(answer, found)
        if following is None:
            return
        after = following
        if where is not None and len(found) < wanted:  # as many items as one call may look at were compared
            break
    answer.next_page_token = write_cursor([after], *about)


def _fill_ordered(
    answer: pb.ListItemsResponse,
    collection: Collection,
    request: pb.ListItemsRequest,
    size: int,
    where: Filter | None,
    about: tuple[str, ...],
) -> None:
    order = Order(request.order_by, request.descending)
    about = (*about, order.field, str(order.is_descending))
    after: Key | None = None
    if request.page_token:
        kind, value, place = read_cursor(request.page_token, (int, (int, float, str), int), *about)
        if (kind == TEXT) != isinstance(value, str):
            raise unknown_cursor(request.page_token)
        after = (kind, value, place)
    n_bytes = 0
    while len(answer.items) < size and n_bytes < _PAGE_BYTES:
        found, after = collection.page_ordered(
            order, where, after, min(_READ_AT_ONCE, size - len(answer.items)), request.with_features
        )
        n_bytes += _add(answer, found)
        if after is None:
            return
    assert after is not None
    answer.next_page_token = write_cursor(list(after), *about)


def _add(answer: pb.ListItemsResponse, found: list[StoredItem]) -> int:
    items = [write_item(item) for item in found]
    answer.items.extend(items)
    return sum(item.ByteSize() for item in items)
