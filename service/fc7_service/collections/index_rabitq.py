"""The index for large collections: RaBitQ codes find candidates, which the stored vectors rank exactly.

References
----------
Gao and Long 2024, RaBitQ (arXiv 2405.12497).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.faiss_threads import set_faiss_threads
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ScoredRows, exact_scores, prepare_vectors, scan

_BLOCK = 8192  # rows prepared at once
_TRAINING_ROWS = 20_000  # training the codes only takes the mean
_CANDIDATES, _CANDIDATES_PER_K = 100, 10  # recall@10 of 0.995 and more (bench/index_kinds.py)
_BITS: dict[Metric, int] = {"cosine": 1, "l2": 1, "dot": 2}  # dot with 1 bit: recall 0.965, with 2: 0.9995
_SCAN_SHARE = 4  # with more than a quarter of the rows as candidates, comparing all is as fast


class RaBitQ:
    """FAISS RaBitQ over the full dimension; the raw vectors stay in memory as they are stored, mostly fp16."""

    def __init__(self, vectors: NDArray[Any], metric: Metric) -> None:
        self._vectors, self._metric = vectors, metric
        kind = faiss.METRIC_INNER_PRODUCT if metric == "dot" else faiss.METRIC_L2  # cosine: the same order, unit length
        self._codes = faiss.IndexRaBitQ(vectors.shape[1], kind, _BITS[metric])
        step = -(-len(vectors) // _TRAINING_ROWS)
        self._codes.train(prepare_vectors(vectors[::step], metric))
        for block in self._blocks():
            self._codes.add(block)

    def search(self, queries: NDArray[np.float32], k: int, alive: NDArray[np.bool_]) -> list[ScoredRows]:
        """Return the best candidates of each query with their exact scores."""
        wide = max(_CANDIDATES, _CANDIDATES_PER_K * k)
        n_alive = int(np.count_nonzero(alive))
        if wide * _SCAN_SHARE > n_alive:
            return scan(self._blocks(), queries, k, alive, self._metric)
        set_faiss_threads(len(queries))
        bits = np.packbits(alive, bitorder="little")
        is_alive = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        only_alive = faiss.RaBitQSearchParameters()
        only_alive.qb, only_alive.sel = self._codes.qb, is_alive
        _, found = self._codes.search(queries, wide, params=None if n_alive == len(alive) else only_alive)
        return [
            (rows, exact_scores(prepare_vectors(self._vectors[rows], self._metric), query, self._metric))
            for query, rows in zip(queries, found, strict=True)
        ]

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self._vectors), _BLOCK):
            yield prepare_vectors(self._vectors[start : start + _BLOCK], self._metric)
