"""GetHeadReport: what is known about a version of a head, as messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fc7.errors import Fc7Error
from fc7.v1 import head_pb2 as pb
from fc7_service.heads.comparison import Comparison, compare
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.judgement import Judgement
from fc7_service.heads.learning_curve import labels_for_one_point
from fc7_service.heads.measures import Estimate, Measures
from fc7_service.heads.registry import Heads
from fc7_service.heads.unknown_rule import UnknownRule

ROWS_PER_MESSAGE = 4096


def compare_with_published(heads: Heads, head: HeadVersion, judgement: Judgement) -> Comparison | None:
    """Compare a version with the published one; None if there is none, or it cannot be read or compared."""
    published = heads.published(head.name)
    if published in (0, head.version):
        return None
    try:
        other, its_judgement = heads.judgement(head.name, published)
    except Fc7Error:  # damaged or older than reports: the report about this version still stands
        return None
    return compare(judgement, head.classes, its_judgement, other.classes, published)


def write_report(facts: pb.Head, judgement: Judgement, other: Comparison | None) -> pb.HeadReport:
    """Return everything but the rows."""
    return pb.HeadReport(
        head=facts,
        suspected=judgement.suspected.tolist(),
        duplicates=[pb.NearDuplicate(**pair._asdict()) for pair in judgement.duplicates],
        curve=[pb.CurvePoint(count=point.n_labels, accuracy=point.accuracy) for point in judgement.curve],
        labels_for_one_point=labels_for_one_point(judgement.curve),
        published=None if other is None else pb.HeadComparison(**asdict(other)),
    )


def write_rows(judgement: Judgement, first: int) -> pb.JudgedRows:
    """Return up to ``ROWS_PER_MESSAGE`` rows."""
    part = slice(first, first + ROWS_PER_MESSAGE)
    probabilities, y = judgement.probabilities[part], judgement.y[part]
    answers, likely = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return pb.JudgedRows(
        rows=[
            pb.JudgedRow(
                id=judgement.ids[first + i],
                label=int(y[i]),
                predicted=int(answers[i]),
                probability=float(likely[i]),
                label_probability=float(probabilities[i, y[i]]),
                fold=int(judgement.folds[first + i]),
            )
            for i in range(len(y))
        ]
    )


def write_measures(measures: Measures) -> pb.HeadMeasures:
    """Return measures as a message."""
    values: dict[str, Any] = {name: getattr(measures, name) for name in Measures.__dataclass_fields__}
    for name, value in values.items():
        if isinstance(value, Estimate):
            values[name] = pb.Estimate(**asdict(value))
    return pb.HeadMeasures(**values)


def write_unknown_rule(rule: UnknownRule) -> pb.UnknownRule:
    """Return the rule for unknown pictures as a message."""
    return pb.UnknownRule(
        score=rule.score,
        threshold=rule.threshold,
        known_kept=rule.known_kept,
        unknown_refused=rule.unknown_refused,
        scores=[pb.UnknownScore(**asdict(score)) for score in rule.scores],
    )
