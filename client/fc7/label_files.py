"""Label records as CSV: one row per record."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO, cast, get_args

from fc7.errors import InvalidArgument, NotFound
from fc7.results import Label, Verdict

COLUMNS = ("id", "label", "verdict", "by", "head_version", "time")


def csv_lines(labels: Iterable[Label]) -> Iterator[str]:
    """Yield the lines of a CSV file, first the heading."""
    yield _line(COLUMNS)
    for label in labels:
        yield _line([getattr(label, column) for column in COLUMNS])


def read_csv(path: Path, by: str) -> list[Label]:
    """Return the labels of a CSV file with the columns id and label.

    Parameters
    ----------
    path
        UTF-8, with or without a byte order mark. The other columns of an export may be missing.
    by
        Who says so, for rows that do not tell.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidArgument
        It is not such a file. The error names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(path, file, by))
    except FileNotFoundError as error:
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path)) from error
    except UnicodeDecodeError as error:
        raise _malformed(path, f"it is not UTF-8 ({error.reason}). Save it as UTF-8") from error


def _rows(path: Path, file: TextIO, by: str) -> Iterator[Label]:
    reader = csv.DictReader(file, strict=True)
    try:
        missing = {"id", "label"} - set(reader.fieldnames or ())
        if missing:
            raise _malformed(
                path, f"it has no column {' and no column '.join(sorted(missing))}. Name them in the first line"
            )
        for row in reader:
            where = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise _malformed(path, f"{where} does not have {len(reader.fieldnames or ())} columns")
            verdict, version = row.get("verdict") or "positive", row.get("head_version") or "0"
            if verdict not in get_args(Verdict):
                raise _malformed(path, f"{where} has the verdict {verdict!r}. Use {', '.join(get_args(Verdict))}")
            if not version.isdecimal():
                raise _malformed(path, f"{where} has the head_version {version!r}, which is not a number")
            author = row.get("by") or (by if version == "0" else "")
            yield Label(row["id"], row["label"], cast(Verdict, verdict), author, int(version), row.get("time") or "")
    except csv.Error as error:
        raise _malformed(path, f"line {reader.line_num}: {error}") from error


def _line(row: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _malformed(path: Path, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{str(path)!r} holds no labels: {problem}", name=str(path))
