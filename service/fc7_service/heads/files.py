"""How the files of a head are written and read: durable, and checked to the last bit."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import is_out_of_files, replace_file, write_file
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.head import HeadVersion, SoftmaxLayer

FORMAT = 1
MANIFEST, WEIGHTS, POINTER = "manifest.json", "weights.safetensors", "published.json"


def write_record(path: Path, values: dict[str, Any]) -> None:
    """Replace ``path`` by ``values`` and their checksum; on disk when this returns."""
    replace_file(path, _seal({"format": FORMAT, **values}))


def read_record(path: Path, name: str) -> dict[str, Any]:
    """Return what ``write_record`` wrote for the head ``name``.

    Raises
    ------
    DataLoss
        The file is missing, cut or altered.
    FailedPrecondition
        A newer fc7 wrote it.
    """
    data = _read(path, name)
    try:
        values: dict[str, Any] = json.loads(data)
        del values["sha256"]
        is_whole, is_newer = _seal(values) == data, values.pop("format") > FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        is_whole = is_newer = False
    where = f"{path.parent.name}/{path.name}"
    if not is_whole:
        raise DataLoss(
            f"head {name!r}: {where} is missing or damaged; {_REMEDY}", name=name, reason=Reason.HEAD_DAMAGED
        )
    if is_newer:
        raise FailedPrecondition(
            f"head {name!r}: {where} was written by a newer fc7: upgrade this one",
            name=name,
            reason=Reason.NEWER_FORMAT,
        )
    return values


def write_version(folder: Path, head: HeadVersion, weights: bytes, report: dict[str, float]) -> None:
    """Write one version's manifest and packed weights into an empty ``folder``."""
    write_file(folder / WEIGHTS, weights)
    values = asdict(head) | {"provenance": head.provenance.to_dict(), "report": report}
    write_record(folder / MANIFEST, values)


def read_head(folder: Path, name: str, version: int) -> HeadVersion:
    """Return the facts in a version's folder.

    Raises
    ------
    DataLoss
        The manifest is missing, damaged, or another head's.
    FailedPrecondition
        A newer fc7 wrote it.
    """
    values = read_record(folder / MANIFEST, name)
    try:
        values.setdefault("majority_accuracy", None)  # written since release 0.2
        kept = {field.name: values[field.name] for field in fields(HeadVersion)}
        kept |= {"classes": tuple(values["classes"]), "provenance": Provenance.from_dict(values["provenance"])}
        head = HeadVersion(**kept)
    except (KeyError, TypeError, InvalidArgument) as error:
        raise DataLoss(
            f"head {name!r}: {version}/{MANIFEST} is malformed ({error}); {_REMEDY}",
            name=name,
            reason=Reason.HEAD_DAMAGED,
        ) from error
    if (head.name, head.version) != (name, version):
        raise DataLoss(
            f"head {name!r}: {version}/{MANIFEST} is of {head.name!r} version {head.version}; {_REMEDY}",
            name=name,
            reason=Reason.HEAD_DAMAGED,
        )
    return head


def read_softmax(folder: Path, head: HeadVersion) -> SoftmaxLayer:
    """Return the layer of ``head``, its checksum verified before it is parsed.

    Raises
    ------
    DataLoss
        The weights are missing or damaged.
    """
    from safetensors.numpy import load

    data = _read(folder / WEIGHTS, head.name)
    if hashlib.sha256(data).hexdigest() != head.weights_sha256:
        raise DataLoss(
            f"head {head.name!r}: {head.version}/{WEIGHTS} is missing or damaged; {_REMEDY}",
            name=head.name,
            reason=Reason.HEAD_DAMAGED,
        )
    return SoftmaxLayer(**load(data))


def _read(path: Path, name: str) -> bytes:
    """Return a file's bytes; none where it cannot be read, unless that passes."""
    try:
        return path.read_bytes()
    except OSError as error:
        if is_out_of_files(error):
            text = (
                f"head {name!r}: {path.parent.name}/{path.name} cannot be opened now: {error.strerror}; try again soon"
            )
            raise Unavailable(text, name=name, reason=Reason.TOO_MANY_FILES) from error
        return b""


def pack(softmax: SoftmaxLayer) -> bytes:
    """Return the weights file of a layer."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(values) for name, values in asdict(softmax).items()})


@contextmanager
def changing(name: str) -> Iterator[None]:
    """Turn what the disk refuses, while the files of a head change, into our errors."""
    try:
        yield
    except Unavailable:  # an OSError too, and ours already
        raise
    except OSError as error:
        text = f"head {name!r} cannot be changed on disk: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(f"{text}; free some space", name=name, reason=Reason.DISK_FULL) from error
        if is_out_of_files(error):
            raise Unavailable(f"{text}; try again soon", name=name, reason=Reason.TOO_MANY_FILES) from error
        raise FailedPrecondition(text, name=name) from error


_REMEDY = "restore it from a backup, publish another version, or delete it and train again"


def _seal(values: dict[str, Any]) -> bytes:
    """Return the one text that stands for ``values``: a file must be equal to it, so no altered bit passes."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**values, "sha256": digest}, sort_keys=True, indent=1) + "\n").encode()
