"""Heads, and what they say about images and items."""

from __future__ import annotations

from dataclasses import dataclass, field

from fc7.errors import Fc7Error
from fc7.measures import HeadMeasures, UnknownRule
from fc7.results.features import Failure, Provenance


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """One version of a classifier that was trained on a model's features.

    Attributes
    ----------
    name : str
        Name of the head.
    version : int
        Versions count from 1.
    published_version : int
        Version that `Client.classify` uses; 0 if none is published.
    provenance : Provenance
        What made the features that it was trained on.
    classes : list of str
        Its classes, sorted.
    count : int
        Number of pictures that it was trained on.
    accuracy : float
        Share of right answers on the held-out pictures.
    held_out : int
        Number of held-out pictures.
    method : str
        How the kept classifier was fitted.
    seconds : float
        How long the fit took.
    weights_sha256 : str
        SHA-256 (hex) of the weights file.
    created : str
        ISO 8601, UTC.
    parent_version : int
        Version that was trained before it; 0 if there was none.
    majority_accuracy : float or None
        Accuracy on the held-out pictures if the answer were always the largest class.
    failed : list of Failure
        Images that this training left out.
    measures : HeadMeasures or None
        How good it is on all its pictures. None for heads trained before release 0.3.
    warnings : list of str
        What to know before trusting the head; empty if there is nothing.
    source : str
        Where the training data came from, as the caller named it.
    unknown : UnknownRule or None
        How it tells pictures of none of its classes. None for a head of two classes, or trained before release 0.3.
    refuses_unknown : bool
        Whether the published version refuses such pictures.
    """

    name: str
    version: int
    published_version: int
    provenance: Provenance
    classes: list[str]
    count: int
    accuracy: float
    held_out: int
    method: str
    seconds: float
    weights_sha256: str
    created: str
    parent_version: int
    majority_accuracy: float | None = None
    failed: list[Failure] = field(default_factory=list)
    measures: HeadMeasures | None = None
    warnings: list[str] = field(default_factory=list)
    source: str = ""
    unknown: UnknownRule | None = None
    refuses_unknown: bool = False

    def __repr__(self) -> str:
        return f"Head({self.name!r} version {self.version}, {len(self.classes)} classes, accuracy {self.accuracy:.3f})"


@dataclass(frozen=True, slots=True, repr=False)
class Classification:
    """The classes of one image, or the reason why there are none.

    Attributes
    ----------
    top : list of (str, float)
        Label and probability, best first; empty if the image failed.
    error : Fc7Error or None
        Why the image failed.
    reason : str
        "unknown" if the head refuses the image, because it looks like none of its classes; otherwise empty.
    set : list of (str, float)
        With ``coverage``: the classes that hold the right one with that probability, best first.
    also : list of Classification
        What each further head says, in the order of ``also``.
    """

    top: list[tuple[str, float]]
    error: Fc7Error | None = None
    reason: str = ""
    set: list[tuple[str, float]] = field(default_factory=list)
    also: list[Classification] = field(default_factory=list)

    @property
    def label(self) -> str | None:
        """Best class; None if the head refuses the image. Raises the image's error if it failed."""
        label, _ = self._best()
        return None if self.reason else label

    @property
    def probability(self) -> float:
        """Probability of the best class, 0 to 1. Raises the image's error if it failed."""
        return self._best()[1]

    def _best(self) -> tuple[str, float]:
        if self.error is not None:
            raise self.error
        return self.top[0]

    def __repr__(self) -> str:
        if self.error:
            return f"Classification({self.error!r})"
        return f"Classification({self.reason or self.label} {self.probability:.3f})"


@dataclass(frozen=True, slots=True)
class ClassifiedItem:
    """The class of an item of a collection.

    Attributes
    ----------
    id : str
        Id of the item.
    label : str or None
        Its class; None if the head refuses it.
    probability : float
        Probability of the most probable class, 0 to 1.
    reason : str
        "unknown" if the head refuses the item, because it looks like none of its classes; otherwise empty.
    error : Fc7Error or None
        Why the class was not written. None if it was, or if nothing was to be written.
    """

    id: str
    label: str | None
    probability: float
    reason: str = ""
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item to label next.

    Attributes
    ----------
    id : str
        Id of the item.
    reason : str
        Why: "margin", "typical", "diverse" or "random".
    label : str or None
        What the head says; None if there is no head yet.
    probability : float or None
        Its probability, 0 to 1.
    """

    id: str
    reason: str
    label: str | None = None
    probability: float | None = None
