"""UpdatePayloads, and deletion by filter: both go through the items that match, call by call."""

from __future__ import annotations

from fc7.contract.filter import Filter
from fc7.contract.filter_json import write_json
from fc7.errors import Fc7Error, InvalidArgument, Reason
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.payload_updates import PayloadChange, Updated
from fc7_service.rpc.cursor import read_cursor, write_cursor
from fc7_service.rpc.messages import write_error
from fc7_service.rpc.payload import read_payload

_AT_ONCE = 10_000  # items that match a filter
_MOST_KEYS = 1000  # to remove in one change


def update_payloads(
    collection: Collection, request: pb.UpdatePayloadsRequest, where: Filter | None
) -> pb.UpdatePayloadsResponse:
    """Answer one call; errors of single items stand in their results."""
    if where is not None:
        if request.updates:
            raise InvalidArgument("updates and filter_json exclude each other. Send one of them", name="updates")
        change = _read_change(request.change)
        after, last = _read_place(collection, request.page_token, "update", where)
        updated, rest = collection.update_where(where, change, _AT_ONCE, after, last)
        return pb.UpdatePayloadsResponse(
            results=map(_write_result, updated), next_page_token=_write_place(collection, rest, last, "update", where)
        )
    if not request.updates:
        raise InvalidArgument("updates is empty. Send at least one, or filter_json", name="updates")
    read = [_read_update(update) for update in request.updates]
    seen: set[str] = set()
    for update in request.updates:
        if update.id in seen:
            raise InvalidArgument(
                f"id {update.id!r} occurs twice in this call", name=update.id, reason=Reason.INVALID_ID
            )
        seen.add(update.id)
    valid = iter(collection.update([one for one in read if not isinstance(one, Updated)]))
    return pb.UpdatePayloadsResponse(
        results=[_write_result(one if isinstance(one, Updated) else next(valid)) for one in read]
    )


def delete_matching(collection: Collection, where: Filter, page_token: str) -> pb.DeleteItemsResponse:
    """Delete items that match, as many as one call may."""
    after, last = _read_place(collection, page_token, "delete", where)
    deleted, rest = collection.delete_where(where, _AT_ONCE, after, last)
    return pb.DeleteItemsResponse(
        results=[pb.DeleteItemResult(id=own) for own in deleted],
        count=collection.count,
        more=rest is not None,
        filtered=True,
        next_page_token=_write_place(collection, rest, last, "delete", where),
    )


def _read_place(collection: Collection, token: str, what: str, where: Filter) -> tuple[int, int]:
    """Return after which place to go on, and the last place of all: that of the first call."""
    if not token:
        return 0, collection.last_place
    after, last = read_cursor(token, (int, int), what, collection.name, write_json(where))
    return after, last


def _write_place(collection: Collection, rest: int | None, last: int, what: str, where: Filter) -> str:
    return "" if rest is None else write_cursor([rest, last], what, collection.name, write_json(where))


def _read_update(update: pb.PayloadUpdate) -> tuple[str, PayloadChange] | Updated:
    try:
        return update.id, _read_change(update.change)
    except Fc7Error as error:
        return Updated(update.id, False, error)


def _read_change(change: pb.PayloadChange) -> PayloadChange:
    if len(change.remove) > _MOST_KEYS:
        raise InvalidArgument(
            f"remove names {len(change.remove)} keys, but the limit is {_MOST_KEYS}. Remove them in several calls",
            name="remove",
            reason=Reason.INVALID_PAYLOAD,
        )
    return PayloadChange(read_payload(change.set_json), tuple(change.remove), change.replace)


def _write_result(updated: Updated) -> pb.UpdatePayloadResult:
    error = None if updated.error is None else write_error(updated.error)
    return pb.UpdatePayloadResult(id=updated.id, changed=updated.is_changed, error=error)
