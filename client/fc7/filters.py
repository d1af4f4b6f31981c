"""Filters in Python: ``fc7.F("year") >= 2020``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from fc7.contract.filter import Comparison, invalid_filter
from fc7.contract.filter import Filter as Filter  # part of this module for its users
from fc7.contract.filter_json import from_json, read_json, write_json
from fc7.contract.filter_text import parse

Where: TypeAlias = Filter | str | Mapping[str, Any]


class F:
    """A field of the payload, to compare with values. The comparison is a `Filter`.

    A value is text, a number, a boolean, a `datetime.date` or a `datetime.datetime`.

    Parameters
    ----------
    field
        Key of the payload. For a key of a nested object, the keys with dots between them.

    Examples
    --------
    >>> (fc7.F("year") >= 2020) & ~fc7.F("label").in_(["cat", "dog"])
    And(parts=(Comparison(field='year', operator='>=', value=2020), \
Not(part=Comparison(field='label', operator='in', value=('cat', 'dog')))))
    """

    __hash__ = None  # type: ignore[assignment]  # == makes a filter

    def __init__(self, field: str) -> None:
        self._field = field

    def __eq__(self, value: Any) -> Filter:  # type: ignore[override]
        return Comparison(self._field, "=", value)

    def __ne__(self, value: Any) -> Filter:  # type: ignore[override]
        return Comparison(self._field, "!=", value)

    def __lt__(self, value: Any) -> Filter:
        return Comparison(self._field, "<", value)

    def __le__(self, value: Any) -> Filter:
        return Comparison(self._field, "<=", value)

    def __gt__(self, value: Any) -> Filter:
        return Comparison(self._field, ">", value)

    def __ge__(self, value: Any) -> Filter:
        return Comparison(self._field, ">=", value)

    def between(self, low: Any, high: Any) -> Filter:
        """Match values from ``low`` to ``high``, both included."""
        return Comparison(self._field, "between", (low, high))

    def in_(self, values: Iterable[Any]) -> Filter:
        """Match any of ``values``."""
        if isinstance(values, str):
            raise invalid_filter(f"in_ takes a list of values (got the string {values!r:.80})")
        return Comparison(self._field, "in", tuple(values))

    def prefix(self, text: str) -> Filter:
        """Match text that begins with ``text``."""
        return Comparison(self._field, "prefix", text)

    def contains(self, value: Any) -> Filter:
        """Match a list that has ``value`` as an element."""
        return Comparison(self._field, "contains", value)

    def exists(self) -> Filter:
        """Match items that have the field, unless it is null."""
        return Comparison(self._field, "exists")


def read_where(where: Where) -> Filter:
    """Return the filter of a ``where=`` argument: a `Filter`, its text, or its JSON as a dictionary or as text.

    Raises
    ------
    InvalidArgument
        It is not a filter.
    """
    if isinstance(where, Filter):
        return where
    if isinstance(where, str):
        return read_json(where) if where.lstrip().startswith("{") else parse(where)
    if isinstance(where, Mapping):
        return from_json(where)
    raise invalid_filter(f"where must be a filter, or text such as 'year >= 2020' (got {where!r:.80})")


def write_where(where: Where | None) -> str:
    """Return what a message carries for a ``where=`` argument: JSON, or nothing for None."""
    return "" if where is None else write_json(read_where(where))
