"""A payload comes back with every key and number that was sent, or it is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fc7.errors import InvalidArgument
from fc7_service.rpc.payload import read_payload, write_payload

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**40), 10**40)
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])), st.lists)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=5))
def test_what_python_writes_comes_back(payload):
    assert read_payload(json.dumps(payload)) == payload
    assert json.loads(write_payload(read_payload(json.dumps(payload)))) == payload


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_seventeen_digits_are_kept(value):
    assert read_payload(f'{{"n": {value:.16e}}}')["n"] == value


@pytest.mark.parametrize(
    "literal",
    [
        *("0.1234567890123456789", "9007199254740993.0", "1e400", "-1e400", "1e-400", "1.2345678901e-320"),
        *("1e9999999999999999999", "1e-9999999999999999999", "0e9999999999999999999"),  # decimals hold no such exponent
        "1" + "0" * 1000,
    ],
)
def test_a_number_that_would_come_back_as_another_is_refused(literal):
    with pytest.raises(InvalidArgument, match="number 9007" if literal[0] == "9" else "number|integer"):
        read_payload(f'{{"n": [1, {literal}]}}')


@pytest.mark.parametrize("literal", ["0.5", "1.10", "1E5", "0e0", "0.0", "1" + "0" * 30 + ".0", "0.1", "5e-324"])
def test_an_ordinary_number_is_stored(literal):
    assert math.isclose(read_payload(f'{{"n": {literal}}}')["n"], float(literal), rel_tol=0)


@pytest.mark.parametrize("text", ['{"[": "{[", "a": "\\\\"}', '{"a": "\\"[[[["}'])
def test_brackets_in_texts_do_not_count(text):
    filled = text.replace("[[", "[" * 200)
    assert read_payload(filled) == json.loads(filled)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(InvalidArgument, match="cannot be stored"):
        read_payload('{"a": "\\ud800"}')
