"""Requests whose body is a picture or a form with pictures; other fields are parameters of the address or the form.

    curl -F image=@query.jpg 'localhost:8080/fc7.v1.CollectionService/QueryItems?collection=photos&k=5'

Where the pictures belong is read from the descriptor of the request: into the field that is an `Image`, or into the
`Image` of each element of a list, as in `queries` and `items`.
"""

from __future__ import annotations

import email
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.message import Message

from fc7.errors import InvalidArgument, Reason
from fc7.v1 import common_pb2
from fc7_service.http.json_messages import JsonCodec, fill_message
from fc7_service.rpc.message_limits import MAX_ITEMS

FORM = "multipart/form-data"
ANY_NAME = "image"  # of a part of a form: a picture for the first place
_BOOLEANS = {"true": True, "false": False}
_MOST_PARTS = 4 * MAX_ITEMS


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form."""

    name: str
    content: bytes
    filename: str | None = None  # None for a part that is no file


class PictureCodec(JsonCodec):
    """Reads pictures; answers are JSON.

    Parameters
    ----------
    content_type
        Header of the request.
    parameters
        Names and values of the address.
    """

    def __init__(self, content_type: str, parameters: Sequence[tuple[str, str]]) -> None:
        self._content_type, self._parameters = content_type, parameters

    def read(self, kind: type[Message], data: bytes) -> Message:
        """Return the message that the pictures and the parameters make.

        Raises
        ------
        InvalidArgument
            The form is malformed, or a parameter is unknown or does not fit. The error names it.
        """
        if self._content_type.lower().startswith(FORM):
            parts = read_form(self._content_type, data)
        else:
            parts = [Part(ANY_NAME, data, "")]
        parameters = [*self._parameters, *((p.name, _text(p)) for p in parts if p.filename is None)]
        return make_message(kind, [part for part in parts if part.filename is not None], parameters)


@cache
def places_of(message: Any) -> dict[str, Any]:
    """Return the fields of a message that are images, or lists whose elements have one, by the names of form parts."""
    fields = [field for field in message.fields if _is_image(field) or _image_of(field) is not None]
    named = {field.name: field for field in fields}
    return {ANY_NAME: fields[0], **named} if fields else {}


def make_message(kind: type[Message], pictures: Sequence[Part], parameters: Sequence[tuple[str, str]]) -> Message:
    """Return a message with these pictures and fields."""
    message = kind()
    known = _by_name(kind.DESCRIPTOR)
    elements: list[tuple[Message, str | None]] = []
    others: set[str] = set()  # fields of elements that exclude a picture
    for part in pictures:
        place = places_of(kind.DESCRIPTOR).get(part.name)
        if place is None:
            wanted = ", ".join(places_of(kind.DESCRIPTOR))
            raise _refused(part.name, f"there is no place for a picture named {part.name[:64]!r}. Name it {wanted}")
        target = getattr(message, place.name)
        if not place.is_repeated and target.encoded:
            raise _refused(part.name, f"{part.name!r} takes one picture. Send it once")
        element = target.add() if place.is_repeated else target
        if (inner := _image_of(place)) is not None:
            elements.append((element, part.filename))
            others |= {field.name for field in _members(inner)}
            element = getattr(element, inner.name)
        element.encoded = part.content
    own: dict[str, list[str]] = {}
    of_elements: dict[str, list[str]] = {}
    for name, value in parameters:
        is_own = name in known or not any(name in _by_name(element.DESCRIPTOR) for element, _ in elements)
        (own if is_own else of_elements).setdefault(name, []).append(value)
    for name in of_elements:
        if name in others:
            raise _refused(name, f"{name!r} excludes a picture. Send one of the two")
    fill_message(message, {name: _value(known.get(name), name, values) for name, values in own.items()})
    _fill_elements(elements, of_elements)
    return message


def read_form(content_type: str, data: bytes) -> list[Part]:
    """Return the parts of a form.

    Raises
    ------
    InvalidArgument
        It is malformed, or has too many parts.

    References
    ----------
    RFC 7578; RFC 2046, section 5.1.1.
    """
    header = email.message_from_string(f"content-type: {content_type}\n\n")
    boundary = header.get_boundary("").encode("utf-8", "surrogateescape")
    delimiter = b"\r\n--" + boundary
    framed = b"\r\n" + data
    if not boundary or framed.count(delimiter) > _MOST_PARTS:
        why = "has no boundary" if not boundary else f"has more than {_MOST_PARTS} parts"
        raise _refused("body", f"the form {why}")
    _, *pieces = framed.split(delimiter)
    if not pieces or not pieces.pop().startswith(b"--"):
        raise _refused("body", "the form is cut short, or its boundary differs from the header's")
    return [_read_part(piece) for piece in pieces]


def _read_part(piece: bytes) -> Part:
    head, blank, content = piece.partition(b"\r\n\r\n")
    header = email.message_from_string(head.lstrip().decode("latin-1"))  # this parser changes bytes beyond ASCII
    name, filename = (header.get_param(word, header="content-disposition") for word in ("name", "filename"))
    if not blank or not isinstance(name, str):
        raise _refused("body", "a part of the form has no name")
    return Part(_utf8(name), content, _utf8(filename) if isinstance(filename, str) else None)


def _fill_elements(elements: Sequence[tuple[Message, str | None]], parameters: dict[str, list[str]]) -> None:
    """Set the fields of each element: the n-th value of a parameter is for the n-th picture."""
    for name, values in parameters.items():
        if len(values) != len(elements):
            raise _refused(name, f"{name!r} came {len(values)} times with {len(elements)} pictures. Send one for each")
    for i, (element, filename) in enumerate(elements):
        known = _by_name(element.DESCRIPTOR)
        own = {name: _value(known.get(name), name, [values[i]]) for name, values in parameters.items()}
        is_unnamed = "id" in known and known["id"].containing_oneof is None and "id" not in own
        fill_message(element, ({"id": filename} if filename and is_unnamed else {}) | own)


def _value(field: Any, name: str, values: list[str]) -> Any:
    """Return what JSON would have for the values of a parameter."""
    if field is None:
        return values
    if len(values) > 1 and not field.is_repeated:
        raise _refused(name, f"{name!r} came {len(values)} times. Send it once")
    read = [_BOOLEANS.get(value, value) if field.type == field.TYPE_BOOL else value for value in values]
    return read if field.is_repeated else read[0]


def _is_image(field: Any) -> bool:
    return field.message_type is not None and field.message_type.full_name == common_pb2.Image.DESCRIPTOR.full_name


def _image_of(field: Any) -> Any:
    """Return the image field of the elements of a list; None if it has none."""
    if not field.is_repeated or field.message_type is None or _is_image(field):
        return None
    return next((inner for inner in field.message_type.fields if _is_image(inner) and not inner.is_repeated), None)


def _members(field: Any) -> Sequence[Any]:
    """Return the fields that exclude one another with ``field``."""
    return field.containing_oneof.fields if field.containing_oneof is not None else ()


@cache
def _by_name(message: Any) -> dict[str, Any]:
    return {field.name: field for field in message.fields} | {field.json_name: field for field in message.fields}


def _text(part: Part) -> str:
    try:
        return part.content.decode()
    except UnicodeDecodeError:
        raise _refused(part.name, f"{part.name[:64]!r} is no text. Send a picture as a file") from None


def _utf8(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _refused(name: str, text: str) -> InvalidArgument:
    return InvalidArgument(text, name=name, reason=Reason.MALFORMED_MESSAGE)
