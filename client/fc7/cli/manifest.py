"""Training data from a table: a CSV or Parquet file with the columns path and label, and perhaps group and weight."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fc7.errors import InvalidArgument, NotFound

_PATH, _LABEL, _GROUP, _WEIGHT = "path", "label", "group", "weight"
_SHOWN = 5  # missing files that an error names


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A labelled picture."""

    name: str  # as the table gives it
    path: Path
    label: str
    group: str  # empty for none
    weight: float  # 1 if the table has no weights


def read_manifest(file: Path) -> list[ManifestRow]:
    """Return the rows of a table. Relative paths start at the folder of the table.

    Raises
    ------
    InvalidArgument
        A column is missing, a weight is not a positive number, the text is not UTF-8, or a row has no path or no label.
    NotFound
        A picture does not exist.
    """
    if not file.is_file():
        raise NotFound(f"manifest {str(file)!r} does not exist", name=str(file))
    lines = _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    rows = [_row(file, number, values) for number, values in lines]
    missing = [row.name for row in rows if not row.path.is_file()]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise NotFound(
            f"{len(missing)} of {len(rows)} pictures of {str(file)!r} do not exist: "
            f"{', '.join(map(repr, missing[:_SHOWN]))}{more}",
            name=missing[0],
        )
    return rows


def _row(file: Path, number: int, values: Mapping[str, Any]) -> ManifestRow:
    for column in (_PATH, _LABEL):
        if values.get(column) in (None, ""):
            raise InvalidArgument(f"row {number} of {str(file)!r} has no {column}", name=column)
    name = str(values[_PATH])
    group = values.get(_GROUP)
    return ManifestRow(
        name,
        file.parent / name,
        str(values[_LABEL]),
        "" if group is None else str(group),
        _read_weight(file, number, values),
    )


def _read_weight(file: Path, number: int, values: Mapping[str, Any]) -> float:
    if values.get(_WEIGHT) in (None, ""):
        return 1.0
    try:
        weight = float(values[_WEIGHT])
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InvalidArgument(
            f"row {number} of {str(file)!r} has the weight {values[_WEIGHT]!r}, which is not a positive number",
            name=_WEIGHT,
        )
    return weight


def _csv(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            table = csv.DictReader(text)
            _check_columns(file, table.fieldnames or [])
            yield from enumerate(table, 2)  # the first line holds the names
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"{str(file)!r} is not UTF-8 ({error.reason}). Save it as UTF-8", name=str(file)
        ) from error
    except csv.Error as error:
        raise InvalidArgument(f"{str(file)!r} is not a CSV file: {error}", name=str(file)) from error


def _parquet(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowInvalid as error:
        raise InvalidArgument(f"{str(file)!r} is not a Parquet file: {error}", name=str(file)) from error
    _check_columns(file, table.column_names)
    yield from enumerate(
        table.select([n for n in (_PATH, _LABEL, _GROUP, _WEIGHT) if n in table.column_names]).to_pylist(), 1
    )


def _check_columns(file: Path, names: Any) -> None:
    missing = [name for name in (_PATH, _LABEL) if name not in names]
    if missing:
        raise InvalidArgument(
            f"{str(file)!r} has no column {' or '.join(map(repr, missing))}. Its columns are: {', '.join(names)}. "
            "It needs path and label, and may have group and weight",
            name=missing[0],
        )
