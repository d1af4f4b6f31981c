"""Ids of items on their way to the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from fc7._operations.conversion import check_text
from fc7.errors import Fc7Error, InvalidArgument


@dataclass(frozen=True, slots=True)
class SentId:
    """An id to be sent. An id that no message can hold is sent empty; no item has that id."""

    id: str  # as the caller gave it
    sent: str
    error: Fc7Error | None = None


def split_ids(ids: Iterable[str], count: int) -> Iterator[list[SentId]]:
    """Yield ids in parts of at most ``count``.

    Raises
    ------
    InvalidArgument
        It is one string instead of a list.
    """
    if isinstance(ids, str):
        raise InvalidArgument(f"ids must be a list of ids (got the string {ids!r})", name="ids")
    remaining = iter(ids)
    while part := [_write_id(own) for own in islice(remaining, count)]:
        yield part


def _write_id(own: str) -> SentId:
    try:
        return SentId(own, check_text(own, "id"))
    except InvalidArgument as error:
        return SentId(str(own), "", error)
