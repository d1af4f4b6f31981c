"""The log of a training run: one row of ``log.csv`` per epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


class CsvLog:
    """Writes ``log.csv`` in ``folder``, beginning with the ``rows`` that a resumed run has already logged."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
        self._file = folder / "log.csv"
        self._file.write_bytes(b"")
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; the first one also writes the header."""
        with self._file.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
