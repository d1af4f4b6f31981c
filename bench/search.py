"""Compare kinds of search index on features of real pictures: recall, speed, processor time, cost of a commit.

    make bench-search DATA=folder
    python bench/search.py FOLDER [--rows 30000] [--features FILE.npy] [--metric cosine]

FOLDER holds pictures. Their features (`alexnet-64`, layer fc7) are extracted once and, with --features, kept in FILE.
They are expanded to ROWS: a copy of a feature has its positive values altered by 0.3 standard deviations. The last
rows are two bursts, 300 and 2,000 altered copies of one picture each, and 500 exact copies of one feature.

The first table has one row per index and metric. Its columns are:

- recall@10, the share of the answer that is as near as the true tenth, when new pictures are searched, stored ones,
  those of the bursts, and those of the exact copies;
- first: the share of stored vectors whose best score is that of the vector itself;
- speed of one query at a time, over FAISS Flat of the same metric, by the clock and by processor time;
- 64: milliseconds of 64 queries at once;
- own: processor time of a query beyond the search for 100 candidates in the codes.

"fixed" is what fc7 did before it knew a bound: 100 candidates. hnswlib takes part if it is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fc7
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images
from fc7.contract.cores import usable_cores
from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.rows import Metric, StoredRow
from fc7_service.collections.scoring import ScoredRows, exact_scores, prepare_vectors, scan
from fc7_service.collections.snapshot import Snapshot

K, N_QUERIES, BATCH, MOST_PICTURES, IMAGE_PX = 10, 60, 64, 9000, 80
BURSTS, COPIES, ALTERED = (300, 2000), 500, 0.3

Search = Callable[[NDArray[np.float32]], list[ScoredRows]]  # prepared queries (Q, D)


@click.command(help=(__doc__ or "").split("\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", "n", default=30_000, show_default=True, help="Size of the collection.")
@click.option("--features", "file", type=click.Path(dir_okay=False, path_type=Path), help="Keep the features here.")
@click.option("--metric", "metrics", multiple=True, type=click.Choice(get_args(Metric)), default=get_args(Metric))
def main(folder: Path, n: int, file: Path | None, metrics: tuple[Metric, ...]) -> None:
    """Print both tables and the cost of a commit."""
    features = np.load(file) if file and file.exists() else extract(folder)
    if file and not file.exists():
        np.save(file, features)
    stored, asked = collection(features, n)
    print(f"{n} x {stored.shape[1]}, k {K}, faiss {faiss.__version__}, numpy {np.__version__}\n")
    print("| metric | index | build s | new | stored | bursts | copies | first | speed | by CPU | 64, ms | own, ms |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for metric in metrics:
        compare(stored, asked, metric)
    print("\n| queries | FAISS Flat, ms | matrix product, ms |\n|---|---|---|")
    prepared, queries = prepare_vectors(stored, "cosine"), prepare_vectors(asked["new"], "cosine")
    flat = faiss.IndexFlatIP(prepared.shape[1])
    flat.add(prepared)
    for count in (1, 2, 4, 8, BATCH):
        in_flat, _ = cost(lambda part: flat.search(part, K), [np.resize(queries, (count, queries.shape[1]))] * 3)
        product, _ = cost(
            lambda part: scan([prepared], part, K, None, "cosine"), [np.resize(queries, (count, queries.shape[1]))] * 3
        )
        print(f"| {count} | {in_flat:.1f} | {product:.1f} |")
    small, large = commit_ms(10_000), commit_ms(1_000_000)
    print(
        f"\na commit that replaces an item, as searches see it: {small:.3f} ms at 10,000 rows, {large:.3f} at 1,000,000"
    )


def extract(folder: Path) -> NDArray[np.float16]:
    """Return features (N, D) of a fixed random choice of the pictures."""
    paths = [file.path for file in find_images([folder], FolderScan())]
    chosen = np.random.default_rng(0).permutation(len(paths))[:MOST_PICTURES]

    def images() -> Iterator[NDArray[np.uint8]]:
        for i in chosen:
            with Image.open(paths[i]) as image:
                yield np.asarray(image.convert("RGB").resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR))

    with fc7.connect() as client:
        return client.extract(images(), model="alexnet-64", layer="fc7").values.astype(np.float16)


def collection(features: NDArray[np.float16], n: int) -> tuple[NDArray[np.float16], dict[str, NDArray[np.float32]]]:
    """Return the rows (n, D) and the queries of each kind, the new ones from pictures that are not among the rows."""
    rng = np.random.default_rng(1)
    new, known = features[:N_QUERIES].astype(np.float32), features[N_QUERIES:]
    ends = np.cumsum((n - sum(BURSTS) - COPIES, *BURSTS, COPIES))
    stored = np.resize(known, (n, features.shape[1]))  # repeats
    for end, size in zip(ends[1:], (*BURSTS, COPIES), strict=True):
        stored[end - size : end] = known[rng.integers(len(known))]
    spread = ALTERED * known.astype(np.float32).std()
    for start in range(min(len(known), ends[0]), ends[2], 8192):
        part = stored[start : min(start + 8192, ends[2])]
        noise = spread * rng.normal(size=part.shape) * (part > 0)
        part[:] = np.maximum(part + noise, 0)
    bounds = {"stored": (0, ends[0]), "bursts": (ends[0], ends[2]), "copies": (ends[2], n)}
    picked = {kind: stored[rng.integers(*bound, N_QUERIES)].astype(np.float32) for kind, bound in bounds.items()}
    return stored, {"new": new, **picked}


def compare(stored: NDArray[np.float16], asked: dict[str, NDArray[np.float32]], metric: Metric) -> None:
    """Print one row per index."""
    prepared = prepare_vectors(stored, metric)
    queries = {kind: prepare_vectors(vectors, metric) for kind, vectors in asked.items()}
    worst = {
        kind: [np.sort(scores)[-K] for _, scores in scan([prepared], part, K, None, metric)]
        for kind, part in queries.items()
    }
    flat_ms = flat_cpu = 0.0
    for name, build in sides(stored, prepared, metric).items():
        start = time.perf_counter()
        try:
            search, codes = build()
        except ImportError:
            continue
        built_s = time.perf_counter() - start
        faiss.omp_set_num_threads(1)
        cells, is_first = [], []
        for kind, part in queries.items():
            found = [search(query[None])[0][1] for query in part]
            hits = [np.sort(s)[-K:] >= w - 1e-6 * (1 + abs(w)) for s, w in zip(found, worst[kind], strict=True)]
            cells.append(f"{np.mean(hits):.3f}")
            if kind != "new":
                itself = [exact_scores(query[None], query, metric)[0] for query in part]
                is_first += [s.max() >= own - 1e-6 for s, own in zip(found, itself, strict=True)]
        ms, cpu = cost(search, [query[None] for query in queries["new"]])
        batch_ms, _ = cost(search, [np.resize(queries["new"], (BATCH, queries["new"].shape[1]))] * 3)
        flat_ms, flat_cpu = flat_ms or ms, flat_cpu or cpu
        own = f"{cpu - cost(codes, [query[None] for query in queries['new']])[1]:.2f}" if codes else ""
        first = "" if metric == "dot" else f"{np.mean(is_first):.3f}"  # a longer row has a larger product
        speeds = (f"{flat_ms / ms:.1f}", f"{flat_cpu / cpu:.1f}")
        row = (metric, name, f"{built_s:.1f}", *cells, first, *speeds, f"{batch_ms:.1f}", own)
        print(f"| {' | '.join(row)} |", flush=True)


def sides(
    stored: NDArray[np.float16], prepared: NDArray[np.float32], metric: Metric
) -> dict[str, Callable[[], tuple[Search, Search | None]]]:
    """Return how to build each index; FAISS Flat first, because the others are compared with it."""
    n, dim = stored.shape
    product = metric == "dot"

    def exactly(labels: NDArray[np.int64], queries: NDArray[np.float32]) -> list[ScoredRows]:
        return [(r, exact_scores(prepared[r], q, metric)) for r, q in zip(labels, queries, strict=True)]

    def flat() -> tuple[Search, None]:
        index = (faiss.IndexFlatL2 if metric == "l2" else faiss.IndexFlatIP)(dim)
        index.add(prepared)
        return lambda queries: exactly(index.search(queries, K)[1], queries), None

    def exact() -> tuple[Search, None]:
        index = Exact(stored, metric)
        return lambda queries: index.search(queries, K, None), None

    def fixed() -> tuple[Search, Search]:
        index = faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT if product else faiss.METRIC_L2, 2 if product else 1)
        index.train(prepared)
        index.add(prepared)

        def search(queries: NDArray[np.float32]) -> list[ScoredRows]:
            _, labels = index.search(queries, 100)
            return [
                (r, exact_scores(prepare_vectors(stored[r], metric), q, metric))
                for r, q in zip(labels, queries, strict=True)
            ]

        return search, lambda queries: index.search(queries, 100)

    def rabitq() -> tuple[Search, Search]:
        index = RaBitQ(stored, metric)
        return lambda queries: index.search(queries, K, None), lambda queries: index._codes.search(queries, 100)

    def hnsw(effort: int) -> tuple[Search, None]:
        import hnswlib

        index = hnswlib.Index("l2" if metric == "l2" else "ip", dim)
        index.init_index(n, M=16, ef_construction=100)
        index.add_items(prepared)
        index.set_ef(effort)
        return lambda queries: exactly(index.knn_query(queries, K)[0].astype(np.int64), queries), None

    return {
        "FAISS Flat": flat,
        "`exact`": exact,
        "fixed": fixed,
        "`rabitq`": rabitq,
        "hnswlib, ef 100": lambda: hnsw(100),
    }


def cost(work: Callable[[Any], Any], given: list[Any]) -> tuple[float, float]:
    """Return the median milliseconds and processor milliseconds of a call."""
    faiss.omp_set_num_threads(1 if len(given[0]) < 8 else usable_cores())
    seconds, cpu = [], []
    for one in given:
        start, cpu_start = time.perf_counter(), time.process_time()
        work(one)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    return float(np.median(seconds)) * 1000, float(np.median(cpu)) * 1000


def commit_ms(n: int) -> float:
    """Return the processor milliseconds of one more snapshot over ``n`` rows, with one row replaced."""
    rids, vector = np.arange(n), np.ones(1024, np.float16)
    built = Snapshot.build(rids[:1], rids[:1], vector[None], "cosine")
    snapshot = replace(built, rids=rids, places=rids)
    spent = []
    for i in range(200):
        start = time.process_time()
        snapshot = snapshot.with_changes([StoredRow(n + i, i, str(i), "", "{}", vector)], [i])
        spent.append(time.process_time() - start)
    return float(np.median(spent)) * 1000


if __name__ == "__main__":
    main()
