"""Softmax layers that come from elsewhere, and heads that go there: weights for features as they are extracted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.head_version import IMPORTED, HeadVersion
from fc7_service.heads.limits import check_label
from fc7_service.heads.train_version import TrainedVersion
from fc7_service.heads.version_files import pack_weights


def plain_weights(layer: SoftmaxLayer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights (D, C) and bias (C,) whose softmax gives the probabilities of a layer."""
    temperature = float(layer.temperature[0])
    weights = layer.weights.astype(np.float64) / (float(layer.scale[0]) * temperature)
    bias = layer.bias / temperature - layer.mean.astype(np.float64) @ weights
    return weights.astype(np.float32), bias.astype(np.float32)


def import_layer(
    name: str,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    classes: Sequence[str],
    provenance: Provenance,
    source: str,
) -> TrainedVersion:
    """Make a version of a softmax layer that was fitted elsewhere.

    Parameters
    ----------
    name
        Name of the head.
    weights
        (D, C).
    bias
        (C,).
    classes
        C names, in any order.
    provenance
        What makes the features that it takes.
    source
        Where it comes from.

    Raises
    ------
    InvalidArgument
        There are fewer than two classes, a name twice or one that is none, shapes do not match, or a value is not
        finite.
    """
    for label in classes:
        check_label(label)
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise InvalidArgument(
            f"a head needs at least 2 classes, each once (got {len(classes)}, {len(set(classes))} of them different)",
            name="classes",
        )
    if weights.ndim != 2 or weights.shape[1:] != (len(classes),) or bias.shape != (len(classes),):
        raise InvalidArgument(
            f"weights must be of shape (D, {len(classes)}) and bias of shape ({len(classes)},) for these classes (got "
            f"{weights.shape} and {bias.shape})",
            name="weights",
            reason=Reason.INVALID_VECTOR,
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise InvalidArgument("weights or bias have a value that is NaN or infinite", name="weights")
    order = sorted(range(len(classes)), key=lambda i: classes[i])
    layer = SoftmaxLayer(
        mean=np.zeros(len(weights), np.float32),
        scale=np.ones(1, np.float32),
        weights=np.ascontiguousarray(weights[:, order], np.float32),
        bias=np.ascontiguousarray(bias[order], np.float32),
        temperature=np.ones(1, np.float32),
    )
    packed = pack_weights(layer, None, None)
    version = HeadVersion(
        name=name,
        version=0,
        provenance=provenance,
        classes=tuple(classes[i] for i in order),
        count=0,
        accuracy=0.0,
        held_out=0,
        method=IMPORTED,
        seconds=0.0,
        weights_sha256=hashlib.sha256(packed).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=source,
    )
    return TrainedVersion(version, packed, b"", {})
