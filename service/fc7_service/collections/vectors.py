"""The raw vectors of an index: rows of fp16, in memory or mapped from a file, and what fp16 cannot hold in a table."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.halves import widen
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import prepare_vectors

Rows = NDArray[np.int64] | slice  # positions


class DamagedFileError(Exception):
    """A file that only repeats what the database holds is not what was written."""


@dataclass(frozen=True, slots=True)
class Wide:
    """The rows that fp16 cannot hold."""

    positions: NDArray[np.int64]  # (M,), sorted
    vectors: NDArray[np.float32]  # (M, D)

    @classmethod
    def none(cls, dim: int) -> Wide:
        """Return an empty table for vectors of ``dim`` numbers."""
        return cls(np.empty(0, np.int64), np.empty((0, dim), np.float32))


class Vectors:
    """Vectors (N, D), which nobody may change.

    Parameters
    ----------
    rows
        (N, D), float16 or float32. Where ``wide`` has a row, what stands here does not count.
    wide
        The rows that fp16 cannot hold. Defaults to none.
    rids, checksums
        If ``rows`` is mapped from a file: per row the rid (N,) and the CRC-32 (N,) that ``vector_checksum`` gives. Each
        row is checked when it is first used.
    """

    def __init__(
        self,
        rows: NDArray[Any],
        wide: Wide | None = None,
        *,
        rids: NDArray[np.int64] | None = None,
        checksums: NDArray[np.uint32] | None = None,
    ) -> None:
        self._rows, self.shape = rows, rows.shape
        self.wide = wide or Wide.none(rows.shape[1])
        self._rids, self._checksums = rids, checksums
        self._is_checked = None if checksums is None else np.zeros(len(rows), bool)
        if self._is_checked is not None:
            self._is_checked[self.wide.positions] = True  # they were checked with the file's stamp

    def __len__(self) -> int:
        return len(self._rows)

    def raw(self, rows: Rows) -> NDArray[np.float32]:
        """Return rows as they were stored.

        Raises
        ------
        DamagedFileError
            A row of a mapped file does not match its checksum.
        """
        found = widen(self._halves(rows))
        among, at = self._find_wide(rows)
        if len(among):
            found[among] = self.wide.vectors[at]
        return found

    def prepared(self, rows: Rows, metric: Metric) -> NDArray[np.float32]:
        """Return rows ready to compare, as ``prepare_vectors`` does. Raises the same error as ``raw``."""
        return prepare_vectors(self.raw(rows), metric)

    def decoded(self, rows: Rows, metric: Metric) -> NDArray[np.float32]:
        """Return rows as float32: fp16 as it is, which loses nothing, and others, of any size, prepared."""
        found = self.raw(rows)
        if self._rows.dtype != np.float16:
            return prepare_vectors(found, metric)
        among, at = self._find_wide(rows)
        if len(among):
            found[among] = prepare_vectors(self.wide.vectors[at], metric)
        return found

    def halves(self, rows: Rows) -> tuple[NDArray[np.float16], Wide]:
        """Return rows as they can be written to a file: in fp16, and those that it cannot hold, by position here."""
        among, at = self._find_wide(rows)
        return np.ascontiguousarray(self._halves(rows), np.float16), Wide(among, self.wide.vectors[at])

    def _halves(self, rows: Rows) -> NDArray[Any]:
        found = self._rows[rows]
        if self._is_checked is not None and not self._is_checked[rows].all():
            self._check(self._numbers(rows))
        return found

    def _check(self, numbers: NDArray[np.int64]) -> None:
        assert self._is_checked is not None
        assert self._rids is not None
        assert self._checksums is not None
        for number in numbers[~self._is_checked[numbers]].tolist():
            if zlib.crc32(self._rows[number], int(self._rids[number]) % 2**32) != self._checksums[number]:
                raise DamagedFileError(f"row {self._rids[number]} does not match its checksum")
            self._is_checked[number] = True

    def _find_wide(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which of ``rows`` are in the table, and where there."""
        if not len(self.wide.positions):
            return self.wide.positions, self.wide.positions
        numbers = self._numbers(rows)
        at = np.minimum(np.searchsorted(self.wide.positions, numbers), len(self.wide.positions) - 1)
        among = np.flatnonzero(self.wide.positions[at] == numbers)
        return among, at[among]

    def _numbers(self, rows: Rows) -> NDArray[np.int64]:
        return np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
