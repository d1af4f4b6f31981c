"""How often predictions are right: accuracy with its interval, scores per class, and confused classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959964  # quantile of the normal distribution for a 95 % interval


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How often one class was predicted correctly.

    Attributes
    ----------
    label : str
        The class.
    precision : float or None
        Share of the predictions of this class that are right. None if it was never predicted.
    recall : float or None
        Share of the class's pictures that were recognised. None if there are none.
    support : int
        Number of pictures of the class.
    """

    label: str
    precision: float | None
    recall: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pictures of one class that were taken for another class.

    Attributes
    ----------
    label : str
        The true class.
    predicted : str
        The predicted class.
    count : int
        Number of pictures.
    """

    label: str
    predicted: str
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a list of predictions is.

    Attributes
    ----------
    count : int
        Number of pictures.
    accuracy : float
        Share of right predictions.
    interval : tuple of float
        95 % interval of the accuracy.
    majority_label : str
        Largest class.
    majority_accuracy : float
        Accuracy if the answer were always the largest class.
    classes : list of ClassScore
        One per class, sorted by label.
    confusions : list of Confusion
        Most frequent first.
    """

    count: int
    accuracy: float
    interval: tuple[float, float]
    majority_label: str
    majority_accuracy: float
    classes: list[ClassScore]
    confusions: list[Confusion]


def evaluate(labels: Sequence[str], predicted: Sequence[str]) -> Evaluation:
    """Compare predictions with the true classes.

    Parameters
    ----------
    labels
        True classes, at least one.
    predicted
        Predicted classes, one per label.

    References
    ----------
    Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference (the interval).
    """
    pairs = Counter(zip(labels, predicted, strict=True))
    support, answers = Counter(labels), Counter(predicted)
    n_right = sum(count for (label, answer), count in pairs.items() if label == answer)
    largest, most = min(support.items(), key=lambda entry: (-entry[1], entry[0]))
    wrong = [(*pair, count) for pair, count in pairs.items() if pair[0] != pair[1]]
    return Evaluation(
        count=len(labels),
        accuracy=n_right / len(labels),
        interval=wilson_interval(n_right, len(labels)),
        majority_label=largest,
        majority_accuracy=most / len(labels),
        classes=[
            ClassScore(
                label,
                precision=pairs[label, label] / answers[label] if answers[label] else None,
                recall=pairs[label, label] / support[label] if support[label] else None,
                support=support[label],
            )
            for label in sorted(support.keys() | answers.keys())
        ],
        confusions=[Confusion(*entry) for entry in sorted(wrong, key=lambda entry: (-entry[2], entry[:2]))],
    )


def wilson_interval(n_right: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share, given that ``n_right`` of ``count`` were right.

    References
    ----------
    Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    share, weight = n_right / count, _Z**2 / count
    middle = share + weight / 2
    half = _Z * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    # The formula gives exactly 0 and 1 at the ends; floating-point numbers miss them by a little.
    low = 0.0 if n_right == 0 else (middle - half) / (1 + weight)
    high = 1.0 if n_right == count else (middle + half) / (1 + weight)
    return low, high
