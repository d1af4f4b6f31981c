"""From an error of the family to `google.rpc.Status`."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from fc7.errors import Fc7Error, InvalidArgument, ResourceExhausted

DETAIL_BYTES = 1024  # above 16 KiB of details gRPC replaces the status by another
_NUMBERS: dict[str, int] = {code.name: code.value[0] for code in grpc.StatusCode}
_NAMES = {number: name for name, number in _NUMBERS.items()} | {code: code.name for code in grpc.StatusCode}


def to_status(error: Fc7Error) -> status_pb2.Status:
    """Return ``google.rpc.Status`` with ErrorInfo(reason, domain "fc7") and, for a full queue, RetryInfo."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain="fc7", metadata={"name": cut(error.name, 256)})
    details: list[Any] = [info]
    if isinstance(error, ResourceExhausted) and error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidArgument) and error.name:
        violation = error_details_pb2.BadRequest.FieldViolation(field=cut(error.name, 256))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=_NUMBERS[error.code], message=cut(error.message, DETAIL_BYTES))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def name_of(code: Any) -> str:
    """Return the name of a status code, as gRPC has it or as its number."""
    return _NAMES.get(code, "UNKNOWN")


def cut(text: str, n_bytes: int) -> str:
    """Return the front of ``text`` that fits ``n_bytes`` of UTF-8."""
    return text.encode("utf-8", "replace")[:n_bytes].decode("utf-8", "ignore")
