"""What every kind of index must do.

To add one: write ``index_NAME.py`` and give it a row in ``index_choice.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.scoring import ScoredRows

USUAL_DEVIATIONS = 3.0  # a row of the answer is missed in about one case of a thousand


@dataclass(slots=True)
class Work:
    """How hard an index is to search; it adds up what it did."""

    is_exact: bool = False  # compare every vector that may be answered
    deviations: float = USUAL_DEVIATIONS  # of the error bound within which candidates are compared
    n_vectors: int = 0  # vectors that were compared with a query, over all queries
    n_codes: int = 0  # short codes that were compared with a query, over all queries


class Index(Protocol):
    """An immutable set of vectors that answers which of them are nearest.

    It is made from raw vectors (N, D), float16 or float32, N of at least 1, which it keeps and nobody may change, and
    from the metric that compares them.
    """

    def search(
        self, queries: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None, work: Work | None = None
    ) -> list[ScoredRows]:
        """Return the best rows of each query.

        Parameters
        ----------
        queries
            Prepared (see ``prepare``), (Q, D).
        k
            At least 1.
        alive
            (N,), False for rows that may not be answered; None if all may.
        work
            How hard to search; what was done is added to it. Defaults to as hard as usual.

        Returns
        -------
        list of ScoredRows
            One entry per query: at least k positions, or all that are alive; never a position that is not alive.
        """
        ...
