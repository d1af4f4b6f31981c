"""The sink that writes features to Parquet, each picture exactly once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.data import Datasink
from ray.data.block import BlockAccessor

from fc7.ray.settling import Parts, Settled


class FeatureSink(Datasink[int]):  # type: ignore[misc]  # Ray is not installed where types are checked
    """Writes the rows of `FeatureExtractor` to Parquet files in a folder: the sink for Ray Data's ``write_datasink``.

    A row is known by the digest of its file and, if the rows have one, by their column ``path``. Ray may run a task
    again after a worker died. Then the same rows come again: a file is named by the rows in it, so that it replaces
    itself. Rows that come again in other company are removed at the end, when the folder is settled. So are files that
    a worker left half written. A run that ended early is started again with the same folder.

    Parameters
    ----------
    folder
        Path, or a URI that PyArrow opens (``s3://bucket/features``). All workers must reach it.

    Attributes
    ----------
    settled : Settled or None
        What the folder holds, once everything is written.

    Raises
    ------
    FailedPrecondition
        While writing: the folder holds features of another provenance.
    """

    def __init__(self, folder: Path | str) -> None:
        self.settled: Settled | None = None
        self._parts = Parts(str(folder))

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        """Write the blocks of one task; return the number of rows."""
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        tables = [table for table in tables if table.num_rows]
        return self._parts.write(pa.concat_tables(tables)) if tables else 0

    def on_write_complete(self, write_result: Any) -> None:
        """Settle the folder."""
        self.settled = self._parts.settle()
