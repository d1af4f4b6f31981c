"""One training, from rows to the files of a version: group, fit, judge, pack."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.fit import fit_head
from fc7_service.heads.grouping import join_groups
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.judgement import RowNames, judge, pack_judgement
from fc7_service.heads.near_duplicates import near_duplicates
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.version_files import pack_weights


class TrainedVersion(NamedTuple):
    """A version that has no number yet, and the content of its files."""

    version: HeadVersion  # numbered 0
    weights: bytes
    judgement: bytes
    report: dict[str, Any]  # of the fit, for the manifest


def train_version(
    name: str,
    features: NDArray[np.float32],
    labels: Sequence[str],
    groups: Sequence[str],
    provenance: Provenance,
    check_stop: StopCheck,
    *,
    ids: Sequence[str],
    own_groups: Sequence[str],
    source: str,
) -> TrainedVersion:
    """Fit a head and judge it. Arguments and errors are those of ``Heads.train``; nothing is stored."""
    start = time.monotonic()
    # Values that are not finite are refused by the fit.
    pairs = near_duplicates(features, check_stop=check_stop) if _can_compare(features, labels) else []
    joined = join_groups(groups, own_groups, labels, pairs) if len(labels) == len(groups) else groups
    fitted = fit_head(features, labels, joined, check_stop)
    seconds = time.monotonic() - start
    rows = RowNames(ids or [str(i) for i in range(len(labels))], groups, joined)
    judged = judge(features, labels, rows, pairs, fitted, check_stop)
    weights = pack_weights(fitted.softmax, judged.calibration, judged.known_rows)
    kept = pack_judgement(judged.judgement)
    version = HeadVersion(
        name=name,
        version=0,
        provenance=provenance,
        classes=fitted.classes,
        count=len(labels),
        accuracy=fitted.accuracy,
        majority_accuracy=fitted.majority_accuracy,
        held_out=fitted.held_out,
        method=fitted.method,
        seconds=seconds,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        parent_version=0,
        measures=judged.judgement.measures,
        unknown=judged.judgement.unknown,
        source=source,
        judgement_sha256=hashlib.sha256(kept).hexdigest(),
    )
    return TrainedVersion(version, weights, kept, {"nll": fitted.nll, "strength": fitted.strength})


def _can_compare(features: NDArray[np.float32], labels: Sequence[str]) -> bool:
    return features.ndim == 2 and len(features) == len(labels) > 0 and bool((np.abs(features) < 1e18).all())
