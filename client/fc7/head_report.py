"""What is known about a version of a head: its predictions for every training picture, and what follows from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from fc7.errors import FailedPrecondition
from fc7.evaluation import Evaluation, evaluate
from fc7.measures import HeadMeasures
from fc7.results import Head

_N_BINS = 15  # of the reliability diagram, as for the calibration error


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A picture that a head was trained on, and what a head that was fitted without it says about it.

    Attributes
    ----------
    id : str
        What the caller called the picture.
    label : str
        Its label.
    predicted : str
        The answer.
    probability : float
        Probability of the answer, 0 to 1.
    label_probability : float
        Probability of the label, 0 to 1.
    fold : int
        Part of the split; 0 is held out while the method is chosen. -1 for a picture that carries two labels.
    """

    id: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    fold: int


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two pictures of different classes that are almost the same.

    Attributes
    ----------
    first, second : JudgedRow
        The pictures.
    similarity : float
        Cosine of their features, each minus the mean of all.
    """

    first: JudgedRow
    second: JudgedRow
    similarity: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of a learning curve.

    Attributes
    ----------
    count : int
        Number of labelled pictures.
    accuracy : float
        Share of right answers on pictures that took no part.
    """

    count: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Two versions of a head on the pictures that both were trained on.

    Attributes
    ----------
    version : int
        The other version.
    count : int
        Number of pictures in common.
    accuracy, other_accuracy : float
        Accuracy of this version and of the other one on them.
    only_this, only_other : int
        Pictures that this version alone, or the other one alone, answers right.
    p_value : float
        Probability of a difference at least as large if both were equally good (McNemar's exact test).
    """

    version: int
    count: int
    accuracy: float
    other_accuracy: float
    only_this: int
    only_other: int
    p_value: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose probability lies in one range.

    Attributes
    ----------
    count : int
        Number of answers.
    probability : float
        Their mean probability.
    accuracy : float
        Share of them that is right.
    """

    count: int
    probability: float
    accuracy: float


@dataclass(frozen=True, slots=True, repr=False)
class HeadReport:
    """What is known about a version of a head.

    Attributes
    ----------
    head : Head
        The version.
    rows : list of JudgedRow
        The pictures that it was trained on.
    suspected : list of JudgedRow
        Those whose labels are probably wrong, most suspicious first (confident learning, Northcutt et al. 2021).
    duplicates : list of NearDuplicate
        Pictures of different classes that are almost the same, most similar first.
    curve : list of CurvePoint
        Accuracy of heads that were fitted on fewer labels.
    labels_for_one_point : int or None
        About how many more labels raise the accuracy by one point. None if the curve does not tell.
    published : HeadComparison or None
        The same against the published version. None if there is none to compare with.
    """

    head: Head
    rows: list[JudgedRow]
    suspected: list[JudgedRow]
    duplicates: list[NearDuplicate]
    curve: list[CurvePoint]
    labels_for_one_point: int | None
    published: HeadComparison | None

    def __repr__(self) -> str:
        return f"HeadReport({self.head.name!r} version {self.head.version}, {len(self.rows)} pictures)"

    @property
    def measures(self) -> HeadMeasures:
        """How good the head is."""
        if self.head.measures is None:
            raise FailedPrecondition("the server sent a report without measures. Upgrade the server")
        return self.head.measures

    @property
    def judged(self) -> list[JudgedRow]:
        """The pictures that count: all but those that carry two labels."""
        return [row for row in self.rows if row.fold >= 0]

    @property
    def contradictions(self) -> list[JudgedRow]:
        """The pictures that carry two labels."""
        return [row for row in self.rows if row.fold < 0]

    @property
    def mistakes(self) -> list[JudgedRow]:
        """The pictures with a wrong answer, most confident first."""
        return sorted((row for row in self.judged if row.predicted != row.label), key=lambda row: -row.probability)

    def evaluate(self) -> Evaluation:
        """Return the figures per class and the confusions."""
        return evaluate([row.label for row in self.judged], [row.predicted for row in self.judged])

    def confused(self) -> dict[tuple[str, str], list[JudgedRow]]:
        """Return the pictures behind each cell of the confusion matrix, by label and answer, most confident first."""
        cells: defaultdict[tuple[str, str], list[JudgedRow]] = defaultdict(list)
        for row in sorted(self.judged, key=lambda row: -row.probability):
            cells[row.label, row.predicted].append(row)
        return dict(cells)

    def reliability(self) -> list[ReliabilityBin]:
        """Return how often answers of each probability are right, over 15 equal ranges, without the empty ones.

        References
        ----------
        Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 2.
        """
        bins: defaultdict[int, list[JudgedRow]] = defaultdict(list)
        for row in self.judged:
            bins[min(int(row.probability * _N_BINS), _N_BINS - 1)].append(row)
        return [
            ReliabilityBin(
                count=len(rows),
                probability=sum(row.probability for row in rows) / len(rows),
                accuracy=sum(row.predicted == row.label for row in rows) / len(rows),
            )
            for _, rows in sorted(bins.items())
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values for JSON."""
        evaluation = self.evaluate()
        return {
            "name": self.head.name,
            "version": self.head.version,
            "source": self.head.source,
            "classes": self.head.classes,
            "measures": asdict(self.measures),
            "warnings": self.head.warnings,
            "per_class": [asdict(score) for score in evaluation.classes],
            "confusions": [asdict(pair) for pair in evaluation.confusions],
            "reliability": [asdict(one) for one in self.reliability()],
            "curve": [asdict(point) for point in self.curve],
            "labels_for_one_point": self.labels_for_one_point,
            "suspected": [asdict(row) for row in self.suspected],
            "duplicates": [asdict(pair) for pair in self.duplicates],
            "contradictions": [asdict(row) for row in self.contradictions],
            "unknown": None if self.head.unknown is None else asdict(self.head.unknown),
            "published": None if self.published is None else asdict(self.published),
            "rows": [asdict(row) for row in self.rows],
        }
