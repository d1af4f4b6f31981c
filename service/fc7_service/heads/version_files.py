"""The files of a head's version: its manifest, its weights and what was found out about it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, Reason
from fc7_service.bundle.disk import write_file
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.classifier import Classifier, SoftmaxLayer
from fc7_service.heads.head_version import IMPORTED, HeadVersion
from fc7_service.heads.judgement import Judgement, unpack_judgement
from fc7_service.heads.measures import Estimate, Measures
from fc7_service.heads.records import REMEDY, describe, read_file, read_record, write_record
from fc7_service.heads.unknown_rule import UnknownRule, UnknownScore

MANIFEST, WEIGHTS, JUDGEMENT = "manifest.json", "weights.safetensors", "judgement.safetensors"

_CALIBRATION, _KNOWN_ROWS = "calibration", "known_rows"  # tensors of a weights file, since release 0.3
# Values of manifests that were written before release 0.2 or 0.3
_ADDED_LATER = {"majority_accuracy": None, "measures": None, "source": "", "unknown": None, "judgement_sha256": ""}


def write_version(folder: Path, version: HeadVersion, weights: bytes, judgement: bytes, report: dict[str, Any]) -> None:
    """Write the files of a version into an empty folder.

    The weights are as ``pack_weights`` returns them, the judgement is as ``pack_judgement`` does.
    """
    write_file(folder / WEIGHTS, weights)
    write_file(folder / JUDGEMENT, judgement)
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
        values = _ADDED_LATER | values
        known = {field.name: values[field.name] for field in fields(HeadVersion)}
        known |= {"classes": tuple(values["classes"]), "provenance": Provenance.from_dict(values["provenance"])}
        known |= {"measures": _read_measures(values["measures"]), "unknown": _read_unknown(values["unknown"])}
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
    tensors = load(data)
    layer = SoftmaxLayer(**{field.name: tensors[field.name] for field in fields(SoftmaxLayer)})
    return Classifier(version, layer, tensors.get(_CALIBRATION), tensors.get(_KNOWN_ROWS))


def read_judgement(folder: Path, version: HeadVersion) -> Judgement:
    """Return what was found out about a version; the checksum is verified before anything is parsed.

    Raises
    ------
    FailedPrecondition
        The version was trained before release 0.3.
    DataLoss
        The file is missing or damaged.
    """
    if version.method == IMPORTED:
        raise FailedPrecondition(
            f"version {version.version} of head {version.name!r} has no report, because it was fitted elsewhere: train "
            "the head here, or evaluate it with labelled pictures",
            name=version.name,
            reason=Reason.HEAD_WITHOUT_REPORT,
        )
    if version.measures is None:
        raise FailedPrecondition(
            f"version {version.version} of head {version.name!r} has no report, because an older fc7 trained it: "
            "train the head again",
            name=version.name,
            reason=Reason.HEAD_WITHOUT_REPORT,
        )
    data = read_file(folder / JUDGEMENT, version.name)
    if hashlib.sha256(data).hexdigest() != version.judgement_sha256:
        raise DataLoss(
            f"{describe(folder / JUDGEMENT, version.name)} is missing or damaged: restore it from a backup, or train "
            "the head again. The head itself still classifies",
            name=version.name,
            reason=Reason.HEAD_DAMAGED,
        )
    return unpack_judgement(data, version.measures, version.unknown)


def _read_measures(values: dict[str, Any] | None) -> Measures | None:
    if values is None:
        return None
    read: dict[str, Any] = {
        name: Estimate(**value) if isinstance(value, dict) else value for name, value in values.items()
    }
    return Measures(**read)


def _read_unknown(values: dict[str, Any] | None) -> UnknownRule | None:
    if values is None:
        return None
    return UnknownRule(**{**values, "scores": tuple(UnknownScore(**score) for score in values["scores"])})


def pack_weights(
    softmax: SoftmaxLayer, calibration: NDArray[np.float32] | None, known_rows: NDArray[np.float16] | None
) -> bytes:
    """Return the content of a weights file, in the format of safetensors.

    Parameters
    ----------
    softmax
        The layer.
    calibration, known_rows
        As for ``Classifier``.
    """
    from safetensors.numpy import save

    tensors = asdict(softmax) | {_CALIBRATION: calibration, _KNOWN_ROWS: known_rows}
    return save({name: np.ascontiguousarray(values) for name, values in tensors.items() if values is not None})
