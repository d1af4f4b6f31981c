"""What is said about a collection from outside: its summary, or why it does not answer."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import DataLoss, NotFound, Reason, Unavailable
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.rows import Metric


@dataclass(frozen=True, slots=True)
class Damaged:
    """A collection that is set aside, because it is damaged. It answers no call, and its files are not touched."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows about a collection."""

    name: str
    count: int
    provenance: Provenance
    metric: Metric
    dim: int
    index_name: str
    n_damaged: int = 0  # items that were found damaged while it was open


def summarise(collection: Collection) -> Summary:
    """Return what a list shows about an open collection."""
    return Summary(
        collection.name,
        collection.count,
        collection.provenance,
        collection.metric,
        collection.dim,
        collection.index_name,
        collection.n_damaged,
    )


def unavailable(text: str, name: str, error: OSError) -> Unavailable:
    """Return the error for a collection that the disk does not give; ``text`` says what failed."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES)
    return Unavailable(text, name=name)


def missing(name: str, folder: Path) -> NotFound | Unavailable:
    """Return the error for a name that no collection has, or for a folder of collections that is gone."""
    if not folder.is_dir():
        return Unavailable(
            f"The folder of collection {name!r} was deleted. Restore it, then restart the server", name=name
        )
    return NotFound(
        f"There is no collection {name!r}. To list the collections, run: fc7 collection list",
        name=name,
        reason=Reason.COLLECTION_NOT_FOUND,
    )


def set_aside(damaged: Damaged) -> DataLoss:
    """Return the error for a call to a damaged collection."""
    name = damaged.name
    return DataLoss(
        f"Collection {name!r} is set aside: {damaged.fault}. Restore it from a backup, or delete the collection",
        name=name,
        reason=Reason.COLLECTION_DAMAGED,
    )
