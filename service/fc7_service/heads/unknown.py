"""None of these: a score that tells pictures of the head's classes from others, and what refusing costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7_service.heads.blocks import logits_in_blocks
from fc7_service.heads.fit import FittedHead
from fc7_service.heads.folds import NO_FOLD
from fc7_service.heads.methods import fit_method
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import StopCheck
from fc7_service.heads.unknown_rule import UnknownRule, UnknownScore
from fc7_service.heads.unknown_scores import neighbour_scores, score_logits

KNOWN_KEPT = 0.95  # share of known pictures that the threshold lets pass
_TURNS = 5  # a fifth of the classes is left out in each
_MOST_KNOWN_ROWS = 2000  # that the nearest neighbour is looked for among
_MOST_FITTED = 5000  # rows of each turn; with more, five fits would take longer than the head itself
SCORES = ("softmax", "energy", "neighbour")  # in the order in which each turn lists them


def choose_known_rows(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return which rows the nearest neighbour is looked for among: all of them, or 2,000 by hash."""
    keys = np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[8:16]) for name in groups], np.uint64)
    return np.sort(np.argsort(keys, kind="stable")[:_MOST_KNOWN_ROWS])


def find_unknown_rule(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    logits: NDArray[np.float32],
    temperature: float,
    known: NDArray[np.int64],
    fitted: FittedHead,
    check_stop: StopCheck,
) -> UnknownRule | None:
    """Choose the score that refuses most pictures of left-out classes; None for a head of two classes.

    A fifth of the classes is left out in turn. A head without them judges their pictures, and pictures of the other
    classes that it was not fitted on either.

    Parameters
    ----------
    features, y, folds
        Training rows, as for `judge`.
    logits
        float32 (N, C), out of fold, with all classes.
    temperature
        Of the head.
    known
        Rows among which the nearest neighbour is looked for.
    fitted
        The head of all rows: its method and strength are used.
    """
    n_classes = logits.shape[1]
    if n_classes < 3:
        return None
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    turns = []
    for turn in range(min(_TURNS, n_classes)):
        is_left_out = y % min(_TURNS, n_classes) == turn
        is_fitted = _some(~is_left_out & (folds != turn) & (folds != NO_FOLD))
        is_known = ~is_left_out & (folds == turn) & np.isin(y, y[is_fitted])
        if not is_known.any() or len(np.unique(y[is_fitted])) < 2:
            continue
        present = np.unique(y[is_fitted])
        numbers = np.searchsorted(present, y)  # only those of fitted rows mean something
        rows = StandardisedRows(features, numbers, len(present), check_stop, np.flatnonzero(is_fitted), fitted.weights)
        layer = next(fit_method(fitted.method, (fitted.strength,), rows, directions=fitted.directions))
        judged = np.flatnonzero(is_known | is_left_out)
        its_logits = logits_in_blocks(layer, features, judged, check_stop) / np.float32(temperature)
        near = neighbour_scores(features, mean, judged, known[is_fitted[known]])
        is_one_of_them = is_known[judged]
        turns.append(
            [
                (scores[is_one_of_them], scores[~is_one_of_them])
                for scores in (score_logits("softmax", its_logits), score_logits("energy", its_logits), near)
            ]
        )
    if not turns:
        return None
    measured = [_measure(name, [turn[i] for turn in turns]) for i, name in enumerate(SCORES)]
    best = max(measured, key=lambda one: one.unknown_refused)
    scores = _out_of_fold_scores(best.name, logits / np.float32(temperature), features, mean, folds, known)
    is_judged = folds != NO_FOLD
    kept = [
        scores[folds == fold] >= np.quantile(scores[is_judged & (folds != fold)], 1 - KNOWN_KEPT)
        for fold in np.unique(folds[is_judged])
    ]
    return UnknownRule(
        score=best.name,
        threshold=float(np.quantile(scores[is_judged], 1 - KNOWN_KEPT)),
        known_kept=float(np.concatenate(kept).mean()),
        unknown_refused=best.unknown_refused,
        scores=tuple(sorted(measured, key=lambda one: -one.unknown_refused)),
    )


def _some(is_chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the chosen rows are fitted: all of them, or 5,000 at random."""
    order = np.random.default_rng(0).permutation(len(is_chosen))
    kept = order[is_chosen[order]][:_MOST_FITTED]
    found = np.zeros(len(is_chosen), bool)
    found[kept] = True
    return found


def _measure(name: str, turns: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> UnknownScore:
    """Return the figures of one score, each turn with a threshold of its own."""
    refused = [unknown < np.quantile(known, 1 - KNOWN_KEPT) for known, unknown in turns]
    return UnknownScore(
        name=name,
        unknown_refused=float(np.concatenate(refused).mean()),
        auroc=float(np.mean([auroc(known, unknown) for known, unknown in turns])),
    )


def auroc(known: NDArray[np.float32], unknown: NDArray[np.float32]) -> float:
    """Return the chance that a known row scores above an unknown one; ties count half.

    References
    ----------
    Mann & Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the other".
    """
    unknown = np.sort(unknown)
    below = np.searchsorted(unknown, known, "left") + np.searchsorted(unknown, known, "right")
    return float(below.mean() / (2 * len(unknown)))


def _out_of_fold_scores(
    score: str,
    logits: NDArray[np.float32],
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    folds: NDArray[np.int8],
    known: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the score of every row by a head with all classes that was fitted without it."""
    if score != "neighbour":
        return score_logits(score, logits)
    scores = np.empty(len(folds), np.float32)
    for fold in np.unique(folds):
        others = known[(folds[known] != fold) & (folds[known] != NO_FOLD)]
        scores[folds == fold] = neighbour_scores(features, mean, np.flatnonzero(folds == fold), others)
    return scores
