"""Turns a gRPC status, or the error of one item, into an error of fc7."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from fc7.contract.request_id import REQUEST_ID
from fc7.errors import (
    FAMILY,
    DeadlineExceeded,
    FailedPrecondition,
    Fc7Error,
    InvalidArgument,
    Reason,
    ResourceExhausted,
    Unavailable,
)
from fc7.v1 import common_pb2

_BY_NAME = {kind.__name__: kind for kind in FAMILY}
_BY_REASON = {reason.name: _BY_NAME[reason.value.error_class] for reason in Reason}
_BY_CODE = {kind.code: kind for kind in reversed(FAMILY)}  # base classes come last here and win
_NEAREST = {
    "OUT_OF_RANGE": InvalidArgument,
    "UNIMPLEMENTED": FailedPrecondition,
    "CANCELLED": Unavailable,  # not by the caller: the channel or the server ended the call
}
_DETAILS_KEY = "grpc-status-details-bin"


def read_item_error(error: common_pb2.ItemError) -> Fc7Error:
    """Return the error of one item of a batch."""
    kind = _BY_REASON.get(error.reason) or _kind_of(error.code)
    return _with_reason(kind(error.message, name=error.name), error.reason)


def read_rpc_error(error: Any, address: str) -> Fc7Error:
    """Return the error of a failed call.

    Parameters
    ----------
    error
        A `grpc.RpcError` that is a `grpc.Call` too, or a `grpc.aio.AioRpcError`.
    address
        Address of the server, for the text.
    """
    found = _read_status(error, address)
    found.request_id = next((value for key, value in error.trailing_metadata() or () if key == REQUEST_ID), "")
    return found


def _read_status(error: Any, address: str) -> Fc7Error:
    code, text = error.code().name, error.details() or ""
    info, retry = _read_details(error.trailing_metadata())
    if info is None:
        kind = _kind_of(code)
        return kind(_readable(kind, code, text, address))
    kind = _BY_REASON.get(info.reason) or _kind_of(code)
    name = info.metadata.get("name", "")
    if issubclass(kind, ResourceExhausted):
        after_s = None if retry is None else retry.retry_delay.ToNanoseconds() / 1e9
        return _with_reason(kind(text, name=name, retry_after_s=after_s), info.reason)
    return _with_reason(kind(text, name=name), info.reason)


def _with_reason(error: Fc7Error, reason: str) -> Fc7Error:
    """Return the error with the reason that was sent; a newer server may send one that is unknown here."""
    error.reason = reason or error.reason
    return error


def _kind_of(code: str) -> type[Fc7Error]:
    return _BY_CODE.get(code) or _NEAREST.get(code) or Fc7Error


def _read_details(metadata: Any) -> tuple[error_details_pb2.ErrorInfo | None, error_details_pb2.RetryInfo | None]:
    """Return the ErrorInfo of fc7 and the RetryInfo of a status, or None."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    has_info = has_retry = False
    packed = next((value for key, value in metadata or () if key == _DETAILS_KEY), b"")
    try:
        for detail in status_pb2.Status.FromString(packed).details:
            has_info |= detail.Unpack(info)
            has_retry |= detail.Unpack(retry)
    except DecodeError:  # from something between us and the server; the code and the text remain
        return None, None
    return (info if has_info and info.domain == "fc7" else None), (retry if has_retry else None)


def _readable(kind: type[Fc7Error], code: str, text: str, address: str) -> str:
    """Return a text for people if gRPC itself, and not the server, ended the call."""
    if kind is DeadlineExceeded:
        return f"the server at {address} did not answer in time. Try again, or allow more time (timeout_s)"
    if code == "UNIMPLEMENTED":
        return f"the server at {address} does not know this call. It is older than this client, or it is not fc7"
    if kind is not Unavailable:
        return text or f"the server at {address} answered {code}"
    if "DNS" in text or "ame resolution" in text or "lookup" in text:
        return f"there is no server at {address}: the host name is unknown"
    if "Hostname Verification" in text:
        return (
            f"the certificate of the server at {address} is for another host name. Connect by a name in the "
            "certificate, or have one made for this name"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the authority in --tls-ca (tls_ca) did not sign the certificate of the server at {address}. Name the "
            "PEM file of the authority that did"
        )
    if "handshake" in text.lower():
        return f"TLS with the server at {address} failed. If the server does not use TLS, leave out --tls-ca (tls_ca)"
    if "onnect" in text and ("refused" in text or "No such file" in text or "Failed to connect" in text):
        return f"there is no server at {address}. Name another address, or start a server with: fc7 serve"
    if "failed to connect" in text and ("Socket closed" in text or "reset" in text):
        return (
            f"the server at {address} closed the connection at once. If it uses TLS, name the PEM file of its "
            "authority: --tls-ca FILE (tls_ca)"
        )
    return f"the server at {address} ended the call without an answer. Try again ({text})"
