"""One training, from rows to the files of a version: group, fit, judge, pack."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.blocks import row_blocks
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.fit import fit_head
from fc7_service.heads.folds import N_FOLDS
from fc7_service.heads.grouping import join_groups
from fc7_service.heads.head_version import INSTANT, HeadVersion
from fc7_service.heads.instant import RowSums, SampledRows, fit_instant
from fc7_service.heads.judgement import Judged, RowNames, judge, judge_instantly, pack_judgement
from fc7_service.heads.near_duplicates import near_duplicates
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.version_files import pack_weights

_COMPARABLE = np.float32(1e18)  # squares stay within float32


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
    weights: Sequence[float],
    balanced: bool,
    earlier: Mapping[str, int],
) -> TrainedVersion:
    """Fit a head and judge it. Arguments and errors are those of ``Heads.train``; nothing is stored.

    ``earlier`` has the folds that rows had in the version before, by content hash.
    """
    start = time.monotonic()
    # Values that are not finite are refused by the fit.
    pairs = near_duplicates(features, check_stop=check_stop) if _can_compare(features, labels) else []
    joined = join_groups(groups, own_groups, labels, pairs) if len(labels) == len(groups) else groups
    its_folds: dict[str, int] = {}
    for group, own in zip(joined, groups, strict=False):
        if own in earlier:  # of pictures that were joined since, one that was held out decides
            its_folds[group] = min(its_folds.get(group, N_FOLDS), earlier[own])
    fitted = fit_head(features, labels, joined, check_stop, weights=weights, balanced=balanced, earlier=its_folds)
    seconds = time.monotonic() - start
    rows = RowNames(ids or [str(i) for i in range(len(labels))], groups, joined)
    judged = judge(features, labels, rows, pairs, fitted, check_stop)
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
        created=_now(),
        source=source,
    )
    report = {"nll": fitted.nll, "strength": fitted.strength, "weighted": len(weights) > 0, "balanced": balanced}
    return _pack(version, fitted.softmax, judged, report)


def train_instantly(
    name: str,
    sums: RowSums,
    sample: SampledRows,
    strengths: Sequence[float],
    provenance: Provenance,
    check_stop: StopCheck,
    *,
    source: str,
) -> TrainedVersion:
    """Fit an instant head and judge it. Arguments and errors are those of ``Heads.train_instantly``."""
    start = time.monotonic()
    numbers = {label: i for i, label in enumerate(sums.classes)}
    y = np.array([numbers[label] for label in sample.labels], np.int64)
    fitted = fit_instant(sums, sample.features, y, strengths, check_stop)
    seconds = time.monotonic() - start
    judged = judge_instantly(fitted, sums, y, sample, check_stop)
    measures = judged.judgement.measures
    version = HeadVersion(
        name=name,
        version=0,
        provenance=provenance,
        classes=sums.classes,
        count=sums.n_rows,
        accuracy=measures.accuracy.value,
        majority_accuracy=measures.majority_accuracy,
        held_out=len(y),
        method=INSTANT,
        seconds=seconds,
        created=_now(),
        source=source,
    )
    return _pack(version, fitted.softmax, judged, {"nll": fitted.nll, "strength": fitted.strength})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _pack(version: HeadVersion, softmax: SoftmaxLayer, judged: Judged, report: dict[str, Any]) -> TrainedVersion:
    weights = pack_weights(softmax, judged.calibration, judged.known_rows)
    kept = pack_judgement(judged.judgement)
    whole = replace(
        version,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        judgement_sha256=hashlib.sha256(kept).hexdigest(),
        measures=judged.judgement.measures,
        unknown=judged.judgement.unknown,
    )
    return TrainedVersion(whole, weights, kept, report)


def _can_compare(features: NDArray[np.float32], labels: Sequence[str]) -> bool:
    return (
        features.ndim == 2
        and len(features) == len(labels) > 0
        and all((np.abs(features[rows]) < _COMPARABLE).all() for rows in row_blocks(len(features)))
    )
