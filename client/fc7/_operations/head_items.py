"""HeadService: a head on the stored features of a collection."""

from __future__ import annotations

from collections.abc import Callable

from fc7._operations.conversion import check_text, read_payload
from fc7._operations.head import check_version
from fc7._operations.search import check_filtered
from fc7._operations.steps import OpenStream, Operation, ReadStream, SendRequest
from fc7.filters import Where, write_where
from fc7.grpc_errors import read_item_error
from fc7.results import ClassifiedItem, Suggestion
from fc7.searches import Hit
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub

_PASS_S = 24 * 3600.0  # one pass over a collection ends after a day at the latest


def classify(
    collection: str,
    head: str,
    head_version: int,
    where: Where | None,
    write: str | None,
    refuse_unknown: bool,
    report: Callable[[int], object] | None,
) -> Operation[list[ClassifiedItem]]:
    """Classify all items block by block, and write the classes to a field of their payloads."""
    request = pb.ClassifyItemsRequest(
        collection=check_text(collection, "collection"),
        head=check_text(head, "head"),
        head_version=check_version(head_version),
        filter_json=write_where(where),
        refuse_unknown=refuse_unknown,
    )
    if write is None:
        stream = yield OpenStream(Stub, "ClassifyItems", request, _PASS_S)
    else:
        writing = pb.WriteClassesRequest(items=request, field=check_text(write, "write"))
        stream = yield OpenStream(Stub, "WriteClasses", writing, _PASS_S)
    items: list[ClassifiedItem] = []
    while (part := (yield ReadStream(stream))) is not None:
        check_filtered(where is not None, part.filtered)
        items += [_read_item(item) for item in part.items]
        if report:
            report(len(items))
    return items


def rank(
    collection: str, label: str, head: str, head_version: int, k: int, near_score: float | None, where: Where | None
) -> Operation[list[Hit]]:
    """Return the items that are most probably of a class."""
    request = pb.RankItemsRequest(
        collection=check_text(collection, "collection"),
        head=check_text(head, "head"),
        head_version=check_version(head_version),
        label=check_text(label, "label"),
        k=k,
        near_score=near_score,
        filter_json=write_where(where),
    )
    response: pb.RankItemsResponse = yield SendRequest(Stub, "RankItems", request)
    check_filtered(where is not None, response.filtered)
    return [Hit(item.id, item.probability, read_payload(item.payload_json)) for item in response.items]


def _read_item(item: pb.ClassifiedItem) -> ClassifiedItem:
    return ClassifiedItem(
        id=item.id,
        label=None if item.reason else item.top.label,
        probability=item.top.probability,
        reason=item.reason,
        error=read_item_error(item.error) if item.HasField("error") else None,
    )


def suggest(
    collection: str, head: str, head_version: int, n: int, strategy: str, label: str, where: Where | None
) -> Operation[list[Suggestion]]:
    """Return which items to label next."""
    request = pb.SuggestItemsRequest(
        collection=check_text(collection, "collection"),
        head=check_text(head, "head"),
        head_version=check_version(head_version),
        n=n,
        strategy=check_text(strategy, "strategy"),
        label_field=check_text(label, "label"),
        filter_json=write_where(where),
    )
    response: pb.SuggestItemsResponse = yield SendRequest(Stub, "SuggestItems", request)
    check_filtered(where is not None, response.filtered)
    return [
        Suggestion(
            id=item.id,
            reason=item.reason,
            label=item.top.label if item.HasField("top") else None,
            probability=item.top.probability if item.HasField("top") else None,
        )
        for item in response.items
    ]
