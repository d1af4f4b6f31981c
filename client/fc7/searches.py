"""What a search asks for, and its answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import InvalidArgument
from fc7.features import Features
from fc7.filters import Where
from fc7.images import ImageLike
from fc7.results import Recall


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Something to look for, or to keep away from: an image, a stored item or a feature.

    Attributes
    ----------
    image : ImageLike or None
        An image. See `Client.extract`.
    id : str or None
        Instead: the id of a stored item. The answer leaves it out.
    features : Features or None
        Instead: features of one row.
    weight : float
        How much the example counts. A negative weight keeps away from it.
    crop : (float, float, float, float) or None
        The part of the image that counts: left, top, right and bottom, in fractions of its width and height. Defaults
        to all of it.

    Raises
    ------
    InvalidArgument
        It is not exactly one of image, id and features, or a crop comes without an image.
    """

    image: ImageLike | None = None
    id: str | None = field(default=None, kw_only=True)
    features: Features | None = field(default=None, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    crop: tuple[float, float, float, float] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.image, self.id, self.features)) != 1:
            raise InvalidArgument("an example takes exactly one of image, id= and features=", name="examples")
        if self.features is not None and len(self.features) != 1:
            raise InvalidArgument(
                f"features has {len(self.features)} rows. An example takes one row: features[i]", name="features"
            )
        if self.crop is not None and (self.image is None or len(self.crop) != 4):
            raise InvalidArgument(
                "a crop has four numbers, left, top, right and bottom, and belongs to an image", name="crop"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything that a search asks for, except its queries.

    Attributes
    ----------
    k : int
        How many items to return per query, at least 1.
    offset : int
        How many of the nearest items to pass over first.
    where : Filter, str, dict or None
        Search only among the items that match this filter. See `Collection.search`.
    min_score : float or None
        Leave out items with a lower score.
    max_rarity : float or None
        Leave out items that are not as rare: random pairs of items are at least as near more often than this share.
    group_by : str
        Field of the payload. ``k`` and ``offset`` then count groups of items that have the same value in it, at most
        1000 together. The groups come one after the other, each with its nearest items. Items in which the field is
        absent, a list or a dictionary are left out.
    group_size : int
        How many items to return per group.
    diversity : float
        0 returns the nearest items. Above 0, up to 1, each next item is chosen among the 200 nearest: near to the
        query, and unlike the items before it (maximal marginal relevance). ``k`` and ``offset`` are then at most 200
        together.
    exclude : iterable of str
        Ids of items to leave out, at most 1000.
    exact : bool
        Compare every vector, instead of asking an index that may miss some.
    payload_fields : sequence of str or None
        Return only these fields of the payloads; none of them if it is empty. Defaults to the whole payloads.
    with_features : bool
        Return the features too.
    with_rarity : bool
        Return the rarity of each item.
    with_recall : bool
        Say in the report how many of the true neighbours recent queries have found.
    """

    k: int = 10
    offset: int = 0
    where: Where | None = None
    min_score: float | None = None
    max_rarity: float | None = None
    group_by: str = ""
    group_size: int = 1
    diversity: float = 0.0
    exclude: Iterable[str] = ()
    exact: bool = False
    payload_fields: Sequence[str] | None = None
    with_features: bool = False
    with_rarity: bool = False
    with_recall: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour of a query.

    Attributes
    ----------
    id : str
        Id of the item.
    score : float
        A larger score is nearer. Cosine: 1 for the same direction. L2: minus the distance. Dot: the product.
    payload : dict
        JSON object that the caller attached to the item, or the fields of it that were asked for.
    feature : NDArray[np.float32] or None
        (D,), as it was extracted. None unless it was asked for.
    group : str, float, int, bool or None
        Value of the field by which the items were grouped. None unless `Search.group_by` is given.
    rarity : float or None
        Share of random pairs of the collection's items that are at least as near. None unless it was asked for.
    """

    id: str
    score: float
    payload: dict[str, Any]
    feature: NDArray[np.float32] | None = field(default=None, compare=False)
    rarity: float | None = None
    group: Any = None


@dataclass(frozen=True, slots=True)
class SearchReport:
    """How a call was answered. A call may hold several queries, and the numbers are sums over them.

    Attributes
    ----------
    index : str
        Index that answered: "exact" or "rabitq". Empty if the server is older than 0.3 and does not say.
    vectors_compared : int
        Number of stored vectors that were compared with a query.
    codes_compared : int
        Number of short codes, which stand for vectors, that were compared with a query.
    seconds : dict of str to float
        Time of each stage: "read" the queries and extract their images, "filter", "search" the index, and "load" the
        items that were found.
    extraction : Timing
        Where the time of extracting images went.
    rarity_pairs : int
        Number of random pairs behind the rarities; 0 if none were asked for. No rarity below ``1 / rarity_pairs`` can
        be told.
    recall : Recall or None
        How many of the true neighbours recent queries have found. None unless it was asked for, or if it was not
        measured.
    damaged : int
        Number of items of the collection that the server found damaged, and so could not answer.
    """

    index: str = ""
    vectors_compared: int = 0
    codes_compared: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    extraction: Timing = field(default_factory=Timing)
    rarity_pairs: int = 0
    recall: Recall | None = None
    damaged: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, for JSON."""
        return {
            "index": self.index,
            "vectors_compared": self.vectors_compared,
            "codes_compared": self.codes_compared,
            "rarity_pairs": self.rarity_pairs,
            "recall": None if self.recall is None else asdict(self.recall),
            "damaged": self.damaged,
            "seconds": self.seconds
            | {
                "decode": self.extraction.decode_s,
                "queue": self.extraction.queue_s,
                "compute": self.extraction.compute_s,
            },
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score that few random pairs of items reach.

    Attributes
    ----------
    min_score : float
        The lowest such score.
    pairs : int
        Number of pairs that were compared. No share below ``1 / pairs`` can be told.
    complete : bool
        Whether these are all pairs, rather than a random sample.
    count : int
        Number of items at the time.
    commit : int
        Number of the collection's commit at the time.
    """

    min_score: float
    pairs: int
    complete: bool
    count: int
    commit: int


class Hits(list[Hit]):
    """The neighbours of one query, nearest first: a list of `Hit`.

    Attributes
    ----------
    report : SearchReport
        How the call was answered that held this query.
    """

    def __init__(self, hits: Iterable[Hit], report: SearchReport) -> None:
        super().__init__(hits)
        self.report = report
