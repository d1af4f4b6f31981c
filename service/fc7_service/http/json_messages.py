"""Messages as JSON: protobuf's JSON mapping, read strictly, with the place of an error in its name.

https://protobuf.dev/programming-guides/json/. Reading is done here because json_format drops characters that are no
base64, and does not say which item of a list is wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from fc7.errors import InvalidArgument, Reason
from fc7_service.rpc.message_limits import MAX_FIELDS, MAX_ITEMS

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_URL_SAFE = str.maketrans("-_", "+/")
_SHOWN = 80  # characters of a value that an error repeats


class JsonCodec:
    """Protobuf's JSON mapping. Answers have lowerCamelCase names, and every field that is not a message."""

    def read(self, kind: type[Message], data: bytes) -> Message:
        """Return the message of a JSON object.

        Raises
        ------
        InvalidArgument
            It is no JSON object of this message. The error names the field.
        """
        message = kind()
        fill_message(message, parse_json(data))
        return message

    def write(self, answer: Message) -> bytes:
        """Return a JSON object."""
        values = json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def parse_json(data: bytes) -> Any:
    """Return a JSON value, after the values in it were counted.

    Raises
    ------
    InvalidArgument
        The bytes are not JSON, or hold too many values.
    """
    if _count(data) > MAX_FIELDS and _count(_STRING.sub(b"", data)) > MAX_FIELDS:  # what is in texts does not count
        raise InvalidArgument(
            f"the request holds more than {MAX_FIELDS} values. Send it in parts of at most {MAX_ITEMS} items",
            reason=Reason.TOO_MANY_ITEMS,
        )
    try:
        return json.loads(data, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidArgument(
            f"the body is not JSON: {why[:200]}", name="body", reason=Reason.MALFORMED_MESSAGE
        ) from None


def fill_message(message: Message, values: Any, path: str = "") -> None:
    """Set the fields of a message from a JSON object.

    Parameters
    ----------
    path
        Where the message is in the request, for errors: empty, or a name that ends with a dot.

    Raises
    ------
    InvalidArgument
        A field is unknown, or its value does not fit. The error names it.
    """
    if not isinstance(values, dict):
        raise _wrong(path.rstrip(".") or "body", "a JSON object", values)
    known, seen = _fields(message.DESCRIPTOR), set()
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            place, known_names = f"{path}{name}"[:200], [one.name for one in message.DESCRIPTOR.fields]
            raise InvalidArgument(
                f"there is no field {place!r}. The fields are: {', '.join(known_names)}",
                name=place,
                reason=Reason.MALFORMED_MESSAGE,
            )
        if value is None:
            continue
        part = field.containing_oneof.name if field.containing_oneof is not None else field.name
        if part in seen:
            raise _malformed(f"{path}{field.name}", f"is one field of {part!r} too many. Send one of them")
        seen.add(part)
        _set_field(message, field, value, f"{path}{field.name}")


def _set_field(message: Message, field: Any, value: Any, place: str) -> None:
    kind = field.message_type
    if kind is not None and (kind.GetOptions().map_entry or kind.file.package == "google.protobuf"):
        try:
            json_format.ParseDict({field.name: value}, message)
        except json_format.ParseError as error:
            raise _malformed(place, str(error)[:200]) from None
    elif field.is_repeated:
        if not isinstance(value, list):
            raise _wrong(place, "a JSON array", value)
        items = getattr(message, field.name)
        for i, one in enumerate(value):
            if kind is not None:
                fill_message(items.add(), one, f"{place}[{i}].")
            else:
                _add(items.append, field, one, f"{place}[{i}]")
    elif kind is not None:
        part = getattr(message, field.name)
        part.SetInParent()
        fill_message(part, value, f"{place}.")
    else:
        _add(lambda scalar: setattr(message, field.name, scalar), field, value, place)


def _add(add: Any, field: Any, value: Any, place: str) -> None:
    """Hand the value of a field to ``add``; the message checks the range of numbers and the characters of texts."""
    try:
        add(_read_scalar(field, value, place))
    except InvalidArgument:
        raise
    except (ValueError, OverflowError, TypeError):
        raise _wrong(place, f"a value that {field.name!r} can hold", value) from None


def _read_scalar(field: Any, value: Any, place: str) -> Any:
    """Return the value of a field that is no message."""
    if field.type == field.TYPE_STRING:
        return value if isinstance(value, str) else _refuse(place, "a text", value)
    if field.type == field.TYPE_BYTES:
        return _read_base64(value, place)
    if field.type == field.TYPE_BOOL:
        return value if isinstance(value, bool) else _refuse(place, "true or false", value)
    if field.type == field.TYPE_ENUM:
        names = field.enum_type.values_by_name
        if isinstance(value, str) and value in names:
            return names[value].number
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number else _refuse(place, f"one of {', '.join(names)}", value)
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return _read_float(value, place)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):  # how the mapping writes 64 bits
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else _refuse(place, "a whole number", value)


def _read_base64(value: Any, place: str) -> bytes:
    text = value.translate(_URL_SAFE).rstrip("=") if isinstance(value, str) else _refuse(place, "base64", value)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(place, "base64", value) from None


def _read_float(value: Any, place: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return float(value) if isinstance(value, str) and value == value.strip() else _refuse(place, "a number", value)
    except ValueError:
        raise _wrong(place, "a number", value) from None


@cache
def _fields(message: Any) -> dict[str, Any]:
    """Return the fields of a message by both of their names."""
    return {field.name: field for field in message.fields} | {field.json_name: field for field in message.fields}


def _count(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in found if keys.count(key) > 1)[:_SHOWN]!r} occurs twice in one object")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON. Write it in quotes")


def _refuse(place: str, wanted: str, value: Any) -> Any:
    raise _wrong(place, wanted, value)


def _wrong(place: str, wanted: str, value: Any) -> InvalidArgument:
    text = json.dumps(value)
    return _malformed(place, f"must be {wanted} (got {text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'})")


def _malformed(place: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{place} {what}", name=place, reason=Reason.MALFORMED_MESSAGE)
