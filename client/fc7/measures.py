"""How good a head is: figures with their 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval.

    Attributes
    ----------
    value : float
        The figure.
    low : float
        Lower end of the interval.
    high : float
        Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class UnknownScore:
    """How well one score refuses pictures of classes that a head was not trained on.

    Attributes
    ----------
    name : {"softmax", "energy", "neighbour"}
        The largest probability (Hendrycks & Gimpel 2017), the energy of the logits (Liu et al. 2020), or the cosine to
        the nearest training picture (Sun et al. 2022).
    unknown_refused : float
        Share of pictures of other classes that it refuses, where 95 % of the head's own are kept.
    auroc : float
        Chance that a picture of the head's classes scores above one of another class.
    """

    name: str
    unknown_refused: float
    auroc: float


@dataclass(frozen=True, slots=True)
class UnknownRule:
    """How a head tells pictures of none of its classes, and what refusing them costs.

    Attributes
    ----------
    score : {"softmax", "energy", "neighbour"}
        The score that refused most in validation.
    threshold : float
        A picture with a lower score is unknown.
    known_kept : float
        Share of pictures of its classes that it keeps, 0 to 1.
    unknown_refused : float
        Share of pictures of other classes that it refuses: measured by leaving out a fifth of the classes in turn.
    scores : list of UnknownScore
        All scores, best first.
    """

    score: str
    threshold: float
    known_kept: float
    unknown_refused: float
    scores: list[UnknownScore]


@dataclass(frozen=True, slots=True)
class HeadMeasures:
    """How good a head is. Every picture is predicted by a head that was fitted without it and without its copies.

    Attributes
    ----------
    count : int
        Number of pictures judged: all but those that carry two labels.
    accuracy : Estimate
        Share of right answers, 0 to 1.
    balanced_accuracy : Estimate
        Mean over the classes of the share of their pictures that is recognised, 0 to 1.
    top5 : Estimate or None
        Share of pictures whose class is among the five most probable. None for a head of up to five classes.
    log_loss : Estimate
        Mean negative logarithm of the probability of the right class, in nats.
    calibration_error : Estimate
        Mean distance between the probability of the answer and the share of right answers.
    majority_label : str
        The class with the most pictures.
    majority_accuracy : float
        Accuracy of always answering that class, on the same pictures.
    majority_p : float
        Probability of a difference at least as large if both were equally good (McNemar's exact test).
    """

    count: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    top5: Estimate | None
    log_loss: Estimate
    calibration_error: Estimate
    majority_label: str
    majority_accuracy: float
    majority_p: float
