"""What every kind of index must do.

To add one: write ``index_NAME.py`` and give it a row in ``index_choice.py``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.scoring import ScoredRows


class Index(Protocol):
    """An immutable set of vectors that answers which of them are nearest.

    It is made from raw vectors (N, D), float16 or float32, N of at least 1, which it keeps and nobody may change, and
    from the metric that compares them.
    """

    def search(self, queries: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None) -> list[ScoredRows]:
        """Return the best rows of each query.

        Parameters
        ----------
        queries
            Prepared (see ``prepare``), (Q, D).
        k
            At least 1.
        alive
            (N,), False for rows that may not be answered; None if all may.

        Returns
        -------
        list of ScoredRows
            One entry per query: at least k positions, or all that are alive; never a position that is not alive.
        """
        ...
