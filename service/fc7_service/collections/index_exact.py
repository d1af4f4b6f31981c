"""The index for small collections: compares every vector, on the CPU or, with faiss-gpu, on the GPU."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.faiss_threads import set_faiss_threads
from fc7_service.collections.index import Work
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ScoredRows, exact_scores, prepare_vectors, scan

_SLACK = 16  # rows fetched beyond k, so that neither rounding nor short ties decide
_WIDEST = 1024  # most rows to fetch from FAISS; for more, a scan is as fast
_FEWEST_FOR_SCAN = 4  # queries; from here one matrix product beats FAISS on the CPU (bench/search.py)

_log = logging.getLogger(__name__)


class Exact:
    """FAISS Flat over float32. On the CPU, batches are one matrix product over the same memory.

    It is placed on a GPU only if ``may_use_gpu`` and there is one with room.
    """

    def __init__(self, vectors: NDArray[Any], metric: Metric, *, may_use_gpu: bool = False) -> None:
        self._metric = metric
        self._rows = prepare_vectors(vectors, metric)
        n, dim = self._rows.shape
        flat = (faiss.IndexFlatL2 if metric == "l2" else faiss.IndexFlatIP)(dim)
        on_gpu = _GPU.place(flat, self._rows) if may_use_gpu else None
        self._is_on_gpu = on_gpu is not None
        self._flat = on_gpu or flat
        self._lock = _GPU.lock if self._is_on_gpu else contextlib.nullcontext()
        if self._is_on_gpu:
            weakref.finalize(self, _GPU.give_back, self._rows.nbytes)
        else:
            flat.add(self._rows)
            self._rows = faiss.rev_swig_ptr(flat.get_xb(), n * dim).reshape(n, dim)  # FAISS's own copy, not a second

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        alive: NDArray[np.bool_] | None = None,
        work: Work | None = None,
    ) -> list[ScoredRows]:
        """Return the k best of each query, and what ties with them."""
        n = len(self._rows)
        n_dead = 0 if alive is None else n - int(np.count_nonzero(alive))
        if work:
            work.n_vectors += n * len(queries)
        wide = min(k + _SLACK + n_dead, n)
        if wide > _WIDEST or not (self._is_on_gpu or len(queries) < _FEWEST_FOR_SCAN):
            return scan([self._rows], queries, k, alive, self._metric)
        set_faiss_threads(len(queries))
        with self._lock:
            ranks, found = self._flat.search(queries, wide)
        return [self._best(*row, k, alive) for row in zip(queries, ranks, found, strict=True)]

    def _best(
        self,
        query: NDArray[np.float32],
        ranks: NDArray[np.float32],
        found: NDArray[np.int64],
        k: int,
        alive: NDArray[np.bool_] | None,
    ) -> ScoredRows:
        living = found
        if alive is not None:
            ranks, living = ranks[alive[found]], found[alive[found]]
        if len(found) < len(self._rows) and np.isclose(ranks[k - 1], ranks[-1], rtol=1e-5, atol=0):
            return scan([self._rows], query[None], k, alive, self._metric)[0]  # a tie longer than what was fetched
        return living, exact_scores(self._rows[living], query, self._metric)


class _Gpu:
    """What indexes share on the GPU: a lock, because GPU indexes are not thread-safe even for reads, and a budget."""

    limit_bytes: ClassVar[int] = 2 * 2**30
    temporary_bytes: ClassVar[int] = 64 * 2**20

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._resources: Any = None
        self._used_bytes = 0
        self._count = threading.Lock()  # apart, because a finalizer may run while `lock` is held

    def place(self, flat: Any, rows: NDArray[np.float32]) -> Any:
        """Return a copy of the empty ``flat`` on the GPU with ``rows`` (N, D) in it, or None if the CPU must do it."""
        if faiss.get_num_gpus() == 0:
            return None
        with self._count:
            if self._used_bytes + rows.nbytes > self.limit_bytes:
                return None
            self._used_bytes += rows.nbytes
        try:
            with self.lock:
                if self._resources is None:
                    resources = faiss.StandardGpuResources()
                    resources.setTempMemory(self.temporary_bytes)
                    self._resources = resources
                on_gpu = faiss.index_cpu_to_gpu(self._resources, 0, flat)
                on_gpu.add(rows)
                return on_gpu
        except Exception:  # FAISS tells of a full or broken GPU by RuntimeError, MemoryError and others
            self.give_back(rows.nbytes)
            _log.warning("the GPU takes no index of %d bytes: the CPU serves it", rows.nbytes, exc_info=True)
            return None

    def give_back(self, n_bytes: int) -> None:
        """Return an index's bytes to the budget."""
        with self._count:
            self._used_bytes -= n_bytes


_GPU = _Gpu()
