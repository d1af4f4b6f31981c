"""How many threads FAISS uses for a search."""

from __future__ import annotations

import faiss

from fc7.contract.cores import usable_cores

_FEW = 8  # queries: below, one thread each is fastest


def set_faiss_threads(n_queries: int) -> None:
    """Let FAISS use one thread for few queries, since calls run side by side, else all."""
    faiss.omp_set_num_threads(1 if n_queries < _FEW else usable_cores())
