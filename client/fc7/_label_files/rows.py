"""What the files of all formats hold: labels, and rows that hold none."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fc7.errors import Fc7Error, InvalidArgument, NotFound, Reason
from fc7.results import Label, Labelled

Row: TypeAlias = Label | Labelled  # a label; or, as failed, why there is none


def failed(id: str, error: Fc7Error) -> Labelled:
    """Return a row of which nothing can be recorded."""
    return Labelled(id, "failed", error)


def bad_row(id: str, problem: str) -> Labelled:
    """Return a row that breaks the rules of its format."""
    return failed(id, InvalidArgument(problem, name=id, reason=Reason.INVALID_LABEL))


def refuse_contradictions(rows: Iterable[Row]) -> list[Row]:
    """Return the rows; labels that contradict one another are failed.

    Labels contradict if the same author says two things about the same item and label, and no time tells which of them
    is newer.
    """
    rows = list(rows)
    verdicts = defaultdict[tuple[str, str, str, int], dict[str, None]](dict)
    for row in rows:
        if isinstance(row, Label) and not row.time:
            verdicts[_about(row)][row.verdict] = None

    def checked(row: Row) -> Row:
        if not isinstance(row, Label) or row.time or len(said := verdicts[_about(row)]) == 1:
            return row
        return bad_row(row.id, f"{row.label!r} is {' and '.join(said)} for the same item. Keep one of these rows")

    return list(map(checked, rows))


def read_json(path: Path, data: bytes, *, is_list: bool) -> Any:
    """Return the list or the object that a JSON file holds.

    Raises
    ------
    InvalidArgument
        It holds something else.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:  # not JSON, not text, or nested too deeply
        raise no_labels(path, f"it is not JSON ({error})") from error
    if not isinstance(found, list if is_list else dict):
        raise no_labels(path, f"it is not a JSON {'list' if is_list else 'object'}")
    return found


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidArgument
        It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path), reason=Reason.FILE_NOT_FOUND) from error
    except OSError as error:
        raise InvalidArgument(f"file {str(path)!r} cannot be read: {error.strerror}", name=str(path)) from error


def no_labels(path: Path, problem: str) -> InvalidArgument:
    """Return the error for a file that is not of its format."""
    return InvalidArgument(f"{str(path)!r} holds no labels: {problem}", name=str(path))


def text_in(entry: Any, keys: Sequence[str]) -> str:
    """Return the text under nested keys of a JSON object, or "" if there is none."""
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry if isinstance(entry, str) else ""


def _about(label: Label) -> tuple[str, str, str, int]:
    return label.id, label.label, label.by, label.head_version
