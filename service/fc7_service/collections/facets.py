"""How often each value of a payload field occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fc7.contract.filter import Filter, check_field, kind_of, matches, read_field
from fc7.errors import Reason, ResourceExhausted
from fc7_service.collections.labels import LabelRecord, class_of
from fc7_service.collections.rows import StoredRow, parse_payload
from fc7_service.collections.store import Store

_LONGEST_TEXT = 256  # characters; longer text is not counted by value
_CHECKED_EVERY = 1000  # items
_MOST_VALUES = 1_000_000  # different ones of all fields; each takes about 200 bytes


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one field."""

    field: str
    values: list[tuple[Any, int]]  # each with the number of items that have it, the most frequent first
    n_items: int  # items that have the field, and not null in it
    n_left_out: int  # values beside these
    n_other: int  # items with the field of which no value is counted: an object, or text that is too long


def count_values(
    store: Store,
    fields: Sequence[str],
    where: Filter | None,
    limit: int,
    held: Mapping[str, Mapping[str, LabelRecord]] | None = None,
) -> tuple[int, list[Facet]]:
    """Return how many items match, and the ``limit`` most frequent values of each field among them.

    Of a list, every element counts, once per item. With label records (``held`` has those that hold, by id) the classes
    of the items are counted: see `class_of`.

    Raises
    ------
    InvalidArgument
        A field is not one that a filter could name.
    ResourceExhausted
        There are too many different values.
    """
    for field in fields:
        check_field(field)
    counts = [_Count(field) for field in fields]
    n_items = 0
    with store.pinned() as connection:
        for row in store.rows(connection):
            if not isinstance(row, StoredRow):
                continue
            payload = parse_payload(row.payload)
            if where is not None and not matches(where, payload):
                continue
            n_items += 1
            for count in counts:
                if held is None:
                    count.add(read_field(payload, count.field))
                else:
                    count.add(class_of(held.get(row.id, {}), _label_in(payload, count.field)))
            if n_items % _CHECKED_EVERY == 0 and sum(len(count.values) for count in counts) > _MOST_VALUES:
                raise ResourceExhausted(
                    f"The fields {', '.join(fields)} of collection {store.name!r} have more than {_MOST_VALUES} "
                    "different values. Count fields with fewer values, or fewer items with a filter",
                    name="fields",
                    reason=Reason.WORK_TOO_LARGE,
                )
    return n_items, [count.facet(limit) for count in counts]


class _Count:
    """Counts the values of one field."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.values: Counter[tuple[bool, Any]] = Counter()  # whether it is a boolean: in Python, True equals 1
        self.n_items = self.n_other = 0

    def add(self, value: Any) -> None:
        if value is None:
            return
        found = {
            (isinstance(one, bool), one) for one in (value if isinstance(value, list) else [value]) if _counts(one)
        }
        self.n_items += 1
        self.n_other += not found
        self.values.update(found)

    def facet(self, limit: int) -> Facet:
        ranked = sorted(self.values.items(), key=lambda pair: (-pair[1], kind_of(pair[0][1]), pair[0][1]))
        values = [(value, count) for (_, value), count in ranked[:limit]]
        return Facet(self.field, values, self.n_items, len(ranked) - len(values), self.n_other)


def _label_in(payload: dict[str, Any], field: str) -> str | None:
    """Return the label that a payload holds in a field, as text; None for what a head wrote and what is no label."""
    value = read_field(payload, field)
    is_label = isinstance(value, str | int) and not isinstance(value, bool) and f"{field}_head" not in payload
    return str(value) if is_label else None


def _counts(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT)
