"""The digest by which client and server recognise the content of an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def image_digest(data: bytes, pixel_shape: Sequence[int] | None = None) -> bytes:
    """Return the SHA-256 of an image's content.

    Parameters
    ----------
    data
        Bytes of an image file, or pixels uint8 in C order.
    pixel_shape
        Shape (H, W, 3) of pixels; None for a file.

    Returns
    -------
    bytes
        32 bytes.
    """
    digest = hashlib.sha256()
    if pixel_shape is not None:
        digest.update(b"pixels" + ",".join(map(str, pixel_shape)).encode())
    digest.update(data)
    return digest.digest()
