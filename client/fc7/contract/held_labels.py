"""Which of the labels that were recorded about items hold now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Recorded(NamedTuple):
    """What decides whether a record holds."""

    id: str
    label: str
    is_by_head: bool  # rather than by a person
    is_outdated: bool  # the item was replaced since


def held_labels(records: Iterable[tuple[Recorded, T]]) -> dict[str, dict[str, T]]:
    """Return what holds now: per item, and per label of it, the newest of ``records``, which come oldest first.

    A record by a person outranks those by heads. Outdated records do not count. The labels of an item are in the order
    of their records, so the last positive one is its class where an item has one class.
    """
    found: dict[str, dict[str, tuple[Recorded, T]]] = {}
    for recorded, record in records:
        of_item = found.setdefault(recorded.id, {})
        before = of_item.get(recorded.label)
        is_outranked = before is not None and recorded.is_by_head and not before[0].is_by_head
        if recorded.is_outdated or is_outranked:
            continue
        of_item.pop(recorded.label, None)
        of_item[recorded.label] = (recorded, record)
    return {
        id: {label: record for label, (_, record) in of_item.items()}
        for id, of_item in found.items()  # noqa: A001
        if of_item
    }
