"""Compare the kinds of search index on synthetic vectors like fc7: speed and recall.

    python bench/index_kinds.py [ROWS] [DIM]

ROWS and DIM default to 20,000 and 1,024. The first table has one row per index kind and metric: seconds to build it,
milliseconds for one query and for 64 queries at once, and recall@10, the share of the 10 true nearest that it finds.
The lines after it compare FAISS Flat with a matrix product for 1 to 64 queries. The constants of
fc7_service/collections/index*.py that came from an experiment were chosen with this script.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, get_args

import faiss
import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import prepare_vectors, scan

K, N_QUERIES, BATCH = 10, 128, 64


def fc7_like(n: int, dim: int, rank: int = 256, n_classes: int = 1000) -> NDArray[np.float32]:
    """Return n vectors like fc7, float32 (n, dim): ReLU(Wz + b), of which a quarter of the values are positive.

    Each z is a class, a cluster within it, and noise, on a falling spectrum of ``rank`` dimensions.
    """
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, rank + 1) ** -0.5
    classes, clusters = rng.normal(size=(n_classes, rank)), 0.7 * rng.normal(size=(n_classes * 8, rank))
    weights = rng.normal(size=(rank, dim)).astype(np.float32) / 4
    features = np.empty((n, dim), np.float32)
    for start in range(0, n, 8192):
        part = features[start : start + 8192]
        cluster = rng.integers(0, n_classes * 8, len(part))
        z = (classes[cluster // 8] + clusters[cluster] + 0.7 * rng.normal(size=(len(part), rank))) * spectrum
        np.maximum(z.astype(np.float32) @ weights - 0.6, 0, out=part)
    return features


def ms(work: Callable[[], Any], repeats: int = 5) -> float:
    """Return the median milliseconds of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000


def main(n: int, dim: int) -> None:
    """Print one line per index kind and metric, then FAISS Flat against the matrix product."""
    features = fc7_like(n + N_QUERIES, dim)
    rows, alive = features[:n].astype(np.float16), np.ones(n, bool)
    print(f"{n} x {dim}, k {K}, {faiss.omp_get_max_threads()} threads, faiss {faiss.__version__}")
    print(f"{'index':8} {'metric':7} {'build s':>8} {'1 query ms':>11} {f'{BATCH} queries ms':>14} {'recall@10':>10}")
    for metric in get_args(Metric):
        queries = prepare_vectors(features[n:], metric)
        truth: list[set[int]] = []
        for kind in (Exact, RaBitQ):
            start = time.perf_counter()
            index = kind(rows, metric)
            build = time.perf_counter() - start
            one = ms(lambda index=index, queries=queries: index.search(queries[:1], K, alive))  # type: ignore[misc]
            many = ms(lambda index=index, queries=queries: index.search(queries[:BATCH], K, alive))  # type: ignore[misc]
            hits = [set(p[np.argsort(-s)[:K]].tolist()) for p, s in index.search(queries, K, alive)]
            truth = truth or hits
            recall = np.mean([len(h & t) / K for h, t in zip(hits, truth, strict=True)])
            print(f"{kind.__name__:8} {metric:7} {build:8.2f} {one:11.2f} {many:14.1f} {recall:10.4f}")
    prepared, queries = prepare_vectors(rows, "cosine"), prepare_vectors(features[n:], "cosine")
    flat = faiss.IndexFlatIP(dim)
    flat.add(prepared)
    for count in (1, 2, 4, 8, BATCH):
        part = queries[:count]
        in_flat = ms(lambda part=part: flat.search(part, K))  # type: ignore[misc]
        product = ms(lambda part=part: scan([prepared], part, K, alive, "cosine"))  # type: ignore[misc]
        print(f"{count:3} queries: FAISS Flat {in_flat:8.1f} ms, matrix product {product:8.1f} ms")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:3]]
    main(*given, *(20_000, 1024)[len(given) :])
