"""Label records as CSV: one row per record, with all that is known about it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast, get_args

from fc7._label_files.rows import Row, bad_row, no_labels
from fc7.results import Label, Verdict

COLUMNS = ("id", "label", "verdict", "by", "head_version", "time")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def write_csv(path: Path, labels: Iterable[Label]) -> None:
    """Write a heading, and a row per label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([getattr(label, column) for column in COLUMNS] for label in labels)


def read_csv(path: Path, data: bytes, by: str) -> Iterator[Row]:
    """Yield the rows of a CSV file with the columns id and label; the other columns of an export may be missing.

    Parameters
    ----------
    data
        UTF-8, with or without a byte order mark, or UTF-16 with one.
    by
        Who says so, for rows that do not tell.

    Raises
    ------
    InvalidArgument
        A column is missing.
    """
    reader = csv.DictReader(io.StringIO(_decode(path, data), newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
    except csv.Error as error:
        raise no_labels(path, f"line {reader.line_num}: {error}") from error
    if missing := {"id", "label"} - set(columns):
        raise no_labels(
            path, f"it has no column {' and no column '.join(sorted(missing))}. Name them in the first line"
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield bad_row("", f"line {reader.reader.line_num}: {error}")
        else:
            yield _read_row(row, f"line {reader.line_num}", len(columns), by)


def _read_row(row: dict[str, str], where: str, n_columns: int, by: str) -> Row:
    own = row["id"] or ""
    if None in row or None in row.values():
        return bad_row(own, f"{where} does not have {n_columns} columns")
    if not own:
        return bad_row(own, f"{where} has no id")
    if any("\ud800" <= one <= "\udfff" for value in row.values() for one in value):
        return bad_row(own, f"{where} is not UTF-8. Save the file as UTF-8")
    verdict, version = row.get("verdict") or "positive", row.get("head_version") or "0"
    if verdict not in get_args(Verdict):
        return bad_row(own, f"{where} has the verdict {verdict!r}. Use {', '.join(get_args(Verdict))}")
    if not (version.isascii() and version.isdecimal() and len(version) < 10):
        return bad_row(own, f"{where} has the head_version {version!r}, which is not a version")
    author = row.get("by") or (by if version == "0" else "")
    return Label(own, row["label"], cast(Verdict, verdict), author, int(version), row.get("time") or "")


def _decode(path: Path, data: bytes) -> str:
    """Return the text; bytes that are no text stand in it as surrogates, so that only their rows fail."""
    if not data.startswith(_UTF_16):
        return data.decode("utf-8-sig", errors="surrogateescape")
    try:
        return data.decode("utf-16")
    except UnicodeDecodeError as error:
        raise no_labels(path, f"it is not UTF-16 ({error.reason}). Save it as UTF-8") from error
