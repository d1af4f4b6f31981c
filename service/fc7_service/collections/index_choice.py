"""Which kind of index serves a collection of which size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from fc7_service.collections.index import Index
from fc7_service.collections.rows import Metric

_EXACT_NUMBERS = 20_000_000  # rows x dimensions: below, exact answers take milliseconds


def choose_index(count: int, dim: int) -> str:
    """Return the name of the index for ``count`` vectors of ``dim`` dimensions."""
    return "exact" if count * dim <= _EXACT_NUMBERS else "rabitq"


def build_index(vectors: NDArray[Any], metric: Metric, *, may_use_gpu: bool = False) -> tuple[str, Index]:
    """Return the index for ``vectors`` (N, D) and its name. Only an index that ``may_use_gpu`` is placed on one."""
    from fc7_service.collections.index_exact import Exact  # with faiss, which a mere list must not load
    from fc7_service.collections.index_rabitq import RaBitQ

    ladder: dict[str, Callable[[], Index]] = {
        "exact": lambda: Exact(vectors, metric, may_use_gpu=may_use_gpu),
        "rabitq": lambda: RaBitQ(vectors, metric),
    }
    name = choose_index(*vectors.shape)
    return name, ladder[name]()
