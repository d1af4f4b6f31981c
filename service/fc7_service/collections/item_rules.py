"""What an item's id and vector must be."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.collections.schema import Definition

_LONGEST_ID_BYTES = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of surrogate pairs
_LARGEST_NORM = 1e18  # squares of differences stay within float32
_VECTORS_AT_ONCE = 128  # they stay in the cache of the processor


def check_id(id: str) -> None:
    """Refuse text that cannot be an item id.

    Raises
    ------
    InvalidArgument
        It does not have 1 to 1024 bytes of UTF-8, or contains a control character.
    """
    n_bytes = len(id.encode(errors="surrogatepass"))
    if not 1 <= n_bytes <= _LONGEST_ID_BYTES:
        raise InvalidArgument(
            f"An id must have 1 to {_LONGEST_ID_BYTES} bytes ({id[:32]!r} has {n_bytes})",
            name="id",
            reason=Reason.INVALID_ID,
        )
    if _CONTROL.search(id):
        raise InvalidArgument(
            f"An id must be text without control characters (got {id[:64]!r})", name="id", reason=Reason.INVALID_ID
        )


def check_vector(vector: NDArray[np.float32], definition: Definition, collection: str) -> None:
    """Refuse a vector that this collection cannot compare.

    Raises
    ------
    InvalidArgument
        It is not (D,), not finite, too long to be squared, or of length 0 with the metric cosine.
    """
    if vector.shape != (definition.dim,):
        raise InvalidArgument(
            f"The vector has shape {vector.shape}, but collection {collection!r} takes ({definition.dim},)",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )
    if not np.isfinite(vector).all():
        raise InvalidArgument(
            f"The vector contains NaN or infinity at position {int(np.argmin(np.isfinite(vector)))}. "
            "All values must be finite",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )
    if np.linalg.norm(vector.astype(np.float64)) > _LARGEST_NORM:
        raise InvalidArgument(
            f"The length of a vector must be at most {_LARGEST_NORM:g}, so that it can be compared",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )
    if definition.metric == "cosine" and not vector.any():
        raise InvalidArgument(
            "The vector is all zeros. It has no direction, which is what the metric cosine compares",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )


def vector_errors(
    vectors: Sequence[NDArray[np.float32]], definition: Definition, collection: str
) -> dict[int, InvalidArgument]:
    """Return, by position, the errors of those vectors that `check_vector` refuses."""
    doubtful: list[int] = []
    for start in range(0, len(vectors), _VECTORS_AT_ONCE):
        part = vectors[start : start + _VECTORS_AT_ONCE]
        squares = np.zeros(len(part))
        if all(vector.shape == (definition.dim,) for vector in part):
            rows = np.stack(part)
            with np.errstate(over="ignore", invalid="ignore"):
                squares = np.einsum("nd,nd->n", rows, rows)
        doubtful += (start + np.flatnonzero(~((squares > 0) & (squares < _LARGEST_NORM**2 / 2)))).tolist()
    errors: dict[int, InvalidArgument] = {}
    for i in doubtful:
        try:
            check_vector(vectors[i], definition, collection)
        except InvalidArgument as error:
            errors[i] = error
    return errors
