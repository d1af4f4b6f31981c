"""Filters: three spellings of one tree, which all agree with the slow twin, also by the columns of a collection."""

from __future__ import annotations

import json
import operator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fc7
from fc7.contract.filter import And, Comparison, Filter, Not, matches
from fc7.contract.filter_json import from_json, read_json, to_json, write_json
from fc7.contract.filter_text import parse, write_text
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from slow import filters

KEYS = ["a", "b", "and", "größe", "two words", "a`b", "a-1"]
TEXTS = ["", "cat", "Cat", "1", "true", "it's", '"', "back\\slash", "new\nline", "ü", "\U0001f600"]
DATES = ["2020-05-01", "2020-05-01T00:00:00+02:00", "2020-05-01T12:30:00", "2021-01-01T00:00:00Z", "1970-13-01"]
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=9, minutes=30))])
dates = st.datetimes(datetime(2020, 4, 30), datetime(2020, 5, 3), timezones=zones)
numbers = st.integers(-2, 2) | st.sampled_from([0.5, -1.5, 1e300, 10**30, 2**53 + 1, float(2**53)]) | st.floats(-3, 3)
texts = st.sampled_from(TEXTS + DATES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
scalars = numbers | texts | st.booleans()
fields = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(".".join)
ordered = [st.lists(kind, min_size=2, max_size=2).map(tuple) for kind in (numbers, texts, dates)]
comparisons = st.one_of(
    st.builds(Comparison, fields, st.sampled_from(["=", "!=", "contains"]), scalars | dates),
    st.builds(Comparison, fields, st.sampled_from(["<", "<=", ">", ">="]), numbers | texts | dates),
    st.builds(Comparison, fields, st.just("between"), st.one_of(ordered)),
    st.builds(Comparison, fields, st.just("in"), st.lists(scalars | dates, min_size=1, max_size=4).map(tuple)),
    st.builds(Comparison, fields, st.just("prefix"), texts),
    st.builds(Comparison, fields, st.just("exists")),
)
trees = st.recursive(
    comparisons,
    lambda part: st.one_of(part.map(Not), st.builds(operator.and_, part, part), st.builds(operator.or_, part, part)),
    max_leaves=6,
)
values = st.none() | scalars | st.lists(st.none() | scalars, max_size=3)
payloads = st.dictionaries(st.sampled_from(KEYS), values | st.dictionaries(st.sampled_from(KEYS), values), max_size=5)


def in_python(tree: Filter) -> Filter:
    """The tree as a user writes it in Python."""
    if isinstance(tree, Not):
        return ~in_python(tree.part)
    if not isinstance(tree, Comparison):
        first, *rest = (in_python(part) for part in tree.parts)  # type: ignore[attr-defined]
        for part in rest:
            first = first & part if isinstance(tree, And) else first | part
        return first
    field, value = fc7.F(tree.field), tree.value
    signs: dict[str, Any] = {"=": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    if tree.operator in signs:
        return getattr(operator, signs[tree.operator])(field, value)
    arguments = {"between": value, "exists": ()}.get(tree.operator, (value,))
    return getattr(field, {"in": "in_"}.get(tree.operator, tree.operator))(*arguments)


@given(trees, st.lists(payloads, min_size=1, max_size=8))
@example(Comparison("a", "=", True), [{"a": 1}, {"a": True}])
@example(~Comparison("a", "<", 1), [{}, {"a": None}, {"a": "0"}, {"a": 0}])
def test_the_spellings_are_one_tree_and_agree_with_the_twin(tree: Filter, some: list[dict[str, Any]]) -> None:
    for same in (read_json(write_json(tree)), from_json(to_json(tree)), parse(write_text(tree)), in_python(tree)):
        assert write_json(same) == write_json(tree)  # equal trees may hold 1 for True
        assert same == tree
    twin = json.loads(write_json(tree))
    for payload in some:
        assert matches(tree, payload) == filters.matches(twin, payload), (write_text(tree), payload)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(trees, min_size=1, max_size=4), st.lists(payloads, min_size=1, max_size=12), st.data())
def test_every_search_agrees_with_the_twin(
    tmp_path_factory: Any, some_trees: list[Filter], some: list[dict[str, Any]], data: Any
) -> None:
    collections = Collections(Path(tmp_path_factory.mktemp("filters")))
    collection = collections.create("c", Provenance("m", "a" * 64, "b" * 64, "fc7"), 2)
    stored: dict[str, dict[str, Any]] = {}
    try:
        for i, payload in enumerate(some):
            own = str(data.draw(st.integers(0, i)))  # some replace others
            collection.upsert([Item(own, "0" * 64, payload, np.array([1, i], np.float32))])
            stored[own] = payload
            if own != "0" and data.draw(st.integers(0, 5)) == 0:
                collection.delete([own])
                del stored[own]
            for tree in some_trees:
                twin = json.loads(write_json(tree))
                wanted = sorted(one for one, payload in stored.items() if filters.matches(twin, payload))
                (hits,) = collection.search(np.ones((1, 2), np.float32), 100, where=tree)
                assert sorted(hit.id for hit in hits) == wanted
                assert collection.count_where(tree) == len(wanted)
                assert sorted(item.id for item in collection.page_where(tree, 0, 100)[0]) == wanted
    finally:
        collections.close()
