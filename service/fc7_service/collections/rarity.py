"""Keeps the scores of random pairs of a collection: measured when first needed, then refreshed in the background."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7_service.bundle.disk import replace_file
from fc7_service.collections.halves import widen
from fc7_service.collections.pair_scores import (
    MOST_PAIRS,
    PairScores,
    choose_blocks,
    make_table,
    score_pairs,
)
from fc7_service.collections.snapshot import Snapshot
from fc7_service.collections.store import Store

FILE = "pairs"
_CHANGED_SHARE = 0.1  # newer and deleted items, as a share of those compared, that call for a new measurement

_log = logging.getLogger(__name__)


class Rarity:
    """The scores of random pairs of one collection, derived from its rows and kept in a file beside them.

    Parameters
    ----------
    store
        Holds the rows.
    folder
        Where the file is. A file that cannot be read, or that is ahead of the store, is measured again.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._path = store, folder / FILE
        self._table: PairScores | None = None
        self._checked: Snapshot | None = None  # the last one that the table was found good for
        self._measuring = threading.Lock()
        self._refresher: threading.Thread | None = None

    @property
    def is_refreshing(self) -> bool:
        """Whether a measurement runs in the background."""
        return self._refresher is not None and self._refresher.is_alive()

    def wait(self) -> None:
        """Wait until no measurement runs in the background."""
        if self._refresher is not None:
            self._refresher.join()

    def table(self, snapshot: Snapshot) -> PairScores:
        """Return the table for a snapshot, which a tenth of its items may be newer than.

        Raises
        ------
        FailedPrecondition
            There are fewer than two items.
        """
        table = self._table
        if table is None or self._checked is not snapshot:
            table = self._table or self._read()
            if table is None or _n_changed(table, snapshot) > _CHANGED_SHARE * table.n_items:
                if table is None or snapshot.n_alive * (snapshot.n_alive - 1) // 2 <= MOST_PAIRS:
                    table = self._measure(snapshot)  # takes a tenth of a second
                else:
                    self._refresh(snapshot)
            self._table, self._checked = self._table or table, snapshot
        return table

    def cut_off(self, snapshot: Snapshot, share: float, name: str) -> tuple[float, PairScores]:
        """Return the lowest score whose rarity is at most ``share``, an argument called ``name``, and the table.

        Raises
        ------
        InvalidArgument
            It is not a share, or lower than so many pairs can tell.
        FailedPrecondition
            There are fewer than two items.
        """
        if not 0 < share <= 1:
            raise InvalidArgument(f"{name} must be above 0 and at most 1 (got {share:g})", name=name)
        table = self.table(snapshot)
        if share * table.n_pairs * (1 + 1e-12) < 1:
            raise InvalidArgument(
                f"{name} must be at least {table.resolution:.2g} (got {share:g}), because collection "
                f"{self._store.name!r} was measured with {table.n_pairs} random pairs",
                name=name,
            )
        return table.cut_off(share), table

    def _refresh(self, snapshot: Snapshot) -> None:
        if not self.is_refreshing:
            self._refresher = threading.Thread(
                target=self._refresh_in_background, args=(snapshot,), name=f"pairs {self._store.name}", daemon=True
            )
            self._refresher.start()

    def _refresh_in_background(self, snapshot: Snapshot) -> None:
        try:
            self._measure(snapshot)
        except NotFound:
            return  # the collection was closed
        except Exception:
            _log.exception("collection %r: random pairs could not be compared; the old table stays", self._store.name)

    def _measure(self, snapshot: Snapshot) -> PairScores:
        with self._measuring:
            known = self._table
            if known is not None and _n_changed(known, snapshot) == 0:
                return known  # another thread was faster
            commit, rids = self._store.commit(), snapshot.alive_rids()
            if len(rids) < 2:
                raise FailedPrecondition(
                    f"rarity compares pairs of items, but collection {self._store.name!r} has {len(rids)}. "
                    "Add more items",
                    name=self._store.name,
                )
            is_complete = len(rids) * (len(rids) - 1) // 2 <= MOST_PAIRS
            blocks = self._read_rows(rids, commit)
            scores = score_pairs(blocks, self._store.definition.metric, is_complete=is_complete)
            self._table = table = make_table(scores, commit, len(rids), int(rids.max()))
        with contextlib.suppress(OSError):  # a full disk: it is measured again after the next start
            replace_file(self._path, table.to_json(), is_durable=False)
        return table

    def _read_rows(self, rids: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.float32]]:
        for block in choose_blocks(rids, seed):
            rows = self._store.by_rid(block.tolist(), with_vectors=True)
            yield np.stack([widen(rows[rid].vector) for rid in block.tolist() if rid in rows])

    def _read(self) -> PairScores | None:
        try:
            table = PairScores.from_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            _log.warning("collection %r: random pairs are compared again: %s", self._store.name, error)
            return None
        return table if table.commit <= self._store.commit() else None


def _n_changed(table: PairScores, snapshot: Snapshot) -> int:
    """Return how many items were added or deleted since a table was measured."""
    n_kept = int(np.count_nonzero(snapshot.alive_rids() <= table.last_rid))
    return (snapshot.n_alive - n_kept) + (table.n_items - n_kept)
