"""A named set of items of one provenance, and their neighbours."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, Fc7Error, InvalidArgument, NotFound, Reason, ResourceExhausted
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.index_choice import choose_index
from fc7_service.collections.payload import merge, read_label
from fc7_service.collections.searcher import Changes, Searcher, intact
from fc7_service.collections.store import Broken, Item, Metric, Row, Store, StoredItem

_LONGEST_ID_BYTES = 1024
_LARGEST_NORM = 1e18  # squares of differences stay within float32


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour."""

    id: str
    score: float  # larger is nearer: cosine, minus the Euclidean distance, or the inner product
    payload: dict[str, Any]


@dataclass(slots=True)
class _Job:
    """One call of ``upsert`` that waits for the transaction it will share."""

    items: Sequence[Item]
    is_merged: bool
    statuses: list[str | Fc7Error] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


def check_id(id: str) -> None:
    """Refuse what is no item id.

    Raises
    ------
    InvalidArgument
        Not 1 to 1024 bytes of UTF-8, or with a control character.
    """
    n_bytes = len(id.encode(errors="surrogatepass"))
    if not 1 <= n_bytes <= _LONGEST_ID_BYTES:
        raise InvalidArgument(
            f"id {id[:32]!r} has {n_bytes} bytes: 1 to {_LONGEST_ID_BYTES}", name="id", reason=Reason.INVALID_ID
        )
    if any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in id):
        raise InvalidArgument(
            f"id {id[:64]!r} has a control character: only text is allowed", name="id", reason=Reason.INVALID_ID
        )


class Collection:
    """One collection, from any number of threads.

    Parameters
    ----------
    folder
        Where ``make_store`` made it. Only one ``Collection`` may hold it.

    Raises
    ------
    DataLoss
        Damaged, foreign, or of a newer format.
    Unavailable
        It cannot be opened now.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._store = Store(folder)
        self._count = self._store.count()
        self._is_checked = False
        self._queue: list[_Job] = []
        self._queueing = threading.Lock()
        self._writing = threading.Lock()  # one transaction and its publication at a time
        self._searcher = Searcher(self._store, self._writing)

    @property
    def count(self) -> int:
        """Number of items."""
        return self._count

    @property
    def provenance(self) -> Provenance:
        """What made its features."""
        return self._store.facts.provenance

    @property
    def metric(self) -> Metric:
        """How features are compared."""
        return self._store.facts.metric

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._store.facts.dim

    @property
    def index_name(self) -> str:
        """Rung of the ladder in use, or that the first search will use."""
        return self._searcher.name or choose_index(self._count, self.dim)

    def check(self) -> None:
        """Check the structure of the database once; ``DataLoss`` where it does not hold."""
        if not self._is_checked:
            self._store.check()
            self._is_checked = True

    def check_vector(self, vector: NDArray[np.float32]) -> None:
        """Refuse what cannot be a feature here.

        Raises
        ------
        InvalidArgument
            Not (D,), not finite, too long to be squared, or of length 0 where the metric is cosine.
        """
        if vector.shape != (self.dim,):
            raise InvalidArgument(
                f"vector has shape {vector.shape}: collection {self.name!r} takes ({self.dim},)",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )
        if not np.isfinite(vector).all():
            raise InvalidArgument(
                "vector has NaN or infinite numbers: all must be finite", name="vector", reason=Reason.INVALID_VECTOR
            )
        if np.linalg.norm(vector.astype(np.float64)) > _LARGEST_NORM:
            raise InvalidArgument(
                f"vector is longer than {_LARGEST_NORM:g}: it cannot be compared",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )
        if self.metric == "cosine" and not vector.any():
            raise InvalidArgument(
                "vector is all zeros: it has no direction, which the metric cosine compares",
                name="vector",
                reason=Reason.INVALID_VECTOR,
            )

    def get(self, ids: Sequence[str], with_features: bool = False) -> list[StoredItem | Fc7Error]:
        """Return each item, or ``NotFound`` or ``DataLoss`` in its place."""
        rows = self._store.by_id(ids)
        return [self._item(wanted, rows.get(wanted), with_features) for wanted in ids]

    def page(self, after: int, size: int, with_features: bool = False) -> tuple[list[StoredItem], int | None]:
        """Return intact items in the order of first insertion, and where the next page starts (None: nowhere)."""
        rows, rest = self._store.page(after, size)
        return [row.item(with_vector=with_features) for row in intact(rows, self.name)], rest

    def labelled(self, field: str, max_rows: int) -> tuple[NDArray[np.float32], list[str], list[str]]:
        """Return features (N, D), labels and content hashes of the items that have a label in ``field``.

        A label is text, or a whole number, which counts as its text. Items without the field, or with null in it, have
        none.

        Raises
        ------
        InvalidArgument
            No item has a label, or one is of another type.
        ResourceExhausted
            More than ``max_rows`` have.
        """
        vectors: list[NDArray[Any]] = []
        labels, contents = [], []
        with self._store.snapshot() as (_, rows):
            for row in intact(rows, self.name):
                label = read_label(row.id, json.loads(row.payload), field)
                if label is not None:
                    if len(vectors) == max_rows:
                        raise ResourceExhausted(
                            f"collection {self.name!r} has more than {max_rows} items with a label in {field!r}: "
                            "more do not fit into memory at once, so train on a part of them",
                            name=field,
                            reason=Reason.WORK_TOO_LARGE,
                        )
                    vectors.append(row.vector)
                    labels.append(label)
                    contents.append(row.content)
        if not vectors:
            raise InvalidArgument(
                f"no item of collection {self.name!r} has a label in {field!r} of its payload: add it to those to "
                "train on, or name the field that holds the labels (--label, or label=)",
                name=field,
                reason=Reason.NO_LABELS,
            )
        features = np.empty((len(vectors), self.dim), np.float32)
        for i, vector in enumerate(vectors):
            features[i] = vector
        return features, labels, contents

    def search(self, vectors: NDArray[np.float32], k: int, own: Sequence[str | None] | None = None) -> list[list[Hit]]:
        """Return the k nearest items of each query, best first.

        Parameters
        ----------
        vectors
            (Q, D) float32, raw.
        k
            At least 1; above the count, all items are returned.
        own
            An id a query, which its answer leaves out.

        Raises
        ------
        InvalidArgument
            ``k`` below 1, or a vector that cannot be compared.
        DataLoss
            The database turned out to be damaged.
        """
        if k < 1:
            raise InvalidArgument(f"k must be at least 1 (got {k})", name="k")
        for vector in vectors:
            self.check_vector(vector)
        own = own or [None] * len(vectors)
        found, rows = self._searcher.nearest(vectors, k + any(left_out is not None for left_out in own))
        return [
            [
                Hit(rows[rid].id, score, json.loads(rows[rid].payload))
                for rid, score in pairs
                if rows[rid].id != left_out
            ][:k]
            for pairs, left_out in zip(found, own, strict=True)
        ]

    def upsert(self, items: Sequence[Item], *, is_merged: bool = False) -> list[str | Fc7Error]:
        """Store items; return "added", "replaced" or "skipped" for each once they are on disk.

        Calls that wait for the disk share one transaction.

        Parameters
        ----------
        items
            To be stored.
        is_merged
            Merge payloads with the stored ones, and keep an item from another file; what `merge` refuses is returned
            in the item's place.

        Raises
        ------
        InvalidArgument
            An id or a vector breaks its rule; nothing is stored.
        ResourceExhausted
            The disk is full; nothing is stored.
        Unavailable
            The disk fails; after a restart all is stored, or nothing.
        """
        for item in items:
            check_id(item.id)
            self.check_vector(item.vector)
        job = _Job(items, is_merged)
        with self._queueing:
            self._queue.append(job)
        with self._writing:
            if not job.is_done:  # the first to come here writes for all who wait
                with self._queueing:
                    jobs, self._queue = self._queue, []
                self._write(jobs)
        if job.error:
            raise job.error
        return job.statuses

    def delete(self, ids: Sequence[str]) -> list[bool]:
        """Delete items; return for each whether it was there."""
        were_there, changes = [], Changes()
        with self._writing:
            with self._store.transaction():
                for wanted in ids:
                    row = self._store.find(wanted)
                    were_there.append(row is not None)
                    if row is not None:
                        self._store.drop(row.rid)
                        changes.kill(row.rid)
            self._publish(changes)
            self._store.acknowledge()
        return were_there

    def close(self) -> None:
        """Let the write and the rebuild under way end; then close."""
        self._searcher.join()
        with self._writing:
            self._store.close()

    def _write(self, jobs: list[_Job]) -> None:
        changes = Changes()
        try:
            with self._store.transaction():
                for job in jobs:
                    job.statuses = [self._put(item, changes, job.is_merged) for item in job.items]
            self._publish(changes)
            self._store.acknowledge()
        except BaseException as error:
            for job in jobs:
                job.error = error
        finally:
            for job in jobs:
                job.is_done = True

    def _put(self, item: Item, changes: Changes, is_merged: bool) -> str | Fc7Error:
        old = self._store.find(item.id)
        if isinstance(old, Row):
            stored, is_same = json.loads(old.payload), old.content == item.content_sha256
            if is_merged:
                try:
                    payload = merge(item.id, stored, item.payload, has_same_content=is_same)
                except Fc7Error as error:
                    return error
                item = replace(item, payload=payload)
            if is_same and _is_equal(stored, item.payload):
                return "skipped"
        if old is not None:
            self._store.drop(old.rid)
            changes.kill(old.rid)
        row = self._store.put(item, old.place if isinstance(old, Row) else None)
        changes.added[row.rid] = row
        return "added" if old is None else "replaced"

    def _publish(self, changes: Changes) -> None:
        self._count += len(changes.added) - len(changes.killed)
        self._searcher.publish(changes)

    def _item(self, id: str, row: Row | Broken | None, with_features: bool) -> StoredItem | Fc7Error:
        if row is None:
            return NotFound(f"collection {self.name!r} has no item {id!r}", name=id, reason=Reason.ITEM_NOT_FOUND)
        if isinstance(row, Broken):
            return DataLoss(
                f"item {id!r} of collection {self.name!r} does not match its checksum: add it again",
                name=id,
                reason=Reason.ITEM_DAMAGED,
            )
        return row.item(with_vector=with_features)


def _is_equal(stored: dict[str, Any], payload: dict[str, Any]) -> bool:
    """Compare as JSON, where 1 and true differ, and the order of keys does not matter."""
    return json.dumps(stored, sort_keys=True) == json.dumps(payload, sort_keys=True)
