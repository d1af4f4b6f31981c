"""CollectionService: changing payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fc7._operations.batches import ROWS, next_request, split
from fc7._operations.conversion import check_names, check_text, write_payload
from fc7._operations.steps import Operation, SendRequest
from fc7.errors import Fc7Error, InvalidArgument
from fc7.filters import Where, write_where
from fc7.grpc_errors import read_item_error
from fc7.results import Updated
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

Payload = dict[str, Any]
Report = Callable[[Updated], object] | None


def update(
    collection: str,
    ids: Iterable[str] | Mapping[str, Payload] | None,
    where: Where | None,
    new: Payload | None,
    remove: Iterable[str],
    replace: bool,
    report: Report,
) -> Operation[list[Updated]]:
    """Change the payloads of items by id, or of those that match."""
    if (ids is None) == (where is None):
        raise InvalidArgument("update takes exactly one of ids and where=", name="ids")
    remove = check_names(list(remove) if not isinstance(remove, str) else remove, "remove")
    if isinstance(ids, Mapping):
        if new is not None:
            raise InvalidArgument("set is given twice: in ids, which is a mapping, and in set=", name="set")
    elif not (new or remove or replace):
        raise InvalidArgument("update needs something to change: set=, remove= or replace=True", name="set")
    if where is not None:
        change = pb.PayloadChange(set_json=write_payload(new or {}), remove=remove, replace=replace)
        return (yield from _update_matching(collection, where, change, report))
    assert ids is not None
    return (yield from _update_ids(collection, _changes(ids, new or {}, remove, replace), report))


def _update_matching(
    collection: str, where: Where, change: pb.PayloadChange, report: Report
) -> Operation[list[Updated]]:
    updated: list[Updated] = []
    filter_json, token = write_where(where), ""
    while True:
        request = pb.UpdatePayloadsRequest(
            collection=collection, filter_json=filter_json, change=change, page_token=token
        )
        response: pb.UpdatePayloadsResponse = yield SendRequest(Stub, "UpdatePayloads", request)
        _add(updated, map(_read_result, response.results), report)
        token = response.next_page_token
        if not token:
            return updated


@dataclass(frozen=True, slots=True)
class _Change:
    """A change to be sent, or why it cannot be."""

    id: str  # as the caller gave it
    message: pb.PayloadUpdate
    error: Fc7Error | None = None


def _changes(
    ids: Iterable[str] | Mapping[str, Payload], new: Payload, remove: list[str], replace: bool
) -> Iterator[_Change]:
    if isinstance(ids, str):
        raise InvalidArgument(f"ids must be a list of ids (got the string {ids!r})", name="ids")
    pairs = ids.items() if isinstance(ids, Mapping) else ((own, new) for own in dict.fromkeys(ids))
    for own, keys in pairs:
        try:
            change = pb.PayloadChange(set_json=write_payload(keys), remove=remove, replace=replace)
            yield _Change(own, pb.PayloadUpdate(id=check_text(own, "id"), change=change))
        except InvalidArgument as error:
            yield _Change(str(own), pb.PayloadUpdate(), error)


def _update_ids(collection: str, changes: Iterator[_Change], report: Report) -> Operation[list[Updated]]:
    updated: list[Updated] = []
    batches = split(changes, lambda change: change.message.ByteSize(), ROWS)

    def pack(batch: list[_Change]) -> pb.UpdatePayloadsRequest:
        sent = [change.message for change in batch if change.error is None]
        return pb.UpdatePayloadsRequest(collection=collection, updates=sent)

    while (work := (yield next_request(batches, pack)))[0]:
        batch, request = work
        results: Iterator[pb.UpdatePayloadResult] = iter(())
        if any(change.error is None for change in batch):
            response: pb.UpdatePayloadsResponse = yield SendRequest(Stub, "UpdatePayloads", request)
            results = iter(response.results)
        outcomes = (
            _read_result(next(results)) if change.error is None else Updated(change.id, "failed", change.error)
            for change in batch
        )
        _add(updated, outcomes, report)
    return updated


def _add(updated: list[Updated], more: Iterable[Updated], report: Report) -> None:
    for one in more:
        updated.append(one)
        if report:
            report(one)


def _read_result(result: pb.UpdatePayloadResult) -> Updated:
    if result.HasField("error"):
        return Updated(result.id, "failed", read_item_error(result.error))
    return Updated(result.id, "updated" if result.changed else "skipped")
