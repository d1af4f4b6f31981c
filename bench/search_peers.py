"""Compare fc7 with other search libraries, on the same rows and in one run.

    make bench-search DATA=folder PEERS=venv/bin/python
    python bench/search_peers.py [--features FILE.npy] [--rows 30000] [--python venv/bin/python]

FILE holds features (N, D), as `bench/search.py --features` writes them. The other libraries are those that the given
Python can import; make an environment of their own for them, because they bring much:

    python -m venv peers && peers/bin/pip install hnswlib lancedb qdrant-client milvus-lite pymilvus chromadb

Each row is one library: its recall@10, and the queries that it answers per second of processor time, one at a time, as
a multiple of FAISS Flat. Of fc7 it is a search of a collection, with ids and payloads. By the clock, the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import faiss
import numpy as np
from numpy.typing import NDArray
from peer_searches import LIBRARIES
from search_conditions import N_QUERIES, PROVENANCE, K, expand, fill, synthetic

from fc7_service.collections.registry import Collections
from fc7_service.collections.scoring import prepare_vectors

LONGEST_S = 3600


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--features", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Features.")
@click.option("--rows", "n", default=30_000, show_default=True, help="Size of the collection.")
@click.option("--python", default=sys.executable, help="Interpreter that has the other libraries.")
@click.option("--only", multiple=True, type=click.Choice(sorted(LIBRARIES)), help="Only these libraries.")
def main(file: Path | None, n: int, python: str, only: tuple[str, ...]) -> None:
    """Print one row per library."""
    features = np.load(file).astype(np.float32) if file else synthetic()
    queries, known = features[:N_QUERIES], features[N_QUERIES:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = Collections(folder / "fc7")
        photos = library.create("photos", PROVENANCE, known.shape[1])
        fill(photos, known, n)
        halves = np.concatenate([part.astype(np.float16) for part in expand(known, n)])
        rows, asked = prepare_vectors(halves, "cosine"), prepare_vectors(queries, "cosine")
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        faiss.omp_set_num_threads(1)
        worst = flat.search(asked, K)[0][:, -1]
        for name, part in (("rows", rows), ("queries", asked), ("worst", worst)):
            np.save(folder / f"{name}.npy", part)
        del rows
        print(f"{n} x {known.shape[1]}, k {K}\n")
        print("| library | setting | recall@10 | speed / FAISS Flat, processor time | by the clock |")
        print("|---|---|---|---|---|")
        base = measure(lambda query: flat.search(query[None], K)[0][0], asked, worst)
        show(f"FAISS Flat {faiss.__version__}", base, base)
        photos.index()
        own = measure(lambda query: [hit.score for hit in photos.search(query[None], K)[0]], asked, worst)
        show("fc7", own | {"setting": photos.index_name}, base)
        library.close()
        for name in only or LIBRARIES:
            print_peer(name, python, folder, base)


def measure(search: Callable[[Any], Any], queries: NDArray[np.float32], worst: NDArray[np.float32]) -> dict[str, Any]:
    """Return the recall of a search, which returns scores, and its median seconds."""
    for query in queries:  # what is read once
        search(query)
    recall, spent, cpu = [], [], []
    for query, least in zip(queries, worst, strict=True):
        before, cpu_before = time.perf_counter(), time.process_time()
        scores = search(query)
        spent.append(time.perf_counter() - before)
        cpu.append(time.process_time() - cpu_before)
        recall.append(np.mean(np.asarray(scores) >= least - 1e-5))
    facts = {"setting": "", "recall": float(np.mean(recall))}
    return facts | {"s": float(np.median(spent)), "cpu_s": float(np.median(cpu))}


def print_peer(name: str, python: str, folder: Path, base: dict[str, Any]) -> None:
    """Print the row of another library, or that it is missing."""
    script = Path(__file__).with_name("peer_searches.py")
    done = subprocess.run([python, script, name, folder], capture_output=True, text=True, timeout=LONGEST_S)
    if done.returncode:
        print(f"| {name} | not measured: {done.stderr.strip().splitlines()[-1][:100]} | | | |", flush=True)
    else:
        found = json.loads(done.stdout.splitlines()[-1])
        show(f"{name} {found['version']}", found, base)


def show(name: str, found: dict[str, Any], base: dict[str, Any]) -> None:
    """Print one row."""
    speeds = f"{base['cpu_s'] / max(found['cpu_s'], 1e-9):.1f} | {base['s'] / found['s']:.1f}"
    print(f"| {name} | {found['setting']} | {found['recall']:.3f} | {speeds} |", flush=True)


if __name__ == "__main__":
    main()
