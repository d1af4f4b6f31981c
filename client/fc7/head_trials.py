"""What comes out when heads are tried on pictures: two of them compared, one in the shadow, and a class counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fc7.errors import InvalidArgument
from fc7.evaluation import wilson_interval
from fc7.measures import Estimate
from fc7.searches import Hit

_DRAWS = 10_000  # of the posterior of a count


@dataclass(frozen=True, slots=True)
class DifferingAnswer:
    """A labelled picture on which two heads differ.

    Attributes
    ----------
    id : str
        Id of the item, or what the caller called the picture.
    label : str
        Its label.
    first, second : str
        Answers of the first and of the second head.
    first_probability, second_probability : float
        Their probabilities, 0 to 1.
    """

    id: str
    label: str
    first: str
    first_probability: float
    second: str
    second_probability: float


@dataclass(frozen=True, slots=True)
class ComparedHeads:
    """Two heads on the same labelled pictures.

    Attributes
    ----------
    first, second : str
        The heads, as NAME/VERSION.
    count : int
        Number of pictures that both answered.
    first_accuracy, second_accuracy : Estimate
        Shares of right answers, each with its 95 % interval (Wilson).
    only_first, only_second : int
        Pictures that the first head alone, or the second alone, answers right.
    p_value : float
        Probability of a difference at least as large if both were equally good (McNemar's exact test).
    n_differing : int
        Number of pictures on which the answers differ.
    differing : list of DifferingAnswer
        These pictures; of a collection at most 1000.
    trained_on : int
        Items that one of the heads was trained on, which flatters it. 0 for pictures that the caller sent: then nobody
        looks.
    unknown_labels : int
        Pictures with a label that one of the heads does not know. They are left out.
    failed : int
        Pictures that could not be read. They are left out.
    """

    first: str
    second: str
    count: int
    first_accuracy: Estimate
    second_accuracy: Estimate
    only_first: int
    only_second: int
    p_value: float
    n_differing: int
    differing: list[DifferingAnswer]
    trained_on: int = 0
    unknown_labels: int = 0
    failed: int = 0


def share(n: int, count: int) -> Estimate:
    """Return a share with its 95 % interval."""
    return Estimate(n / count, *wilson_interval(n, count))


def mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test, given how often only one of two heads is right.

    References
    ----------
    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; Dietterich 1998,
    "Approximate statistical tests for comparing supervised classification learning algorithms", section 3.1.
    """
    n = n_only_first + n_only_second
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(min(n_only_first, n_only_second) + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


@dataclass(frozen=True, slots=True)
class ShadowDifference:
    """A live picture on which the version in the shadow differed from the published one.

    Attributes
    ----------
    sha256 : str
        SHA-256 (hex) of the file, or of the pixels. The picture itself is not kept.
    time : str
        When it was answered: ISO 8601, UTC.
    published, shadow : list of (str, float)
        What each version said: up to three classes and their probabilities, best first.
    """

    sha256: str
    time: str
    published: list[tuple[str, float]]
    shadow: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that answers beside the published one, out of sight.

    Attributes
    ----------
    version : int
        The version in the shadow.
    share : float
        Share of the pictures of live calls that it answers.
    published_version : int
        The version that it was compared with. When another one is published, counting begins again.
    since : str
        When counting began: ISO 8601, UTC.
    count : int
        Number of pictures that both answered.
    agreed : int
        Number of pictures to which both gave the same class.
    passed_over : int
        Pictures that were drawn but not answered, because the server was too busy or the shadow could not answer.
    differing : list of ShadowDifference
        Pictures on which they differed, newest first; at most 200.
    problem : str
        Why the shadow could not answer, the last time. Empty if it always could.
    """

    version: int
    share: float
    published_version: int
    since: str
    count: int
    agreed: int
    passed_over: int
    differing: list[ShadowDifference]
    problem: str = ""

    @property
    def agreement(self) -> Estimate | None:
        """Share of pictures on which both agreed, with its 95 % interval; None before the first picture."""
        return share(self.agreed, self.count) if self.count else None


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items with a similar probability of a class, and some of them drawn at random.

    Attributes
    ----------
    low, high : float
        Least and greatest probability of the class.
    count : int
        Number of items.
    expected : float
        Number of items of the class, if the probabilities hold.
    drawn : list of Hit
        The items drawn. `Hit.score` is the probability of the class.
    """

    low: float
    high: float
    count: int
    expected: float
    drawn: list[Hit]


@dataclass(frozen=True, slots=True)
class ItemSample:
    """A stratified sample of the items of a collection. Once a person has checked it, `estimate` counts a class.

    Attributes
    ----------
    head : str
        The head, as NAME/VERSION.
    label : str
        The class.
    strata : list of Stratum
        By rising probability. Together they hold all items.
    """

    head: str
    label: str
    strata: list[Stratum]

    @property
    def drawn(self) -> list[Hit]:
        """The items to check, most probable first."""
        return [hit for stratum in reversed(self.strata) for hit in stratum.drawn]

    @property
    def count(self) -> int:
        """Number of items that the sample stands for."""
        return sum(stratum.count for stratum in self.strata)

    @property
    def expected(self) -> float:
        """Number of items of the class, if the probabilities of the head hold."""
        return sum(stratum.expected for stratum in self.strata)

    def estimate(self, answers: Mapping[str, bool]) -> Estimate:
        """Return how many items are of the class, with a 95 % interval.

        Parameters
        ----------
        answers
            Whether each item that was drawn is of the class, by id. Items without an answer count as not drawn.

        Raises
        ------
        InvalidArgument
            There is no answer to an item that was drawn.

        References
        ----------
        Cochran 1977, "Sampling Techniques", section 5.3 (the estimate); Brown, Cai & DasGupta 2001, "Interval
        estimation for a binomial proportion", section 3 (the prior of each stratum, after Jeffreys).
        """
        random = np.random.default_rng(0)
        total, value, n_answers = np.zeros(_DRAWS), 0.0, 0
        for stratum in self.strata:
            found = [answers[hit.id] for hit in stratum.drawn if hit.id in answers]
            n, yes = len(found), sum(found)
            shares = random.beta(yes + 0.5, n - yes + 0.5, _DRAWS)
            total += yes + random.binomial(stratum.count - n, shares)
            value += stratum.count * yes / n if n else stratum.expected
            n_answers += n
        if not n_answers:
            raise InvalidArgument("answers has no item that was drawn. Check some of them first", name="answers")
        low, high = (float(q) for q in np.quantile(total, (0.025, 0.975)))
        return Estimate(value, min(value, low), max(value, high))
