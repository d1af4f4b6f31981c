"""Errors as Connect writes them: a JSON object with code, message and details, and the HTTP status of the code.

https://connectrpc.com/docs/protocol/#error-codes
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

from google.protobuf import duration_pb2, json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fc7.contract.request_id import REQUEST_ID
from fc7.errors import Fc7Error, InvalidArgument, NotFound
from fc7_service.http.door import Refusal
from fc7_service.rpc.status import to_status

HTTP_STATUS = {
    "cancelled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
_SPELT = {"cancelled": "canceled"}  # as Connect spells it
_KINDS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)
}


def code_of(status: status_pb2.Status) -> str:
    """Return the name of a status code in lower case."""
    return str(code_pb2.Code.Name(status.code)).lower()


def to_object(status: status_pb2.Status) -> dict[str, Any]:
    """Return the JSON object of an error."""
    code = code_of(status)
    details = []
    for packed in status.details:
        name = packed.type_url.rpartition("/")[2]
        value = base64.b64encode(packed.value).rstrip(b"=").decode()
        readable = json_format.MessageToDict(_KINDS[name].FromString(packed.value))
        details.append({"type": name, "value": value, "debug": readable})
    return {"code": _SPELT.get(code, code), "message": status.message, "details": details}


def to_response(
    status: status_pb2.Status,
    *,
    request_id: str = "",
    http_status: int = 0,
    write: Callable[[status_pb2.Status], dict[str, Any]] = to_object,
) -> Response:
    """Return the HTTP answer of an error, with ``http_status`` in place of the one of its code if it is not 0."""
    headers = {REQUEST_ID: request_id} if request_id else {}
    if (wait_s := _retry_after_s(status)) is not None:
        headers["Retry-After"] = str(math.ceil(wait_s))
    if code_of(status) == "unauthenticated":
        headers["WWW-Authenticate"] = "Bearer"
    text = json.dumps(write(status), ensure_ascii=False)
    return Response(text, http_status or HTTP_STATUS[code_of(status)], headers, "application/json")


def answer_refusal(request: Any, error: Exception) -> Response:
    """Answer a request that ended with a `Refusal`, an error of the family, or an error of the web framework."""
    if isinstance(error, Refusal):
        return to_response(error.status, request_id=error.request_id)
    if isinstance(error, HTTPException):
        path, method = request.url.path[:256], request.method
        found: Fc7Error = NotFound(f"there is nothing at {path!r}", name="path")
        if error.status_code == 405:
            found = InvalidArgument(f"{path!r} takes no {method}", name="method")
        return to_response(to_status(found), http_status=error.status_code)
    assert isinstance(error, Fc7Error)
    return to_response(to_status(error))


def _retry_after_s(status: status_pb2.Status) -> float | None:
    info, delay = error_details_pb2.RetryInfo(), duration_pb2.Duration()
    for packed in status.details:
        if packed.Unpack(info):
            delay = info.retry_delay
            return float(delay.seconds + delay.nanos / 1e9)
    return None
