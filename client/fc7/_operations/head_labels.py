"""Label records that a head writes: it classifies the items of a collection, and what is sure enough is recorded."""

from __future__ import annotations

from collections.abc import Callable

from fc7._operations import head as heads
from fc7._operations import head_items, labels
from fc7._operations.steps import Operation
from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7.filters import Where
from fc7.results import ClassifiedItem, Label


def label_items(
    collection: str,
    head: str,
    head_version: int,
    above: float,
    where: Where | None,
    dry_run: bool,
    report: Callable[[int], object] | None,
) -> Operation[list[ClassifiedItem]]:
    """Record the class of each item that the head is sure of, unless a person has labelled the item."""
    if not 0 <= above <= 1:  # true for NaN too
        raise InvalidArgument(f"above must be from 0 to 1 (got {above})", name="above")
    number = head_version or (yield from heads.get(head, 0)).published_version
    if not number:
        raise FailedPrecondition(
            f"head {head!r} is not published: publish a version first, or name one",
            name=head,
            reason=Reason.HEAD_NOT_PUBLISHED,
        )
    by_people = yield from labels.labelled_by_people(collection)
    items = yield from head_items.classify(collection, head, number, where, None, False, report)
    sure = [item for item in items if item.label and item.probability >= above and item.id not in by_people]
    if dry_run or not sure:
        return sure
    records = [Label(item.id, item.label or "", "positive", head, number) for item in sure]
    done = yield from labels.add(collection, records, None)
    return [
        ClassifiedItem(item.id, item.label, item.probability, item.reason, one.error)
        for item, one in zip(sure, done, strict=True)
    ]
