"""Conversions between messages and values that several services share, and checks of arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.tensor_types import WIRE_DTYPES
from fc7.contract.timing import Timing
from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7.results import Provenance
from fc7.v1 import common_pb2


def read_tensor(tensor: common_pb2.Tensor) -> NDArray[Any]:
    """Return a tensor as an array that the caller may change.

    Raises
    ------
    FailedPrecondition
        The client does not know the number type.
    """
    if tensor.dtype not in WIRE_DTYPES:
        raise newer_server(f"numbers of type {tensor.dtype[:64]!r}")
    return np.frombuffer(tensor.data, WIRE_DTYPES[tensor.dtype]).astype(tensor.dtype).reshape(tuple(tensor.shape))


def newer_server(what: str) -> FailedPrecondition:
    """Return the error for an answer with something that this client does not know."""
    return FailedPrecondition(
        f"the server answered with {what}, which this client does not know. Upgrade fc7 on this machine",
        reason=Reason.NEWER_FORMAT,
    )


def write_tensor(values: NDArray[np.float32]) -> common_pb2.Tensor:
    """Return the message of one feature (D,) or of several (N, D)."""
    return common_pb2.Tensor(dtype="float32", shape=values.shape, data=values.astype("<f4").tobytes())


def read_provenance(message: common_pb2.Provenance) -> Provenance:
    """Return a provenance."""
    return Provenance(
        digest=message.digest,
        model=message.model,
        graph_sha256=message.graph_sha256,
        recipe_sha256=message.recipe_sha256,
        layer=message.layer,
        transform=message.transform,
        precision=message.precision,
    )


def write_provenance(provenance: Provenance) -> common_pb2.Provenance:
    """Return the message of a provenance."""
    return common_pb2.Provenance(**provenance.to_dict())


def read_timing(message: common_pb2.Timing) -> Timing:
    """Return a timing."""
    return Timing(message.decode_s, message.queue_s, message.compute_s)


def check_text(text: str, name: str) -> str:
    """Return a text if a message can hold it.

    Raises
    ------
    InvalidArgument
        It is not a string, or it holds half of a surrogate pair, as the name of a file does that is not UTF-8.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{name} must be a string (got {type(text).__name__})", name=name)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{name} {text!r} is not text: {error.reason}", name=name) from error
    return text


def check_names(names: Sequence[str], what: str) -> list[str]:
    """Return a list of names if a message can hold it.

    Raises
    ------
    InvalidArgument
        It is one string instead of a list, or a name is not text.
    """
    if isinstance(names, str):
        raise InvalidArgument(f"{what} must be a list of names (got the string {names!r})", name=what)
    return [check_text(name, what) for name in names]


def check_views(views: int) -> int:
    """Return a number of views if it is valid.

    Raises
    ------
    InvalidArgument
        It is neither 1 nor 10.
    """
    if views not in (1, 10):
        raise InvalidArgument(f"views must be 1 or 10 (got {views!r})", name="views")
    return views


def read_payload(text: str) -> dict[str, Any]:
    """Return a payload."""
    payload: dict[str, Any] = json.loads(text or "{}")
    return payload


def write_payload(payload: dict[str, Any]) -> str:
    """Return a payload's JSON text.

    Raises
    ------
    InvalidArgument
        It is not a dictionary, or it holds what JSON cannot hold (NaN, a date, bytes, half of a surrogate pair).
    """
    if not isinstance(payload, dict):
        raise InvalidArgument(f"payload must be a dictionary (got {type(payload).__name__})", name="payload")
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"payload cannot be written as JSON: {error}", name="payload") from error
    return text
