"""What a collection holds, seen as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MapMethod = Literal["pca", "tsne"]


@dataclass(frozen=True, slots=True)
class ItemMap:
    """Where the items of a collection lie in two dimensions.

    Attributes
    ----------
    ids : list of str
        Ids of the items.
    positions : NDArray[np.float32]
        (N, 2): along the two directions in which the features vary most, or where t-SNE places the items.
    shares : tuple of float
        Share of the variance that each of the two explains. Empty for t-SNE, whose axes mean nothing.
    values : list
        Per item, its value of the field that was named; None if it has none of the 64 most frequent ones.
    """

    ids: list[str]
    positions: NDArray[np.float32]
    shares: tuple[float, ...]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of a payload field occurs.

    Attributes
    ----------
    field : str
        The field.
    values : list of (value, int)
        Its most frequent values, the most frequent first, each with the number of items that have it. A value is text,
        a number or a boolean. Of a list, every element counts, once per item.
    count : int
        Number of items that have the field, and not null in it.
    left_out : int
        Number of different values beside `values`.
    uncounted : int
        Number of items with the field of which no value is counted: it is an object, or text of more than 256
        characters.
    """

    field: str
    values: list[tuple[Any, int]]
    count: int
    left_out: int
    uncounted: int


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Items that are the same or nearly so. Every pair of them is near enough.

    Attributes
    ----------
    ids : list of str
        Ids of the items, two or more, in the order in which they were first added.
    score : float
        Score of the least similar pair.
    same_content : bool
        Whether all items have the same bytes.
    """

    ids: list[str]
    score: float
    same_content: bool
