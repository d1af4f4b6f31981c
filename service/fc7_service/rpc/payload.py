"""Payloads: JSON objects that come back with every key and number that was sent, or are refused."""

from __future__ import annotations

import json
import math
from decimal import Context, Decimal
from typing import Any

from fc7.errors import InvalidArgument, Reason
from fc7_service.collections.payload import LARGEST_PAYLOAD

_DEEPEST = 64  # arrays and objects within one another
_LONGEST_INTEGER = 1000  # digits
_LENIENT = Context(traps=[])  # an exponent that no decimal holds gives NaN, which is equal to nothing


def read_payload(text: str) -> dict[str, Any]:
    """Return a payload.

    Raises
    ------
    InvalidArgument
        Not a JSON object, above 64 KiB, nested more than 64 levels deep, with a key that occurs twice in one object,
        or with a number that would not come back as it was sent.
    """
    try:
        if len(text) > LARGEST_PAYLOAD:
            raise ValueError(f"it has {len(text)} characters, but the limit is {LARGEST_PAYLOAD}")
        if text.count("[") + text.count("{") > _DEEPEST and (depth := _depth(text)) > _DEEPEST:
            raise ValueError(f"it is nested {depth} levels deep, but the limit is {_DEEPEST}")
        payload = json.loads(
            text or "{}", parse_constant=_refuse, parse_float=_exact, parse_int=_whole, object_pairs_hook=_without_twins
        )
        text.encode()
        json.dumps(payload, ensure_ascii=False).encode()  # no half of a surrogate pair, which an escape may hide
    except ValueError as error:
        message = f"the payload cannot be stored: {error}"
        raise InvalidArgument(message, name="payload_json", reason=Reason.INVALID_PAYLOAD) from error
    if not isinstance(payload, dict):
        raise InvalidArgument(
            f'the payload is {text[:32]!r}, which is not a JSON object. Send one, for example {{"label": "cat"}}',
            name="payload_json",
            reason=Reason.INVALID_PAYLOAD,
        )
    return payload


def write_payload(payload: dict[str, Any]) -> str:
    """Return a payload's JSON text."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _depth(text: str) -> int:
    """Return how deeply a JSON text is nested, without parsing it: parsers run out of stack."""
    deepest = depth = 0
    is_text = is_escaped = False
    for character in text:
        if is_text:
            is_text = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            is_text = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _whole(literal: str) -> int:
    if len(literal) > _LONGEST_INTEGER:
        raise ValueError(f"an integer has {len(literal)} digits, but the limit is {_LONGEST_INTEGER}. Send it as text")
    return int(literal)


def _exact(literal: str) -> float:
    """Return a number, unless a double does not keep all the digits that were sent."""
    value, sent = float(literal), Decimal(literal, _LENIENT)
    n_digits = len("".join(map(str, sent.as_tuple().digits)).strip("0"))
    if math.isinf(value) or sent not in (Decimal(repr(value)), Decimal(f"{value:.{max(n_digits - 1, 0)}e}")):
        raise ValueError(f"the number {literal[:40]} does not fit a double. Shorten it, or send it as text")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {twin[:40]!r} occurs twice in one object")
    return found
