"""What becomes of an item's payload when the item is added again."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from fc7.contract.filter import read_field
from fc7.errors import AlreadyExists, InvalidArgument, Reason

LARGEST_PAYLOAD = 64 * 2**10  # characters of JSON


def merge(id: str, stored: dict[str, Any], new: dict[str, Any], *, has_same_content: bool) -> dict[str, Any]:
    """Return the stored payload with the new keys set; only the top level is merged.

    Raises
    ------
    AlreadyExists
        Other content, from another file: it must not take the stored item's place by accident.
    InvalidArgument
        The merged payload is too large.
    """
    before, now = stored.get("path"), new.get("path")
    if not has_same_content and isinstance(before, str) and isinstance(now, str) and not _is_same_file(before, now):
        raise AlreadyExists(
            f"id {id!r} is taken by another picture, {before!r}. To keep both, give this one another id "
            "(--id-prefix, or ids=). To put it in place of the other, use --replace, or replace=True",
            name=id,
            reason=Reason.ID_FROM_OTHER_PATH,
        )
    merged = stored | new
    check_size(id, merged, "To remove the stored keys, use --replace, or replace=True")
    return merged


def check_size(id: str, payload: dict[str, Any], remedy: str) -> None:
    """Refuse the payload that an item would get if it is too large."""
    n_characters = len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")))
    if n_characters > LARGEST_PAYLOAD:
        raise InvalidArgument(
            f"the payload of {id!r} would have {n_characters} characters with the keys that are stored: at most "
            f"{LARGEST_PAYLOAD}. {remedy}",
            name="payload_json",
            reason=Reason.INVALID_PAYLOAD,
        )


def is_equal(stored: dict[str, Any], payload: dict[str, Any]) -> bool:
    """Compare as JSON, in which 1 and true differ and the order of keys does not matter."""
    return json.dumps(stored, sort_keys=True) == json.dumps(payload, sort_keys=True)


def read_label(id: str, payload: dict[str, Any], field: str) -> str | None:
    """Return the label that a payload holds in ``field``; a whole number is its text.

    Raises
    ------
    InvalidArgument
        It is neither text nor a whole number.
    """
    label = payload.get(field)
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    raise InvalidArgument(
        f"item {id!r} has the label {json.dumps(label):.64}, which is neither text nor a whole number: "
        "store it as text",
        name=field,
        reason=Reason.INVALID_LABEL,
    )


def choose_fields(payload: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a payload that ``names`` name, nested as they were; an absent one is left out."""
    chosen: dict[str, Any] = {}
    for name in names:
        value = read_field(payload, name)
        if value is not None:
            *keys, last = name.split(".")
            place = chosen
            for key in keys:
                place = place.setdefault(key, {})
            place[last] = value
    return chosen


def _is_same_file(one: str, other: str) -> bool:
    """Compare two paths; a relative one, as version 0.1 stored it, is any file that ends with it."""
    a, b = (PurePosixPath(posixpath.normpath(path)) for path in (one, other))
    if a.is_absolute() == b.is_absolute():
        return a == b
    relative, absolute = (b, a) if a.is_absolute() else (a, b)
    tail = [part for part in relative.parts if part != ".."]
    return bool(tail) and list(absolute.parts[-len(tail) :]) == tail
