"""Messages to values and back, as far as several services share them."""

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
    """Return the array of a tensor, the caller's own to write in.

    Raises
    ------
    FailedPrecondition
        Of a type that this client does not know.
    """
    if tensor.dtype not in WIRE_DTYPES:
        raise newer_server(f"numbers of type {tensor.dtype[:64]!r}")
    return np.frombuffer(tensor.data, WIRE_DTYPES[tensor.dtype]).astype(tensor.dtype).reshape(tuple(tensor.shape))


def newer_server(what: str) -> FailedPrecondition:
    """Return the error of an answer that holds what this client cannot read."""
    return FailedPrecondition(
        f"the server answered with {what}, which this client does not know. Upgrade fc7 here",
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
    """Return a text that a message can hold.

    Raises
    ------
    InvalidArgument
        Not a string, or with half a surrogate pair, as a file name of other bytes than UTF-8 has it.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{name} is {type(text).__name__}: a string is expected", name=name)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{name} {text!r} is not text: {error.reason}", name=name) from error
    return text


def check_names(names: Sequence[str], what: str) -> list[str]:
    """Return names that a message can hold.

    Raises
    ------
    InvalidArgument
        One string in place of a list, or a name that is no text.
    """
    if isinstance(names, str):
        raise InvalidArgument(f"{what} is {names!r}: a list of names is expected", name=what)
    return [check_text(name, what) for name in names]


def check_views(views: int) -> int:
    """Return a number of views.

    Raises
    ------
    InvalidArgument
        Neither 1 nor 10.
    """
    if views not in (1, 10):
        raise InvalidArgument(f"views is {views!r}: 1 or 10 is expected", name="views")
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
        Not a dictionary, or it holds what JSON cannot (NaN, dates, bytes, half a surrogate pair, ...).
    """
    if not isinstance(payload, dict):
        raise InvalidArgument(f"payload is {type(payload).__name__}: a dictionary is expected", name="payload")
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"payload is not JSON: {error}", name="payload") from error
    return text
