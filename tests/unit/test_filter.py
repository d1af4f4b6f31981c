"""Filters: what the text says, and what is refused in which words."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

import fc7
from fc7.contract.filter import MOST_PARTS, Comparison, Filter, matches
from fc7.contract.filter_json import read_json, write_json
from fc7.contract.filter_text import parse, write_text
from fc7.filters import read_where
from fc7_service.rpc.payload import read_payload


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = 1", fc7.F("a") == 1),
        ("a == 'it\\'s'", fc7.F("a") == "it's"),
        ('camera.model != "x"', fc7.F("camera.model") != "x"),
        ("a IN (1, 'b', TRUE)", fc7.F("a").in_([1, "b", True])),
        ("a not in (1)", ~fc7.F("a").in_([1])),
        ("not a exists", ~fc7.F("a").exists()),
        ("a between -1 and 2.5", fc7.F("a").between(-1, 2.5)),
        ("a=1 or b=2 and c=3", (fc7.F("a") == 1) | ((fc7.F("b") == 2) & (fc7.F("c") == 3))),
        ("(a=1 or b=2) and c=3", ((fc7.F("a") == 1) | (fc7.F("b") == 2)) & (fc7.F("c") == 3)),
        ("a >= date '2020-05-01'", fc7.F("a") >= date(2020, 5, 1)),
        ("a < date '2020-05-01T12:00:00+02:00'", fc7.F("a") < datetime(2020, 5, 1, 10, tzinfo=UTC)),
        ("`not` prefix 'x' and tags contains \"y\"", fc7.F("not").prefix("x") & fc7.F("tags").contains("y")),
    ],
)
def test_text_is_read_as_people_mean_it(text: str, tree: Filter) -> None:
    assert parse(text) == tree
    assert parse(write_text(tree)) == tree
    assert read_where(text) == read_where(tree) == read_where(write_json(tree))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read at character 1: expected the name of a field, not, or ( (got the end)"),
        ("year >=", "cannot be read at character 8: expected text in quotes, a number, true, false or a date"),
        ("year >= and x = 1", "character 9: .* (got 'and x = 1')"),
        ("label = cat", "character 9: expected text in quotes"),
        ("label like 'c%'", "character 7: expected one of = != < <= > >= in between prefix contains exists"),
        ("a in 1", "character 6: expected ("),
        ("a in ()", "character 7"),
        ("(a = 1", "character 7: expected and, or, or ) (got the end)"),
        ("a = 1 b", "character 7: expected and, or, or the end (got 'b')"),
        ("a = 'x", "character 5: .* Text needs quotes"),
        ("a = '\\x'", "character 5: expected text whose backslashes are those of JSON"),
        ("a = date 'May'", "character 10: expected a date in quotes"),
        ("a = 1e999", "wrong at character 1: A value must be text, a finite number"),
        ("b = 1 and a < true", "wrong at character 11: < cannot compare booleans"),
        ("a between 1 and 'b'", "between needs two values of one type"),
        ("a = " + "9" * 5000, "is too long"),
        ("a prefix 1", "prefix needs text"),
        ("(" * 5000 + "a = 1", "nested more than 32 levels deep"),
        ("not " * 5000 + "a = 1", "nested more than 32 levels deep"),
        (f"a in ({', '.join(['1'] * (MOST_PARTS + 1))})", "more than 1000 comparisons and values"),
        ("a = '" + "x" * 2**16 + "'", "characters, but the limit is 65536"),
    ],
)
def test_text_that_is_no_filter_is_refused_at_its_place(text: str, message: str) -> None:
    with pytest.raises(fc7.InvalidArgument) as caught:
        parse(text)
    assert caught.value.reason == "INVALID_FILTER"
    for part in message.split(".*"):
        assert part.strip() in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "x", "[]", "{}", "null", '{"and": []}', '{"or": [{"field": "a", "op": "exists"}]}', '{"and": {}}',
        '{"field": "a"}', '{"field": "", "op": "exists"}', '{"field": "a..b", "op": "exists"}',
        '{"field": 1, "op": "exists"}', '{"field": "a", "op": "exists", "value": 1}',
        '{"field": "a", "op": "like", "value": "x"}', '{"field": "a", "op": ["="], "value": 1}',
        '{"field": "a", "op": "=", "value": null}', '{"field": "a", "op": "=", "value": NaN}',
        '{"field": "a", "op": "=", "value": [1]}', '{"field": "a", "op": "=", "value": {"date": "x"}}',
        '{"field": "a", "op": "=", "value": {"date": 1}}', '{"field": "a", "op": "in", "value": 1}',
        '{"field": "a", "op": "in", "value": []}', '{"field": "a", "op": "between", "value": [1]}',
        '{"field": "a", "op": "<", "value": true}', '{"field": "a", "op": "=", "value": 1, "x": 2}',
        '{"field": "a", "op": "=", "value": "\\ud800"}', '{"not": ' * 10_000, '{"not": ' * 50 + "1" + "}" * 50,
        "[" * 60_000, '{"field": "a", "op": "=", "value": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_json_that_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(fc7.InvalidArgument) as caught:
        read_json(text)
    assert caught.value.reason == "INVALID_FILTER"
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "make",
    [
        lambda: fc7.F("a") == None,  # noqa: E711
        lambda: fc7.F("a") == [1],
        lambda: fc7.F("a") == float("nan"),
        lambda: fc7.F("a") < True,
        lambda: fc7.F("a").in_("cat"),
        lambda: fc7.F("") == 1,
        lambda: fc7.F("a") == b"x",
        lambda: (fc7.F("a") == 1) & True,
        lambda: (fc7.F("a") == 1) and (fc7.F("b") == 2),
        lambda: 1 < fc7.F("a") < 3,
        lambda: read_where(7),  # type: ignore[arg-type]
        lambda: read_where({}),
        lambda: read_where(""),
    ],
)
def test_python_that_is_no_filter_is_refused(make: Any) -> None:
    with pytest.raises(fc7.InvalidArgument) as caught:
        make()
    assert caught.value.reason == "INVALID_FILTER"


def test_a_deep_tree_of_python_is_refused() -> None:
    tree = fc7.F("a") == 1
    for _ in range(5000):
        tree = ~tree
    with pytest.raises(fc7.InvalidArgument, match="32 levels"):
        write_json(tree)


@pytest.mark.parametrize("text", ["a = 1", "a < 1", "a > 'x'", "a in (1)", "a between 0 and 9", "a prefix 'x'",
                                  "a contains 1", "a exists", "a = false", "a < date '2020-01-01'"])  # fmt: skip
def test_no_comparison_holds_for_an_absent_field(text: str) -> None:
    for payload in ({}, {"a": None}, {"b": 1}):
        assert not matches(parse(text), payload)
        assert matches(parse(f"not {text}"), payload)
        assert matches(parse("a != 1"), payload)


def test_other_types_do_not_match() -> None:
    payload = read_payload('{"n": 1, "t": "1", "b": true, "l": [1, "x"], "o": {"k": 2}, "d": "2020-05-01"}')
    for text in ("n = 1.0", "t = '1'", "b = true", "l contains 1", "o.k = 2", "d = date '2020-05-01'", "n != true"):
        assert matches(parse(text), payload), text
    for text in ("n = '1'", "t = 1", "b = 1", "n = true", "l = 1", "l contains true", "o = 2", "t contains '1'",
                 "n < 'z'", "t < date '2030-01-01'", "n prefix '1'", "l.k = 1", "n.k = 1"):  # fmt: skip
        assert not matches(parse(text), payload), text


@pytest.mark.parametrize("operator", ["=", "prefix", "between", "in", "exists", "<"])
def test_an_integer_that_no_payload_can_hold_is_refused(operator: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=r"an integer of over 1,023 bits|needs|takes no value"):
        Comparison("a", operator, [10**5000] if operator == "in" else 10**5000)
