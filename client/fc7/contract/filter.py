"""Filters of payloads: an immutable tree of comparisons, and whether a payload matches it.

A field is a key of the payload, or a path of keys with dots between them. A field that is missing or null is absent.
No comparison holds for an absent field, or for a value of another type than the filter's: numbers, text, booleans,
dates and lists are five types. ``!=`` is the opposite of ``=``, and ``not`` of what follows it, so both hold there.

A date in a payload is ISO 8601 text. One without a time is the start of its day, and one without a zone is UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from fc7.errors import InvalidArgument, Reason

ORDERS = ("<", "<=", ">", ">=")
OPERATORS = ("=", "!=", *ORDERS, "between", "in", "prefix", "contains", "exists")
DEEPEST = 32  # levels of `and`, `or` and `not`
MOST_PARTS = 1000  # comparisons and values of one filter
_LONGEST_FIELD = 1024  # characters
_TOO_LARGE = 2**1023  # an integer that a double cannot hold, as in payloads


def invalid_filter(problem: str) -> InvalidArgument:
    """Return the error for a filter that breaks a rule."""
    return InvalidArgument(problem, name="where", reason=Reason.INVALID_FILTER)


def too_deep() -> InvalidArgument:
    """Return the error for a filter with too many levels."""
    return invalid_filter(f"The filter is nested more than {DEEPEST} levels deep. Write it with fewer levels")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items to take, by their payloads. Make one with `F`; combine two with ``&`` and ``|``, negate with ``~``.

    Examples
    --------
    >>> recent_pets = fc7.F("label").in_(["cat", "dog"]) & (fc7.F("year") >= 2020)
    >>> [item.id for item in photos.items(where=recent_pets)]
    []
    """

    def __and__(self, other: Filter) -> Filter:
        return And((self, other))

    def __or__(self, other: Filter) -> Filter:
        return Or((self, other))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise invalid_filter(
            "A filter is neither true nor false. Combine filters with & | ~ instead of and, or, not, and write "
            "between(low, high) instead of low <= field <= high"
        )


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """A field compared with a value.

    Parameters
    ----------
    field
        Path of keys, with dots between them.
    operator
        One of `OPERATORS`.
    value
        A text, a finite number, a boolean or a date. Two of them for "between" and several for "in", as a tuple; text
        for "prefix"; None for "exists".

    Raises
    ------
    InvalidArgument
        The field, the operator or the value is not valid.
    """

    field: str
    operator: str
    value: Any = None

    def __post_init__(self) -> None:
        check_field(self.field)
        object.__setattr__(self, "value", _checked_value(self.field, self.operator, self.value))


class _Group(Filter):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class And(_Group):
    """Holds if all parts hold. Parts that are themselves ``And`` are replaced by their parts."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _flattened(And, self.parts))


@dataclass(frozen=True, slots=True)
class Or(_Group):
    """Holds if any part holds. Parts that are themselves ``Or`` are replaced by their parts."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _flattened(Or, self.parts))


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """Holds if the part does not."""

    part: Filter

    def __post_init__(self) -> None:
        _check_filter(self.part)


def check_size(tree: Filter) -> None:
    """Refuse a filter that is too deep or too large.

    Raises
    ------
    InvalidArgument
        It has more than `DEEPEST` levels of and, or and not, or more than `MOST_PARTS` comparisons and values.
    """
    n_parts, waiting = 0, [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        n_parts += len(node.value) if isinstance(node, Comparison) and isinstance(node.value, tuple) else 1
        if depth > DEEPEST:
            raise too_deep()
        if n_parts > MOST_PARTS:
            raise invalid_filter(f"The filter has more than {MOST_PARTS} comparisons and values. Split it")
        waiting += [(part, depth + 1) for part in children(node)]


def children(node: Filter) -> tuple[Filter, ...]:
    """Return the filters that a filter is made of; none for a comparison."""
    if isinstance(node, And | Or):
        return node.parts
    return (node.part,) if isinstance(node, Not) else ()


def comparisons(tree: Filter) -> Iterator[Comparison]:
    """Yield every comparison of a filter."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Comparison):
            yield node
        waiting += children(node)


def matches(tree: Filter, payload: Mapping[str, Any]) -> bool:
    """Return whether a payload matches a filter."""
    if isinstance(tree, And):
        return all(matches(part, payload) for part in tree.parts)
    if isinstance(tree, Or):
        return any(matches(part, payload) for part in tree.parts)
    if isinstance(tree, Not):
        return not matches(tree.part, payload)
    assert isinstance(tree, Comparison)
    return holds(tree, read_field(payload, tree.field))


def read_field(payload: Any, field: str) -> Any:
    """Return the value of a field; None if it is absent."""
    for key in field.split("."):
        if not isinstance(payload, Mapping):
            return None
        payload = payload.get(key)
    return payload


def holds(comparison: Comparison, stored: Any) -> bool:
    """Return whether a comparison holds for the stored value of its field; None stands for an absent one."""
    wanted, operator = comparison.value, comparison.operator
    if operator == "!=":
        return not _is_equal(stored, wanted)
    if stored is None:
        return False
    match operator:
        case "=":
            return _is_equal(stored, wanted)
        case "in":
            return any(_is_equal(stored, one) for one in wanted)
        case "between":
            return _is_ordered(">=", stored, wanted[0]) and _is_ordered("<=", stored, wanted[1])
        case "prefix":
            return isinstance(stored, str) and stored.startswith(wanted)
        case "contains":
            return isinstance(stored, list | tuple) and any(_is_equal(one, wanted) for one in stored)
        case "exists":
            return True
    return _is_ordered(operator, stored, wanted)


def read_date(text: str) -> datetime | None:
    """Return the date that ISO 8601 text stands for, with its zone; None if it is not such text."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def kind_of(value: Any) -> str:
    """Return the type of a value, as filters tell types apart; empty for what cannot be compared."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, datetime):
        return "date"
    return "text" if isinstance(value, str) else ""


def _is_equal(stored: Any, wanted: Any) -> bool:
    stored = _as_wanted(stored, wanted)
    return kind_of(stored) == kind_of(wanted) and bool(stored == wanted)


def _is_ordered(operator: str, stored: Any, wanted: Any) -> bool:
    stored = _as_wanted(stored, wanted)
    if kind_of(stored) != kind_of(wanted):
        return False
    if operator in ("<", "<="):
        return bool(stored < wanted) or (operator == "<=" and bool(stored == wanted))
    return bool(stored > wanted) or (operator == ">=" and bool(stored == wanted))


def _as_wanted(stored: Any, wanted: Any) -> Any:
    """Read stored text as a date where the filter compares with a date."""
    return read_date(stored) if isinstance(wanted, datetime) and isinstance(stored, str) else stored


def check_field(field: Any) -> None:
    """Refuse what cannot name a field of a payload.

    Raises
    ------
    InvalidArgument
        It is not a key, or keys with dots between them, or it is too long.
    """
    if not isinstance(field, str) or not all(field.split(".")) or len(field) > _LONGEST_FIELD or not _is_utf8(field):
        raise invalid_filter(
            f"A field must be a key, or keys with dots between them, of at most {_LONGEST_FIELD} characters "
            f"(got {_shown(field)})"
        )


def _check_filter(part: Any) -> None:
    if not isinstance(part, Filter):
        raise invalid_filter(f"Filters can be combined with filters only (got {_shown(part)})")


def _flattened(kind: type[And] | type[Or], parts: tuple[Filter, ...]) -> tuple[Filter, ...]:
    for part in parts:
        _check_filter(part)
    flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))
    if len(flat) < 2:
        raise invalid_filter(f"and, or need at least two filters (got {len(flat)})")
    return flat


def _checked_value(field: str, operator: Any, value: Any) -> Any:
    match operator:
        case "exists":
            if value is not None:
                raise invalid_filter(f"exists takes no value (got {_shown(value)} for field {field!r})")
            return None
        case "prefix":
            if not isinstance(value, str):
                raise invalid_filter(f"prefix needs text (got {_shown(value)} for field {field!r})")
            return _scalar(field, value)
        case "between":
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise invalid_filter(f"between needs two values (got {_shown(value)} for field {field!r})")
            low, high = (_ordered(field, operator, one) for one in value)
            if kind_of(low) != kind_of(high):
                raise invalid_filter(f"between needs two values of one type (got {_shown(value)} for field {field!r})")
            return low, high
        case "in":
            if not isinstance(value, list | tuple) or not value:
                raise invalid_filter(f"in needs a list of at least one value (got {_shown(value)} for field {field!r})")
            return tuple(_scalar(field, one) for one in value)
        case "=" | "!=" | "contains":
            return _scalar(field, value)
    if operator not in ORDERS:
        raise invalid_filter(f"The operator must be one of {' '.join(OPERATORS)} (got {_shown(operator)})")
    return _ordered(field, operator, value)


def _ordered(field: str, operator: str, value: Any) -> Any:
    if isinstance(value, bool):
        raise invalid_filter(f"{operator} cannot compare booleans (got {_shown(value)} for field {field!r}). Use =")
    return _scalar(field, value)


def _scalar(field: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    is_finite = (
        abs(value) < _TOO_LARGE if isinstance(value, int) else not isinstance(value, float) or math.isfinite(value)
    )
    if not kind_of(value) or not is_finite or (isinstance(value, str) and not _is_utf8(value)):
        raise invalid_filter(
            f"A value must be text, a finite number, a boolean or a date (got {_shown(value)} for field {field!r})"
        )
    return value


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    """Return the beginning of a value for an error; Python writes no integer of more than 4,300 digits."""
    return (
        f"{value!r:.80}" if not isinstance(value, int) or abs(value) < _TOO_LARGE else "an integer of over 1,023 bits"
    )
