"""The rule by which a head refuses pictures of none of its classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnknownScore:
    """How well one score refuses pictures of classes that a head was not trained on."""

    name: str  # "softmax", "energy" or "neighbour"
    unknown_refused: float  # share, where 95 % of the known pictures are kept
    auroc: float  # chance that a known picture scores above an unknown one


@dataclass(frozen=True, slots=True)
class UnknownRule:
    """Which pictures a head refuses, and what that costs. A picture below the threshold is unknown."""

    score: str  # the name of the best score
    threshold: float
    known_kept: float  # share of known pictures that are not refused, each judged by a threshold of other pictures
    unknown_refused: float  # share of pictures of left-out classes that are refused
    scores: tuple[UnknownScore, ...]  # all of them, best first
