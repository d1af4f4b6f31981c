"""Items of a collection, and what became of those that were changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error

UpsertStatus = Literal["added", "replaced", "skipped", "failed"]
UpdateStatus = Literal["updated", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome for one image or feature that was added.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"added", "replaced", "skipped", "failed"}
        "skipped" if the same bytes were stored under this id before.
    error : Fc7Error or None
        Why it failed. Nothing was written then.
    """

    id: str
    status: UpsertStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The outcome for one id that was removed.

    Attributes
    ----------
    id : str
        Id of the item.
    error : Fc7Error or None
        Why it could not be removed, for example `NotFound`.
    """

    id: str
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome for one item whose payload was changed.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"updated", "skipped", "failed"}
        "skipped" if the payload was already so.
    error : Fc7Error or None
        Why it failed, for example `NotFound`. Nothing was written then.
    """

    id: str
    status: UpdateStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Item:
    """A stored item.

    Attributes
    ----------
    id : str
        Id of the item.
    payload : dict
        JSON object that the caller attached.
    content_sha256 : str
        SHA-256 (hex) of the image's or the feature's bytes.
    feature : NDArray[np.float32] or None
        (D,), as extracted. None if it was not asked for.
    thumbnail : bytes or None
        WebP. None if it was not asked for, or if the collection keeps none of this item.
    """

    id: str
    payload: dict[str, Any]
    content_sha256: str
    feature: NDArray[np.float32] | None = None
    thumbnail: bytes | None = None

    def __repr__(self) -> str:
        return f"Item({self.id!r}, {self.payload})"
