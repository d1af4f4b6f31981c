"""Two versions of a head on the same pictures."""

from __future__ import annotations

from dataclasses import dataclass

from fc7_service.heads.folds import NO_FOLD
from fc7_service.heads.judgement import Judgement
from fc7_service.heads.measures import mcnemar


@dataclass(frozen=True, slots=True)
class Comparison:
    """How often each of two versions is right about the pictures that both were trained on."""

    version: int  # the other one
    count: int  # pictures in common
    accuracy: float
    other_accuracy: float
    only_this: int  # pictures that this version alone answers right
    only_other: int
    p_value: float  # chance of a difference at least as large if both were equally good


def compare(
    ours: Judgement, our_classes: tuple[str, ...], theirs: Judgement, their_classes: tuple[str, ...], version: int
) -> Comparison | None:
    """Compare out-of-fold predictions, picture by picture; None if no picture is in both trainings.

    A picture is found by its content. The label is that of the newer training, ``ours``.
    """
    answers = theirs.probabilities.argmax(axis=1).tolist()
    their_answer = {
        content: their_classes[answer]
        for content, answer, fold in zip(theirs.contents, answers, theirs.folds.tolist(), strict=True)
        if fold != NO_FOLD
    }
    n_both = n_this = n_other = count = 0
    our_answers = ours.probabilities.argmax(axis=1).tolist()
    for content, label, answer, fold in zip(
        ours.contents, ours.y.tolist(), our_answers, ours.folds.tolist(), strict=True
    ):
        if fold == NO_FOLD or content not in their_answer:
            continue
        is_ours, is_theirs = answer == label, their_answer[content] == our_classes[label]
        count += 1
        n_both += is_ours and is_theirs
        n_this += is_ours and not is_theirs
        n_other += is_theirs and not is_ours
    if not count:
        return None
    return Comparison(
        version=version,
        count=count,
        accuracy=(n_both + n_this) / count,
        other_accuracy=(n_both + n_other) / count,
        only_this=n_this,
        only_other=n_other,
        p_value=mcnemar(n_this, n_other),
    )
