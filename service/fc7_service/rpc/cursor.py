"""Page tokens: where the next page begins, and of which list."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

from fc7.errors import InvalidArgument, Reason

_LONGEST = 4096  # characters


def write_cursor(place: list[Any], *about: str) -> str:
    """Return the token of a place.

    Parameters
    ----------
    place
        What JSON can hold.
    about
        What the list is of: the collection, its filter, its order. ``read_cursor`` must be given the same.
    """
    text = json.dumps([_digest(about), *place], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(token: str, kinds: Sequence[type | tuple[type, ...]], *about: str) -> list[Any]:
    """Return the place that a token stands for: values of these ``kinds``.

    Raises
    ------
    InvalidArgument
        No server returned it, or it is the token of another list.
    """
    try:
        if len(token) > _LONGEST:
            raise ValueError
        digest, *place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if not all(isinstance(one, kind) and not isinstance(one, bool) for one, kind in zip(place, kinds, strict=True)):
            raise ValueError
    except (ValueError, TypeError, RecursionError) as error:
        raise unknown_cursor(token) from error
    if digest != _digest(about):
        raise _invalid(
            "page_token belongs to another collection, filter or order. Send the fields of the first request again"
        )
    return list(place)


def unknown_cursor(token: str) -> InvalidArgument:
    """Return the error for a token that no server returned."""
    return _invalid(f"page_token must be one that this server returned (got {token[:32]!r})")


def _digest(about: tuple[str, ...]) -> int:
    return zlib.crc32(json.dumps(about).encode())


def _invalid(problem: str) -> InvalidArgument:
    return InvalidArgument(problem, name="page_token", reason=Reason.INVALID_PAGE_TOKEN)
