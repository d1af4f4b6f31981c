"""What every kind of index must do.

To add one: write ``index_NAME.py`` and give it a row in ``index_choice.py``.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ScoredRows


class Index(Protocol):
    """An immutable set of vectors that answers which of them are nearest.

    Parameters
    ----------
    vectors
        Raw, (N, D) float16 or float32, N of at least 1; kept, not to be changed.
    metric
        How they are compared.
    """

    def __init__(self, vectors: NDArray[Any], metric: Metric) -> None: ...

    def search(self, queries: NDArray[np.float32], k: int, alive: NDArray[np.bool_]) -> list[ScoredRows]:
        """Return the best rows of each query.

        Parameters
        ----------
        queries
            Prepared (see ``prepare``), (Q, D).
        k
            At least 1.
        alive
            (N,); rows that may be answered.

        Returns
        -------
        list of ScoredRows
            One entry per query: at least k positions, or all that are alive; never a position that is not alive.
        """
        ...
