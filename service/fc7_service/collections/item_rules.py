"""What an item's id and vector must be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.collections.schema import Definition

_LONGEST_ID_BYTES = 1024
_LARGEST_NORM = 1e18  # squares of differences stay within float32


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
    if any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in id):
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
