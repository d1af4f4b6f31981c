"""JSON files with a checksum, and the errors that a disk gives while the files of a head change."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fc7.errors import DataLoss, FailedPrecondition, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import is_out_of_files, replace_file

FORMAT = 1
REMEDY = "restore it from a backup, publish another version, or delete the head and train it again"


def write_record(path: Path, values: dict[str, Any]) -> None:
    """Replace the file ``path`` by ``values`` and their checksum; they are on disk when this returns."""
    replace_file(path, _with_checksum({"format": FORMAT, **values}))


def read_record(path: Path, head: str) -> dict[str, Any]:
    """Return the values that ``write_record`` wrote for a head.

    Raises
    ------
    DataLoss
        The file is missing, truncated or altered.
    FailedPrecondition
        A newer fc7 wrote it.
    Unavailable
        No more files can be opened at the moment.
    """
    data = read_file(path, head)
    try:
        values: dict[str, Any] = json.loads(data)
        del values["sha256"]
        is_whole, is_newer = _with_checksum(values) == data, values.pop("format") > FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        is_whole = is_newer = False
    if not is_whole:
        raise DataLoss(f"{describe(path, head)} is missing or damaged: {REMEDY}", name=head, reason=Reason.HEAD_DAMAGED)
    if is_newer:
        raise FailedPrecondition(
            f"{describe(path, head)} was written by a newer fc7: upgrade this one",
            name=head,
            reason=Reason.NEWER_FORMAT,
        )
    return values


def read_file(path: Path, head: str) -> bytes:
    """Return the bytes of a file of a head; no bytes if it cannot be read.

    Raises
    ------
    Unavailable
        No more files can be opened at the moment.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if is_out_of_files(error):
            text = f"{describe(path, head)} cannot be opened: {error.strerror}. Try again soon"
            raise Unavailable(text, name=head, reason=Reason.TOO_MANY_FILES) from error
        return b""


def describe(path: Path, head: str) -> str:
    """Return the words that name a file of a head in an error."""
    return f"head {head!r}: {path.parent.name}/{path.name}"


@contextmanager
def translated_disk_errors(head: str) -> Iterator[None]:
    """Raise an error of the fc7 family for each OSError inside the block.

    Raises
    ------
    ResourceExhausted
        The disk is full.
    Unavailable
        No more files can be opened at the moment.
    FailedPrecondition
        Any other error of the disk.
    """
    try:
        yield
    except Unavailable:  # an OSError too, but already of the family
        raise
    except OSError as error:
        text = f"head {head!r} cannot be changed on disk: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(f"{text}. Free some space", name=head, reason=Reason.DISK_FULL) from error
        if is_out_of_files(error):
            raise Unavailable(f"{text}. Try again soon", name=head, reason=Reason.TOO_MANY_FILES) from error
        raise FailedPrecondition(text, name=head) from error


def _with_checksum(values: dict[str, Any]) -> bytes:
    """Return the only text that represents ``values``: a file must equal it, so that no altered bit passes."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**values, "sha256": digest}, sort_keys=True, indent=1) + "\n").encode()
