"""The two files of a head's version: its manifest and its weights."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from fc7.errors import DataLoss, InvalidArgument, Reason
from fc7_service.bundle.disk import write_file
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.classifier import Classifier, SoftmaxLayer
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.records import REMEDY, describe, read_file, read_record, write_record

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"


def write_version(folder: Path, version: HeadVersion, weights: bytes, report: dict[str, float]) -> None:
    """Write a version's manifest and its weights, as ``pack_weights`` returns them, into an empty folder."""
    write_file(folder / WEIGHTS, weights)
    values = asdict(version) | {"provenance": version.provenance.to_dict(), "report": report}
    write_record(folder / MANIFEST, values)


def read_version(folder: Path, head: str, number: int) -> HeadVersion:
    """Return what the manifest in a version's folder says.

    Raises
    ------
    DataLoss
        The manifest is missing or damaged, or describes another version.
    FailedPrecondition
        A newer fc7 wrote it.
    """
    path = folder / MANIFEST
    values = read_record(path, head)
    try:
        values.setdefault("majority_accuracy", None)  # written since release 0.2
        known = {field.name: values[field.name] for field in fields(HeadVersion)}
        known |= {"classes": tuple(values["classes"]), "provenance": Provenance.from_dict(values["provenance"])}
        version = HeadVersion(**known)
    except (KeyError, TypeError, InvalidArgument) as error:
        raise DataLoss(
            f"{describe(path, head)} is malformed ({error}): {REMEDY}", name=head, reason=Reason.HEAD_DAMAGED
        ) from error
    if (version.name, version.version) != (head, number):
        raise DataLoss(
            f"{describe(path, head)} describes version {version.version} of head {version.name!r}: {REMEDY}",
            name=head,
            reason=Reason.HEAD_DAMAGED,
        )
    return version


def read_classifier(folder: Path, version: HeadVersion) -> Classifier:
    """Return a version with its weights, whose checksum is verified before they are parsed.

    Raises
    ------
    DataLoss
        The weights are missing or damaged.
    """
    from safetensors.numpy import load

    data = read_file(folder / WEIGHTS, version.name)
    if hashlib.sha256(data).hexdigest() != version.weights_sha256:
        raise DataLoss(
            f"{describe(folder / WEIGHTS, version.name)} is missing or damaged: {REMEDY}",
            name=version.name,
            reason=Reason.HEAD_DAMAGED,
        )
    return Classifier(version, SoftmaxLayer(**load(data)))


def pack_weights(softmax: SoftmaxLayer) -> bytes:
    """Return the content of a weights file, in the format of safetensors."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(values) for name, values in asdict(softmax).items()})
