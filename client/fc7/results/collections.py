"""What is known about a whole collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fc7.results.features import Provenance

Metric = Literal["cosine", "l2", "dot"]


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall@10: how many of the ten nearest items the index of a collection finds.

    Attributes
    ----------
    value : float
        Share of the true neighbours that were found, 0 to 1.
    low, high : float
        Its 95 % interval (Wilson).
    queries : int
        Number of recent queries that were compared with exact search. 0 if the index compares every vector and cannot
        miss any.
    """

    value: float
    low: float
    high: float
    queries: int


@dataclass(repr=False, eq=False)
class CollectionFacts:
    """What the server last said about a collection.

    Attributes
    ----------
    name : str
        Name of the collection.
    count : int
        Number of items, as of the last answer.
    provenance : Provenance
        What made its features.
    metric : {"cosine", "l2", "dot"}
        How features are compared.
    dim : int
        Length of a feature.
    index : str
        "exact" or "rabitq".
    fault : str
        Why the collection was set aside; empty if it works.
    damaged : int
        Number of items that the server found damaged. Searches and lists leave them out, and adding such an item again
        repairs it.
    damaged_ids : list of str
        Their ids, as far as they can be read, at most 1000. A list of collections does not have them.
    versions : dict
        Versions of the libraries behind the newest items. Empty if they are not known, or in a list of collections.
    recall : Recall or None
        How many of the true neighbours recent queries have found. None if it was not measured, or in a list of
        collections.
    recall_target : float or None
        Recall that the collection asks of its index. None if none was set, or in a list of collections.
    """

    name: str
    count: int
    provenance: Provenance
    metric: Metric
    dim: int
    index: str
    fault: str
    damaged: int = field(default=0, kw_only=True)
    damaged_ids: list[str] = field(default_factory=list, kw_only=True)
    versions: dict[str, str] = field(default_factory=dict, kw_only=True)
    recall: Recall | None = field(default=None, kw_only=True)
    recall_target: float | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        known = f"{self.count} items, {self.metric}" if self.dim else "not asked for"
        state = f"damaged: {self.fault}" if self.fault else known
        return f"{type(self).__name__}({self.name!r}, {state})"
