"""Measure searches under conditions: with filters, and while another collection opens.

    make bench-search DATA=folder
    python bench/search_conditions.py [--features FILE.npy] [--rows 30000] [--other-rows 30000]

FILE holds features (N, D), as `bench/search.py --features` writes them; altered copies fill the rows. Without it, the
features are those of `bench/collection_growth.py`. Processor times are those of this process, as medians.

The first table has one row per filter, which lets this share of the items through. Recall@10 is measured against exact
search with the same filter. The time is a multiple of that of a search without a filter.

Then one collection is searched again and again, alone and while another one, of OTHER-ROWS items, is opened, indexed
and searched for the first time, over and over, until there are as many searches. The 99th percentile of the seconds
that a search took is compared.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter_text import parse
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search

BATCH, K, N_QUERIES, N_SEARCHES, ALTERED = 1000, 10, 100, 1000, 0.3
SHARES = (50, 10, 1, 0.1)  # per cent
PROVENANCE = Provenance("bench", "a" * 64, "b" * 64, "fc7")


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--features", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Features.")
@click.option("--rows", default=30_000, show_default=True, help="Size of the collection that is searched.")
@click.option("--other-rows", default=30_000, show_default=True, help="Size of the collection that opens.")
def main(file: Path | None, rows: int, other_rows: int) -> None:
    """Print both tables."""
    features = np.load(file).astype(np.float32) if file else synthetic()
    queries, known = features[:N_QUERIES], features[N_QUERIES:]
    with tempfile.TemporaryDirectory() as folder:
        library, others = Collections(Path(folder) / "photos"), Collections(Path(folder) / "others")
        photos = library.create("photos", PROVENANCE, known.shape[1])
        fill(photos, known, rows)
        filters(photos, queries)
        other = others.create("other", PROVENANCE, known.shape[1])
        fill(other, known, other_rows)
        other.index()
        others.close()
        while_another_opens(photos, Path(folder) / "others", queries)
        library.close()


def synthetic() -> NDArray[np.float32]:
    """Return features (N, D) that no picture has."""
    from collection_growth import features

    return np.concatenate(list(features(10_000, 1024, 1)))


def expand(known: NDArray[np.float32], n: int) -> Iterator[NDArray[np.float32]]:
    """Yield ``n`` rows in parts; those beyond the known ones are altered copies."""
    rng, spread = np.random.default_rng(0), ALTERED * known.std()
    for start in range(0, n, BATCH):
        rows = known[np.arange(start, min(start + BATCH, n)) % len(known)]
        if start >= len(known):
            rows = np.maximum(rows + spread * rng.normal(size=rows.shape).astype(np.float32) * (rows > 0), 0)
        yield rows


def fill(collection: Collection, known: NDArray[np.float32], n: int) -> None:
    """Add ``n`` items, each with a random number below 1000 in its payload."""
    rng, start = np.random.default_rng(0), 0
    for rows in expand(known, n):
        numbers = rng.integers(1000, size=len(rows)).tolist()
        numbered = enumerate(zip(rows, numbers, strict=True), start)
        collection.upsert([Item(str(i), f"{i:064}", {"n": number}, row) for i, (row, number) in numbered])
        start += len(rows)


def filters(photos: Collection, queries: NDArray[np.float32]) -> None:
    """Print one row per filter."""
    asked = [Query(query) for query in queries]
    plain = Search(k=K)
    print(f"{photos.count} x {photos.dim}, k {K}\n")
    print("| filter lets through | recall@10 | time / unfiltered |")
    print("|---|---|---|")
    photos.answer(asked, plain)  # reads what is read once
    for share in SHARES:
        where = parse(f"n < {10 * share:g}")
        photos.answer(asked, Search(k=K, where=where))
        true, found = (
            [photos.answer([query], Search(k=K, where=where, is_exact=exact))[0][0] for query in asked]
            for exact in (True, False)
        )
        hits = [
            sum(hit.score >= best[-1].score for hit in own) / len(best) for own, best in zip(found, true, strict=True)
        ]
        spent = in_turn([partial(answer, photos, search) for search in (plain, Search(k=K, where=where))], asked)
        print(f"| {share:g} % | {np.mean(hits):.3f} | {spent[1] / spent[0]:.2f} |", flush=True)


def answer(photos: Collection, search: Search, query: Query) -> None:
    """Answer one query."""
    photos.answer([query], search)


def in_turn(works: list[Callable[[Query], object]], queries: list[Query]) -> list[float]:
    """Return the median seconds of processor time of each work; they take turns, so that load hits all alike."""
    spent: list[list[float]] = [[] for _ in works]
    for query in queries:
        for own, work in zip(spent, works, strict=True):
            start = time.process_time()
            work(query)
            own.append(time.process_time() - start)
    return [float(np.median(own)) for own in spent]


def while_another_opens(photos: Collection, elsewhere: Path, queries: NDArray[np.float32]) -> None:
    """Print the 99th percentile of a search, alone and beside a collection that opens."""
    is_over = threading.Event()
    n_opened = 0

    def open_again() -> None:
        nonlocal n_opened
        while not is_over.is_set():
            others = Collections(elsewhere)
            with others.use("other") as other:
                other.search(queries[:1], K)
            others.close()
            n_opened += 1

    alone = list(seconds(photos, queries, N_SEARCHES))
    thread = threading.Thread(target=open_again)
    thread.start()
    beside = list(seconds(photos, queries, N_SEARCHES))
    is_over.set()
    thread.join()
    first, second = (1000 * float(np.quantile(one, 0.99)) for one in (alone, beside))
    print(f"\np99 of a search: {first:.1f} ms alone, {second:.1f} ms while another collection opens {n_opened} times")
    print(f"ratio {second / first:.2f}")


def seconds(photos: Collection, queries: NDArray[np.float32], n: int) -> Iterator[float]:
    """Yield how long each of ``n`` searches took."""
    for i in range(n):
        start = time.perf_counter()
        photos.search(queries[i % len(queries)][None], K)
        yield time.perf_counter() - start


if __name__ == "__main__":
    main()
