"""Whether a payload matches a filter, slow and obvious: straight from the rules for the JSON spelling.

Absent (missing or null) and of another type: no comparison holds, but "!=" does, being the opposite of "=".
"""

from __future__ import annotations

from datetime import datetime, timezone


def matches(tree, payload):
    """Return whether a payload matches a filter, given as parsed JSON."""
    if "and" in tree:
        return all(matches(part, payload) for part in tree["and"])
    if "or" in tree:
        return any(matches(part, payload) for part in tree["or"])
    if "not" in tree:
        return not matches(tree["not"], payload)
    stored = payload
    for key in tree["field"].split("."):
        stored = stored.get(key) if isinstance(stored, dict) else None
    return holds(tree["op"], stored, tree.get("value"))


def holds(op, stored, value):
    if op == "!=":
        return not holds("=", stored, value)
    if op == "in":
        return any(holds("=", stored, one) for one in value)
    if op == "between":
        return holds(">=", stored, value[0]) and holds("<=", stored, value[1])
    if op == "exists":
        return stored is not None
    if op == "prefix":
        return type(stored) is str and stored[: len(value)] == value
    if op == "contains":
        return type(stored) is list and any(holds("=", one, value) for one in stored)
    if type(value) is dict:
        value = moment(value["date"])
        stored = moment(stored) if type(stored) is str else None
        if stored is None:
            return False
    numbers = {int, float}
    if not ({type(stored), type(value)} <= numbers or type(stored) is type(value)) or type(stored) in (list, dict):
        return False
    return {
        "=": stored == value,
        "<": op == "<" and stored < value,
        "<=": op == "<=" and stored <= value,
        ">": op == ">" and stored > value,
        ">=": op == ">=" and stored >= value,
    }[op]


def moment(text):
    """Seconds since 1970; None for text that is not ISO 8601."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    if read.tzinfo is None:
        read = read.replace(tzinfo=timezone.utc)  # noqa: UP017
    return read - datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017
