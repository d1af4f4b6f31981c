"""How the messages of a call are written: the seam between the interceptor and what goes over a connection."""

from __future__ import annotations

from typing import Any, Protocol

from fc7_service.rpc.message_limits import check_fields, malformed


class Codec(Protocol):
    """Reads requests and writes answers."""

    def read(self, kind: Any, data: bytes) -> Any:
        """Return the message of class ``kind`` that ``data`` holds.

        Raises
        ------
        InvalidArgument
            The data hold none, or one of too many fields.
        """

    def write(self, answer: Any) -> bytes:
        """Return the bytes of an answer."""


class WireCodec:
    """The binary form of protobuf."""

    def read(self, kind: Any, data: bytes) -> Any:
        """Return a message, after its fields were counted."""
        check_fields(data, kind.DESCRIPTOR)
        try:
            return kind.FromString(data)
        except Exception:  # protobuf raises errors of several types
            raise malformed() from None

    def write(self, answer: Any) -> bytes:
        """Return the bytes of an answer."""
        return bytes(answer.SerializeToString())


WIRE = WireCodec()
