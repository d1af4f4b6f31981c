"""Messages that several services share: read into values, and written from them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.image_digest import image_digest
from fc7.contract.tensor_types import WIRE_DTYPES
from fc7.contract.timing import Timing
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import MAX_MESSAGE_BYTES, collection_pb2, common_pb2
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.extractor import VIEWS

_MOST_AXES, _LARGEST_AXIS = 8, 2**31


def read_tensor(tensor: common_pb2.Tensor, name: str) -> NDArray[Any]:
    """Return the array of a tensor message.

    Raises
    ------
    InvalidArgument
        The dtype is unknown, the shape is not one, or the number of bytes does not fit the shape.
    """
    if tensor.dtype not in WIRE_DTYPES:
        raise InvalidArgument(
            f"{name}.dtype must be one of {', '.join(WIRE_DTYPES)} (got {tensor.dtype[:64]!r})", name=name
        )
    dtype = np.dtype(WIRE_DTYPES[tensor.dtype])
    if len(tensor.shape) > _MOST_AXES or not all(0 <= n <= _LARGEST_AXIS for n in tensor.shape):
        raise InvalidArgument(f"{name}.shape is not a valid shape: {list(tensor.shape)[: _MOST_AXES + 1]}", name=name)
    needed, data = math.prod(tensor.shape) * dtype.itemsize, tensor.data  # Python integers do not overflow
    if not data:
        raise InvalidArgument(f"{name}.data has 0 bytes. Send at least one number", name=name)
    if needed != len(data):
        raise InvalidArgument(f"{name}.data has {len(data)} bytes, but its shape needs {needed}", name=name)
    return np.frombuffer(data, dtype).reshape(tuple(tensor.shape))


def write_tensor(array: NDArray[Any]) -> common_pb2.Tensor:
    """Return the tensor message of a float32, float16 or uint8 array."""
    name = _dtype_name(array.dtype)
    little_endian = np.ascontiguousarray(array, WIRE_DTYPES[name])
    return common_pb2.Tensor(dtype=name, shape=array.shape, data=little_endian.tobytes())


@lru_cache  # NumPy puts the name together anew each time
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.name)


def read_image(image: common_pb2.Image) -> bytes | NDArray[Any] | Fc7Error:
    """Return what the extractor takes, or why this image cannot be read."""
    try:
        if image.WhichOneof("source") == "pixels":
            return read_tensor(image.pixels, "pixels")
    except Fc7Error as error:
        return error
    return image.encoded


def read_vector(vector: collection_pb2.Vector, provenance: Provenance) -> NDArray[np.float32]:
    """Return a caller's feature (D,) if it has this ``provenance``.

    Raises
    ------
    InvalidArgument
        It is not float32 with one axis, or comes without its provenance.
    FailedPrecondition
        It has another provenance. The error names both.
    """
    if not vector.provenance_digest:
        raise InvalidArgument(
            "a vector needs provenance_digest, the digest of its provenance", name="provenance_digest"
        )
    if vector.provenance_digest != provenance.digest:
        raise FailedPrecondition(
            f"the vector has provenance {vector.provenance_digest[:12]!r}, but the collection has "
            f"{provenance.digest[:12]!r} ({provenance.model} {provenance.layer}). Extract it with that model and layer",
            name="provenance_digest",
            reason=Reason.PROVENANCE_MISMATCH,
        )
    values = read_tensor(vector.values, "vector")
    if values.dtype != np.float32 or values.ndim != 1:
        raise InvalidArgument(
            f"a vector must be float32 of shape (D,) (got {values.dtype} of shape {values.shape})",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )
    return values


def read_views(n_views: int) -> int:
    """Return the number of views per image that a request asks for; 0 means 1.

    Raises
    ------
    InvalidArgument
        It is neither 1 nor 10.
    """
    if n_views not in (0, *VIEWS):
        raise InvalidArgument(f"views must be 1 or 10 (got {n_views})", name="views")
    return n_views or 1


def check_answer(n_bytes: int, name: str) -> None:
    """Refuse work whose answer would not fit one message.

    Parameters
    ----------
    n_bytes
        Size of the answer.
    name
        What to ask for less of.

    Raises
    ------
    ResourceExhausted
        The error names both sizes.
    """
    if n_bytes > MAX_MESSAGE_BYTES:
        raise ResourceExhausted(
            f"the answer would have {n_bytes} bytes, but the limit is {MAX_MESSAGE_BYTES}. Ask for fewer {name}",
            name=name,
            reason=Reason.ANSWER_TOO_LARGE,
        )


def content_sha256(image: common_pb2.Image) -> str:
    """Return the SHA-256 (hex) of an image's content: of the file's bytes, or of the pixels and their shape."""
    if image.WhichOneof("source") == "pixels":
        return image_digest(image.pixels.data, image.pixels.shape).hex()
    return image_digest(image.encoded).hex()


def write_error(error: Fc7Error) -> common_pb2.ItemError:
    """Return the message of one item's error."""
    return common_pb2.ItemError(
        code=error.code, reason=error.reason, message=error.message[:1024], name=error.name[:256]
    )


@lru_cache  # every answer has one of few; whoever puts it into an answer copies it
def write_provenance(provenance: Provenance) -> common_pb2.Provenance:
    """Return the message of a provenance. It is shared: never change it."""
    return common_pb2.Provenance(**provenance.to_dict())


def write_timing(timing: Timing) -> common_pb2.Timing:
    """Return the message of a timing."""
    return common_pb2.Timing(decode_s=timing.decode_s, queue_s=timing.queue_s, compute_s=timing.compute_s)
