"""What a search asks for, and what it answers: values that the rooms above make and read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Comparison, Filter
from fc7.errors import InvalidArgument, ResourceExhausted
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import prepare_vectors

MOST_HITS = 100_000  # of one call, those that are passed over included
MOST_EXCLUDED = 1000  # ids
MOST_EXAMPLES = 256  # of one query
MOST_GROUPS = 1000  # of one query, those that are passed over included
DIVERSE_POOL = 200  # nearest rows from which a diverse choice is made


@dataclass(frozen=True, slots=True)
class Example:
    """A vector to look for, or to keep away from."""

    vector: NDArray[np.float32]  # (D,), raw
    weight: float = 1.0  # negative to keep away from it


@dataclass(frozen=True, slots=True)
class Query:
    """One query: a vector, and the ids of the stored items that it was made from."""

    vector: NDArray[np.float32]  # (D,), raw
    own_ids: tuple[str, ...] = ()  # its answer leaves them out


@dataclass(frozen=True, slots=True)
class Search:
    """Everything that one search asks for, except its queries.

    Raises
    ------
    InvalidArgument
        A value breaks a rule.
    ResourceExhausted
        More is asked for than one call may ask for.
    """

    k: int = 10  # neighbours per query
    offset: int = 0  # nearest neighbours that are passed over first
    where: Filter | None = None  # which items to search among
    min_score: float | None = None  # neighbours with a lower score are left out
    excluded_ids: tuple[str, ...] = ()
    max_rarity: float | None = None  # neighbours that are not as rare are left out
    has_rarity: bool = False  # whether to return the rarity of each neighbour
    group_by: str = ""  # field of the payload: k and offset then count groups of items that have the same value
    group_size: int = 1  # items per group
    diversity: float = 0.0  # 0 takes the nearest; 1 takes what is least like the neighbours taken before
    is_exact: bool = False  # compare every vector
    payload_fields: tuple[str, ...] | None = None  # which fields to return; None: whole payloads
    has_features: bool = False  # whether to return the features

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidArgument(f"k must be at least 1 (got {self.k})", name="k")
        if self.offset < 0:
            raise InvalidArgument(f"offset must be at least 0 (got {self.offset})", name="offset")
        if self.offset > MOST_HITS:
            raise ResourceExhausted(
                f"offset must be at most {MOST_HITS} (got {self.offset}). Narrow the search with a filter",
                name="offset",
            )
        if self.min_score is not None and math.isnan(self.min_score):
            raise InvalidArgument("min_score must be a number (got nan)", name="min_score")
        if self.group_by:
            Comparison(self.group_by, "exists")  # refuses what is no field
            if self.group_size < 1:
                raise InvalidArgument(f"group_size must be at least 1 (got {self.group_size})", name="group_size")
            if self.offset + self.k > MOST_GROUPS or self.group_size > MOST_GROUPS:
                raise InvalidArgument(
                    f"group_size, and offset and k together, must be at most {MOST_GROUPS} with group_by "
                    f"(got {self.group_size}, and {self.offset} + {self.k})",
                    name="group_by",
                )
            if self.diversity:
                raise InvalidArgument("group_by and diversity exclude each other. Give one of them", name="diversity")
        if not 0 <= self.diversity <= 1:
            raise InvalidArgument(f"diversity must be 0 to 1 (got {self.diversity:g})", name="diversity")
        if self.diversity and self.offset + self.k > DIVERSE_POOL:
            raise InvalidArgument(
                f"with diversity, offset and k together must be at most {DIVERSE_POOL} (got {self.offset} + {self.k}), "
                "because it chooses among as many items",
                name="diversity",
            )
        if len(self.excluded_ids) > MOST_EXCLUDED:
            raise InvalidArgument(
                f"excluded_ids has {len(self.excluded_ids)} ids, but the limit is {MOST_EXCLUDED}. Exclude more items "
                "with a filter",
                name="excluded_ids",
            )


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour."""

    id: str
    score: float  # larger is nearer: cosine, minus the Euclidean distance, or the inner product
    payload: dict[str, Any]  # or the fields of it that were asked for
    vector: NDArray[np.float32] | None = field(default=None, compare=False)  # (D,), raw; None unless it was asked for
    group: Any = None  # the value of the field by which items were grouped
    rarity: float | None = None  # share of random pairs of items that are at least as near; None unless asked for


@dataclass(slots=True)
class SearchReport:
    """How a call was answered, summed over its queries."""

    index: str = ""  # the kind that answered
    n_vectors: int = 0  # stored vectors that were compared with a query
    n_codes: int = 0  # short codes that were compared with a query
    n_pairs: int = 0  # random pairs behind rarities; 0 if none were asked for
    n_damaged: int = 0  # items that were found damaged, and so could not be answered
    filter_s: float = 0.0
    search_s: float = 0.0
    load_s: float = 0.0

    def __iadd__(self, other: SearchReport) -> SearchReport:
        self.index, self.n_pairs, self.n_damaged = other.index, other.n_pairs, other.n_damaged
        for name in ("n_vectors", "n_codes", "filter_s", "search_s", "load_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


def combine(examples: Sequence[Example], metric: Metric) -> NDArray[np.float32]:
    """Return the vector (D,) whose neighbours are those of all examples together.

    Items rank by their similarity to each example, times its weight, summed up. For cosine, ``sum w cos(x, e)`` is
    ``<x, sum w e/|e|>`` for x of length 1; for the inner product it is ``<x, sum w e>``; and ``sum w |x-e|^2`` ranks
    like ``|x-m|^2``, where m is the mean of the examples by weight. So one vector stands for all. With one mean for
    the positive and one for the negative examples, this is the formula of Rocchio.

    Raises
    ------
    InvalidArgument
        A weight is 0 or not finite, the examples cancel out, or the weights of a distance do not sum to more than 0.

    References
    ----------
    Rocchio 1971, Relevance feedback in information retrieval; Manning, Raghavan and Schütze 2008, section 9.1.1.
    """
    for example in examples:
        if example.weight == 0 or not math.isfinite(example.weight):
            raise InvalidArgument(f"a weight must be finite and not 0 (got {example.weight})", name="weight")
    first = examples[0]
    if len(examples) == 1 and first.weight > 0 and (metric != "dot" or first.weight == 1):
        return first.vector
    weights = np.array([example.weight for example in examples])
    if metric == "l2":
        if weights.sum() <= 0:
            raise InvalidArgument(
                f"with the metric l2, the weights must sum to more than 0 (got {weights.sum():g})", name="weight"
            )
        weights = weights / weights.sum()
    vectors = np.stack([example.vector for example in examples])
    rows = prepare_vectors(vectors, metric).astype(np.float64)  # of length 1 for cosine
    combined = weights @ rows
    if metric == "cosine" and np.linalg.norm(combined) <= 1e-6 * np.abs(weights).max():
        raise InvalidArgument("the examples cancel out, so no direction is left. Change a weight", name="weight")
    return combined.astype(np.float32)
