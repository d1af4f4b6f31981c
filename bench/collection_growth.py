"""Measure what a collection costs as it grows: storing, the first index, a start, memory, a query, a commit.

    make bench-search DATA=folder
    python bench/collection_growth.py [--rows 10000 --rows 100000 --rows 1000000] [--dim 1024] [--folder FOLDER]
                                      [--plot FILE.svg]

The features are synthetic: ReLU of a random projection of 256 numbers, whose spectrum falls. With --folder, collections
that are there already are measured again and not filled. With --plot, what grows is drawn; it needs matplotlib. The
columns are:

- stored: items per second that are on disk when the call returns, over plain inserts of the same bytes into SQLite; and
  the same by processor time, in which segments are made meanwhile;
- first index: seconds from the first search of a new collection to its answer;
- start: seconds, and seconds of processor time, from opening the collection in a new process to the first answer;
- bytes: memory per vector after that, beyond a process with an empty collection, without pages that are mapped files;
- query: milliseconds of processor time of a search for 10 neighbours, and of the search in the codes alone;
- commit: milliseconds of processor time to replace one item, while searches go on.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

BATCH, N_QUERIES, N_COMMITS, K, RANK = 1000, 100, 50, 10, 256
PROVENANCE = Provenance("bench", "a" * 64, "b" * 64, "fc7")


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--rows", "sizes", multiple=True, type=int, default=(10_000, 100_000), help="Size of a collection.")
@click.option("--dim", default=1024, show_default=True, help="Length of a feature.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the collections here.")
@click.option("--plot", "drawing", type=click.Path(dir_okay=False, path_type=Path), help="Draw what grows here.")
@click.option("--start", "started", type=click.Path(path_type=Path), hidden=True)
def main(sizes: tuple[int, ...], dim: int, folder: Path | None, drawing: Path | None, started: Path | None) -> None:
    """Print one row per size."""
    if started:
        print(json.dumps(measure(started, dim)))
        return
    print("| rows | stored / SQLite (cpu) | first index, s | start, s (cpu) | bytes | query (codes), ms | commit, ms |")
    print("|---|---|---|---|---|---|---|")
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        empty = fill(Path(temporary) / "empty", 0, dim) and restart(Path(temporary) / "empty", dim)
        for n in sizes:
            path = (folder or Path(temporary)) / f"{n}x{dim}"
            filled = {} if path.exists() else fill(path, n, dim)
            found = restart(path, dim)
            row = (
                n,
                f"{filled['share']:.2f} ({filled['share_cpu']:.2f})" if filled else "",
                f"{filled['first_s']:.1f}" if filled else "",
                f"{found['start_s']:.2f} ({found['start_cpu_s']:.2f})",
                f"{(found['bytes'] - empty['bytes']) / n:.0f}",
                f"{found['query_ms']:.2f} ({found['codes_ms']:.2f})",
                f"{found['commit_ms']:.2f}",
            )
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            measured.append(filled | found | {"rows": n, "bytes": found["bytes"] - empty["bytes"]})
            if folder is None:
                shutil.rmtree(path)
    if drawing:
        draw(measured, drawing)


def draw(measured: list[dict[str, float]], drawing: Path) -> None:
    """Draw what grows with the number of rows, on axes that are both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"], matplotlib.rcParams["svg.fonttype"] = "fc7", "none"
    from matplotlib import pyplot

    panels = {
        "first_s": "first search after storing, s",
        "start_cpu_s": "start to first answer, s of CPU",
        "bytes": "memory, bytes",
        "query_ms": "search, ms of CPU",
        "commit_ms": "commit of one item, ms of CPU",
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3 * len(panels), 2.8), layout="constrained")
    for one, (name, title) in zip(axes, panels.items(), strict=True):
        known = [row for row in measured if name in row]
        one.loglog([row["rows"] for row in known], [row[name] for row in known], "o-", color="#1f6f78")
        one.set_title(title, fontsize=10)
        one.set_xlabel("items")
    figure.savefig(drawing, metadata={"Date": None})


def features(n: int, dim: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield features (BATCH, D)."""
    weights = np.random.default_rng(0).normal(size=(RANK, dim)).astype(np.float32) / 4
    rng, spectrum = np.random.default_rng(seed), np.arange(1, RANK + 1, dtype=np.float32) ** -0.5
    for _ in range(0, n, BATCH):
        yield np.maximum((rng.normal(size=(BATCH, RANK)).astype(np.float32) * spectrum * 2) @ weights - 0.3, 0) + 1e-3


def fill(path: Path, n: int, dim: int) -> dict[str, float]:
    """Make a collection; return how fast it and SQLite stored the rows, and how long the first search took."""
    library = Collections(path)
    collection = library.create("c", PROVENANCE, dim)
    plain = sqlite3.connect(path / "plain.db", isolation_level=None)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("PRAGMA synchronous=FULL")
    plain.execute("CREATE TABLE rows (vector BLOB)")
    own, plain_spent = np.zeros(2), np.zeros(2)  # seconds by the clock, and of processor time
    for number, batch in enumerate(features(n, dim, 1)):
        items = [Item(f"{number}-{i}", f"{number:032}{i:032}", {"n": i}, row) for i, row in enumerate(batch)]
        blobs = [(row.tobytes(),) for row in batch.astype(np.float16)]
        start = clocks()
        collection.upsert(items)
        between = clocks()
        plain.execute("BEGIN")
        plain.executemany("INSERT INTO rows VALUES (?)", blobs)
        plain.execute("COMMIT")
        own, plain_spent = own + between - start, plain_spent + clocks() - between
    plain.close()
    for file in path.glob("plain.db*"):
        file.unlink()
    start = time.perf_counter()
    collection.search(next(features(1, dim, 2))[:1], K)
    first_s = time.perf_counter() - start
    library.close()
    share, share_cpu = (plain_spent / own).tolist() if n else (1.0, 1.0)
    return {"share": share, "share_cpu": share_cpu, "first_s": first_s}


def clocks() -> NDArray[np.float64]:
    """Return the seconds by the clock and of processor time."""
    return np.array([time.perf_counter(), time.process_time()])


def restart(path: Path, dim: int) -> dict[str, float]:
    """Measure a collection in a new process."""
    command = [sys.executable, __file__, "--start", str(path), "--dim", str(dim)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def measure(path: Path, dim: int) -> dict[str, float]:
    """Open a collection, search it and write to it."""
    import faiss

    queries = next(features(1, dim, 3))[:N_QUERIES]
    faiss.omp_set_num_threads(1)
    start, cpu = time.perf_counter(), time.process_time()
    library = Collections(path)
    collection = library.get("c")
    collection.search(queries[:1], K)
    found = {"start_s": time.perf_counter() - start, "start_cpu_s": time.process_time() - cpu}
    found["bytes"] = float(own_bytes())
    found["query_ms"] = median_ms(lambda query: collection.search(query[None], K), queries)
    searcher: Any = collection._searcher
    coded = [part[-1]._codes for part in searcher._snapshot.parts if hasattr(part[-1], "_codes")]
    found["codes_ms"] = median_ms(lambda query: [one.search(query[None], 100) for one in coded], queries)
    items = [Item(f"0-{i}", "0" * 64, {"new": True}, queries[i]) for i in range(N_COMMITS)]
    found["commit_ms"] = median_ms(lambda one: collection.upsert([one]), items) if collection.count else 0.0
    library.close()
    return found


def median_ms(work: Any, given: Any) -> float:
    """Return the median milliseconds of processor time of a call."""
    spent = []
    for one in given:
        start = time.process_time()
        work(one)
        spent.append(time.process_time() - start)
    return float(np.median(spent)) * 1000


def own_bytes() -> int:
    """Return the memory of this process that is not a mapped file (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


if __name__ == "__main__":
    main()
