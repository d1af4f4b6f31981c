"""Filters as JSON, the spelling that goes over the wire.

A comparison is ``{"field": "year", "op": ">=", "value": 2020}``. Filters are combined as ``{"and": [...]}``,
``{"or": [...]}`` and ``{"not": {...}}``. A date is ``{"date": "2020-05-01"}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fc7.contract.filter import (
    DEEPEST,
    And,
    Comparison,
    Filter,
    Not,
    Or,
    check_size,
    invalid_filter,
    read_date,
    too_deep,
)

_LONGEST = 64 * 2**10  # characters
_GROUPS: dict[str, type[And] | type[Or]] = {"and": And, "or": Or}


def read_json(text: str) -> Filter:
    """Return the filter that JSON text stands for.

    Raises
    ------
    InvalidArgument
        It is not JSON, not a filter, or too large.
    """
    if len(text) > _LONGEST:
        raise invalid_filter(f"The filter has {len(text)} characters, but the limit is {_LONGEST}. Split it")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid_filter(f"The filter is not JSON: {error}") from error
    return from_json(value)


def write_json(tree: Filter) -> str:
    """Return the JSON text of a filter.

    Raises
    ------
    InvalidArgument
        The filter is too deep or too large.
    """
    check_size(tree)
    text = json.dumps(to_json(tree), ensure_ascii=False, separators=(",", ":"))
    if len(text) > _LONGEST:
        raise invalid_filter(f"The filter has {len(text)} characters of JSON, but the limit is {_LONGEST}. Split it")
    return text


def from_json(value: Any) -> Filter:
    """Return the filter that parsed JSON stands for; raise ``InvalidArgument`` if it is not one."""
    tree = _read(value, 0)
    check_size(tree)
    return tree


def to_json(tree: Filter) -> dict[str, Any]:
    """Return a filter as a JSON object."""
    if isinstance(tree, Not):
        return {"not": to_json(tree.part)}
    for key, kind in _GROUPS.items():
        if isinstance(tree, kind):
            return {key: [to_json(part) for part in tree.parts]}
    assert isinstance(tree, Comparison)
    comparison = {"field": tree.field, "op": tree.operator}
    return comparison if tree.value is None else {**comparison, "value": _write_value(tree.value)}


def _read(value: Any, depth: int) -> Filter:
    if depth > DEEPEST:
        raise too_deep()
    keys = sorted(value) if isinstance(value, Mapping) else None
    if keys == ["not"]:
        return Not(_read(value["not"], depth + 1))
    for key, kind in _GROUPS.items():
        if keys == [key] and isinstance(value[key], list):
            return kind(tuple(_read(part, depth + 1) for part in value[key]))
    if keys in (["field", "op"], ["field", "op", "value"]):
        return Comparison(value["field"], value["op"], _read_value(value.get("value")))
    raise invalid_filter(
        'A filter is {"field": ..., "op": ..., "value": ...}, {"and": [...]}, {"or": [...]} or {"not": {...}} '
        f"(got {value!r:.80})"
    )


def _read_value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read_value(one) for one in value)
    if not isinstance(value, Mapping):
        return value
    text = value.get("date")
    read = read_date(text) if isinstance(text, str) and len(value) == 1 else None
    if read is None:
        raise invalid_filter(f'A date is {{"date": "2020-05-01"}}, with ISO 8601 text (got {value!r:.80})')
    return read


def _write_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_write_value(one) for one in value]
    return {"date": value.isoformat()} if isinstance(value, datetime) else value
