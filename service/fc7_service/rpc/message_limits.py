"""Counts the fields of a message before it is parsed: an empty image has two bytes, and takes kilobytes once parsed."""

from __future__ import annotations

from functools import cache
from typing import Any

from fc7.errors import InvalidArgument, Reason

MAX_ITEMS = 4096  # of one request
MAX_FIELDS = 16 * MAX_ITEMS  # of one message: an item with a vector has nine
_SMALL_BYTES = 64 * 2**10  # smaller messages cannot hold enough to matter

_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5


def check_fields(data: bytes, descriptor: Any) -> None:
    """Refuse a message of too many fields, numbers of packed lists included, before it is parsed.

    Parameters
    ----------
    data
        The message, as received.
    descriptor
        Descriptor of the message. Unknown fields count as one.

    Raises
    ------
    InvalidArgument
        There are more than ``MAX_FIELDS`` fields, or a large message is malformed.
    """
    if len(data) > _SMALL_BYTES and _count(data, descriptor) > MAX_FIELDS:
        raise InvalidArgument(
            f"the request holds more than {MAX_FIELDS} fields. Send it in parts of at most {MAX_ITEMS} items",
            reason=Reason.TOO_MANY_ITEMS,
        )


def malformed() -> InvalidArgument:
    """Return the error for bytes that are not a message of the method."""
    return InvalidArgument(
        "the bytes of the request are not the message that this method takes", reason=Reason.MALFORMED_MESSAGE
    )


def _count(data: bytes, descriptor: Any) -> int:
    """Return the number of fields; counting stops one above the limit."""
    n_fields, parts = 0, [(0, len(data), descriptor)]
    try:
        while parts:
            at, end, message = parts.pop()
            known = _fields(message)
            while at < end:
                n_fields += 1
                if n_fields > MAX_FIELDS:
                    return n_fields
                key, at = _read_varint(data, at)
                kind = key & 7
                if kind == _SIZED:
                    size, at = _read_varint(data, at)
                    inner = known.get(key >> 3)
                    if inner is _PACKED:
                        n_fields += size
                    elif inner is not None:
                        parts.append((at, at + size, inner))
                    at += size
                elif kind == _VARINT:
                    _, at = _read_varint(data, at)
                elif kind in (_FIXED64, _FIXED32):
                    at += 8 if kind == _FIXED64 else 4
                else:
                    raise malformed()  # groups, which proto3 does not have, and which could hide fields from this count
    except IndexError:  # cut short
        raise malformed() from None
    return n_fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where the next one begins."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    number, shift = byte & 127, 7
    while byte > 127:
        at += 1
        byte = data[at]
        number |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise IndexError
    return number, at + 1


_PACKED = object()


@cache
def _fields(message: Any) -> dict[int, Any]:
    """Return the descriptor of each field that is a message, and ``_PACKED`` for lists of integers."""
    fields = {field.number: field.message_type for field in message.fields if field.message_type is not None}
    # Text, bytes and packed floats take as much memory as in the message.
    as_sent = [
        getattr(f, f"TYPE_{kind}") for f in message.fields[:1] for kind in ("STRING", "BYTES", "FLOAT", "DOUBLE")
    ]
    packed = (f.number for f in message.fields if f.is_repeated and f.message_type is None and f.type not in as_sent)
    return fields | dict.fromkeys(packed, _PACKED)
