"""What is found out about a head while its training rows are at hand, and how it is kept beside the weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.conformal import calibration_scores
from fc7_service.heads.fit import FittedHead
from fc7_service.heads.folds import N_FOLDS, NO_FOLD
from fc7_service.heads.instant import InstantHead, RowSums, SampledRows
from fc7_service.heads.label_errors import find_label_errors
from fc7_service.heads.learning_curve import CurvePoint, learning_curve
from fc7_service.heads.measures import Measures, measure
from fc7_service.heads.near_duplicates import Pair
from fc7_service.heads.out_of_fold import calibrate_out_of_fold, predict_out_of_fold
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.unknown import choose_known_rows, find_unknown_rule
from fc7_service.heads.unknown_rule import UnknownRule
from fc7_service.heads.unknown_scores import normalised_rows

_MOST_DUPLICATES = 1000  # pairs that are kept


@dataclass(frozen=True, slots=True)
class Judgement:
    """The out-of-fold predictions of every training row, and what follows from them."""

    ids: tuple[str, ...]  # N: what the user calls each row
    contents: tuple[str, ...]  # N: content hash of each row, by which the versions of a head are compared
    y: NDArray[np.int32]  # (N,): class number of each label
    folds: NDArray[np.int8]  # (N,): 0 is held out; -1 for a picture with two labels
    probabilities: NDArray[np.float32]  # (N, C), each row by a head that was fitted without it
    suspected: NDArray[np.int32]  # (S,): rows whose labels are probably wrong, most suspicious first
    duplicates: tuple[Pair, ...]  # rows of different classes that are almost the same picture, most similar first
    curve: tuple[CurvePoint, ...]
    measures: Measures
    unknown: UnknownRule | None  # which pictures are of no class; None for two classes


class RowNames(NamedTuple):
    """What stands for each of the N rows."""

    ids: Sequence[str]  # what the user calls it
    contents: Sequence[str]  # content hash
    groups: Sequence[str]  # rows of one group stay on one side of every split


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement, and what a head needs from it when it classifies."""

    judgement: Judgement
    calibration: NDArray[np.float32]  # (M,): see `calibration_scores`
    known_rows: NDArray[np.float16] | None  # (K, D): see `known_scores`; None where the rule does not use them


def judge(
    features: NDArray[np.float32],
    labels: Sequence[str],
    names: RowNames,
    pairs: Sequence[Pair],
    fitted: FittedHead,
    check_stop: StopCheck,
) -> Judged:
    """Predict every row by a head that was fitted without it, with the method and strength of ``fitted``.

    Parameters
    ----------
    features, labels, check_stop
        As for ``fit_head``.
    names
        What stands for each row.
    pairs
        Rows that are almost the same picture.
    """
    from threadpoolctl import threadpool_limits

    groups, folds = names.groups, fitted.folds
    numbers = {label: i for i, label in enumerate(fitted.classes)}
    y = np.array([numbers[label] for label in labels])
    with threadpool_limits(1, user_api="blas"):  # see fit_head
        logits = predict_out_of_fold(features, y, folds, fitted, check_stop)
        probabilities = calibrate_out_of_fold(logits, y, folds, check_stop)
        is_right = probabilities.argmax(axis=1) == y
        curve = learning_curve(features, y, folds, groups, fitted, is_right, check_stop)
        known, temperature = choose_known_rows(groups), float(fitted.softmax.temperature[0])
        rule = find_unknown_rule(features, y, folds, logits, temperature, known, fitted, check_stop)
    is_judged = folds != NO_FOLD
    group_numbers = np.unique(np.array(groups)[is_judged], return_inverse=True)[1]
    needs_rows = rule is not None and rule.score == "neighbour"
    judgement = Judgement(
        ids=tuple(names.ids),
        contents=tuple(names.contents),
        y=y.astype(np.int32),
        folds=folds,
        probabilities=probabilities,
        suspected=find_label_errors(probabilities, y).astype(np.int32),
        duplicates=tuple(pair for pair in pairs if y[pair.first] != y[pair.second])[:_MOST_DUPLICATES],
        curve=tuple(curve),
        measures=measure(probabilities[is_judged], y[is_judged], group_numbers, fitted.classes),
        unknown=rule,
    )
    return Judged(
        judgement,
        # At the temperature of the head, so that its own probabilities compare.
        calibration=calibration_scores(softmax(logits / np.float32(temperature))[is_judged], y[is_judged]),
        known_rows=normalised_rows(features[known], fitted.softmax.mean).astype(np.float16) if needs_rows else None,
    )


def judge_instantly(
    fitted: InstantHead, sums: RowSums, y: NDArray[np.int64], sample: SampledRows, check_stop: StopCheck
) -> Judged:
    """Judge an instant head by its leave-one-out predictions of sampled rows.

    The learning curve has one point, and there is no rule for unknown pictures: both take more fits.

    Parameters
    ----------
    fitted, sums, check_stop
        As for ``fit_instant``.
    y, sample
        The rows, and their class numbers (S,).
    """
    folds = (np.arange(len(y)) % N_FOLDS).astype(np.int8)  # for the temperature alone
    probabilities = calibrate_out_of_fold(fitted.logits, y, folds, check_stop)
    temperature = fitted.softmax.temperature[0]
    measures = measure(probabilities, y, np.unique(sample.contents, return_inverse=True)[1], sums.classes)
    judgement = Judgement(
        ids=tuple(sample.ids),
        contents=tuple(sample.contents),
        y=y.astype(np.int32),
        folds=folds,
        probabilities=probabilities,
        suspected=find_label_errors(probabilities, y).astype(np.int32),
        duplicates=(),
        curve=(CurvePoint(sums.n_rows - 1, measures.accuracy.value),),
        measures=measures,
        unknown=None,
    )
    return Judged(judgement, calibration_scores(softmax(fitted.logits / temperature), y), None)


def pack_judgement(judgement: Judgement) -> bytes:
    """Return the content of the file that keeps a judgement, in the format of safetensors.

    Probabilities are kept in half precision. The measures and the rule for unknown pictures are in the manifest.
    """
    from safetensors.numpy import save

    texts = {"ids": judgement.ids, "contents": judgement.contents}
    lists = {"duplicates": judgement.duplicates, "curve": judgement.curve}
    tensors = {
        "labels": judgement.y,
        "folds": judgement.folds,
        "probabilities": judgement.probabilities.astype(np.float16),
        "suspected": judgement.suspected,
        "texts": np.frombuffer(json.dumps(texts | lists).encode(), np.uint8),
    }
    return save({name: np.ascontiguousarray(values) for name, values in tensors.items()})


def unpack_judgement(data: bytes, measures: Measures, unknown: UnknownRule | None) -> Judgement:
    """Return what ``pack_judgement`` wrote; the caller has verified the checksum."""
    from safetensors.numpy import load

    tensors = load(data)
    texts = json.loads(tensors["texts"].tobytes())
    return Judgement(
        ids=tuple(texts["ids"]),
        contents=tuple(texts["contents"]),
        y=tensors["labels"],
        folds=tensors["folds"],
        probabilities=tensors["probabilities"].astype(np.float32),
        suspected=tensors["suspected"],
        duplicates=tuple(Pair(*one) for one in texts["duplicates"]),
        curve=tuple(CurvePoint(*one) for one in texts["curve"]),
        measures=measures,
        unknown=unknown,
    )
