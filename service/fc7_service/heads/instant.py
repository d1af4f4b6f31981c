"""The instant head: ridge regression from sums over the rows, judged without another fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.fit import STRENGTHS
from fc7_service.heads.folds import check_classes
from fc7_service.heads.limits import check_size
from fc7_service.heads.ridge import solve_with_leverages
from fc7_service.heads.stop_check import StopCheck, never_stop
from fc7_service.heads.temperature import fit_temperature

N_SAMPLED = 500  # rows that judge an instant head
_LEAST_REST = 1e-6  # of a row that only its own part explains; its answer without it is far off either way


class RowSums(NamedTuple):
    """What an instant head knows about N labelled rows of D numbers and C classes."""

    n_rows: int  # N
    mean: NDArray[np.float64]  # (D,)
    gram: NDArray[np.float64]  # (D, D): X'X / N of the rows without their mean
    classes: tuple[str, ...]  # sorted
    class_counts: NDArray[np.int64]  # (C,): rows of each
    class_sums: NDArray[np.float64]  # (D, C): sum of each class's rows without the mean of all, / N


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Some of these rows, which judge the head."""

    features: NDArray[np.float32]  # (S, D)
    labels: Sequence[str]
    contents: Sequence[str]  # content hash of each
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class InstantHead:
    """An instant head, and what it says about sampled rows without their own part in it."""

    softmax: SoftmaxLayer
    strength: float  # of the penalty
    logits: NDArray[np.float32]  # (S, C), leave-one-out, before the temperature
    nll: float  # negative log-likelihood of these rows, in nats per row, after the temperature


def fit_instant(
    sums: RowSums,
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    strengths: Sequence[float] = STRENGTHS["ridge"],
    check_stop: StopCheck = never_stop,
) -> InstantHead:
    """Solve the ridge regression of ``fit_ridge`` from sums, at the strength that predicts sampled rows best.

    A sampled row is predicted by the head that the other rows give, which follows from the head of all rows: with the
    prediction f of a row of target t, and the row's leverage h, that head answers t - (t - f) / (1 - h). The mean and
    the scale of the rows stay those of all rows.

    Parameters
    ----------
    sums
        Of all rows.
    features, y
        Sampled rows float32 (S, D) among them, and their class numbers int64 (S,).
    strengths
        Of the penalty, to choose among. Each costs one Cholesky factorisation.
    check_stop
        Called before each factorisation.

    Raises
    ------
    InvalidArgument
        There are fewer than two classes.
    ResourceExhausted
        There are too many classes.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", equations 3.44 and 7.64 (leave-one-out
    predictions of a linear fit).
    """
    from threadpoolctl import threadpool_limits

    check_classes(sums.classes)
    check_size(len(features), len(sums.mean), len(sums.classes))
    frequencies = sums.class_counts / sums.n_rows
    scale = float(np.float32(np.sqrt(np.trace(sums.gram) / len(sums.gram)))) or 1.0
    # In half the time and memory of float64. On features of Tiny-ImageNet (1,024 numbers), logits differed by 2e-6.
    gram = np.divide(sums.gram, scale**2, dtype=np.float32, casting="same_kind")
    targets, rows = (sums.class_sums / scale).astype(np.float32), ((features - sums.mean) / scale).astype(np.float32)
    truth = np.zeros((len(y), len(sums.classes)), np.float32)
    truth[np.arange(len(y)), y] = 1
    best = None
    for strength in strengths:
        check_stop()
        with threadpool_limits(1, user_api="blas"):  # see on_all_cores
            weights, leverages = solve_with_leverages(gram, targets, rows, strength, sums.n_rows)
        rest = np.maximum(1 - leverages, _LEAST_REST)[:, None]
        logits = np.asarray(truth - (truth - rows @ weights - frequencies.astype(np.float32)) / rest, np.float32)
        temperature, nll = fit_temperature(logits, y, check_stop)
        if best is not None and nll >= best.nll:
            return best
        layer = SoftmaxLayer(
            mean=sums.mean.astype(np.float32),
            scale=np.array([scale], np.float32),
            weights=np.ascontiguousarray(weights, np.float32),
            bias=frequencies.astype(np.float32),
            temperature=np.array([temperature], np.float32),
        )
        best = InstantHead(layer, strength, logits, nll)
    assert best is not None, "at least one strength"
    return best
