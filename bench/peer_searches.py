"""Measure another search library, for `bench/search_peers.py`. It needs NumPy and the library alone.

    python bench/peer_searches.py LIBRARY FOLDER

FOLDER holds `rows.npy` (N, D) and `queries.npy` (Q, D), float32 of length 1, and `worst.npy` (Q,), the score of the
true tenth neighbour. It prints JSON: the version, the setting, the recall, and the median seconds of a query, by the
clock and of this process. Of the settings it takes the first that reaches a recall of 0.98, or else the last.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

K, WANTED, BATCH = 10, 0.98, 1000

Search = Callable[[Any], list[int]]  # a query (D,) to K positions


def hnswlib(rows: Any, _: Path) -> Iterator[tuple[str, Search]]:
    """Search a graph with M 16, built with ef 100."""
    import hnswlib as library

    index = library.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=100)
    index.add_items(rows)
    index.set_num_threads(1)
    for effort in (50, 100, 200, 400, 800):
        index.set_ef(effort)
        yield f"ef {effort}", lambda query: index.knn_query(query, K)[0][0].tolist()


def lancedb(rows: Any, folder: Path) -> Iterator[tuple[str, Search]]:
    """Search IVF-PQ, refined."""
    import lancedb as library

    table = library.connect(folder / "lance").create_table(
        "rows", [{"id": i, "vector": row} for i, row in enumerate(rows.tolist())]
    )
    table.create_index(metric="cosine", num_partitions=max(1, len(rows) // 4096), num_sub_vectors=rows.shape[1] // 8)
    for probes, refined in ((4, 10), (8, 20), (16, 50)):

        def search(query: Any, probes: int = probes, refined: int = refined) -> list[int]:
            found = table.search(query).distance_type("cosine").nprobes(probes).refine_factor(refined).limit(K)
            return [row["id"] for row in found.select(["id"]).to_list()]

        yield f"{probes} probes, refined {refined}", search


def qdrant_client(rows: Any, folder: Path) -> Iterator[tuple[str, Search]]:
    """Search in local mode, which compares every row."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder / "qdrant"))
    client.create_collection(
        "rows", vectors_config=models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
    )
    client.upload_collection("rows", vectors=rows, ids=range(len(rows)))
    yield "local", lambda query: [int(one.id) for one in client.query_points("rows", query.tolist(), limit=K).points]


def milvus_lite(rows: Any, folder: Path) -> Iterator[tuple[str, Search]]:
    """Search in a process of its own, of which only the clock is seen."""
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.create_collection("rows", dimension=rows.shape[1], metric_type="COSINE")
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        client.insert("rows", [{"id": start + i, "vector": row} for i, row in enumerate(part.tolist())])
    yield "local", lambda query: [int(one["id"]) for one in client.search("rows", [query.tolist()], limit=K)[0]]


def chromadb(rows: Any, folder: Path) -> Iterator[tuple[str, Search]]:
    """Search a graph with ef 200."""
    import chromadb as library

    client = library.PersistentClient(str(folder / "chroma"), settings=library.Settings(anonymized_telemetry=False))
    collection = client.create_collection("rows", configuration={"hnsw": {"space": "cosine", "ef_search": 200}})
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        collection.add(ids=[str(start + i) for i in range(len(part))], embeddings=part)

    def search(query: Any) -> list[int]:
        return [int(one) for one in collection.query(query_embeddings=[query], n_results=K)["ids"][0]]

    yield "ef 200", search


LIBRARIES = {one.__name__.replace("_", "-"): one for one in (hnswlib, lancedb, qdrant_client, milvus_lite, chromadb)}


def main() -> None:
    """Measure one library."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    rows, queries, worst = (np.load(folder / f"{part}.npy") for part in ("rows", "queries", "worst"))
    start = time.perf_counter()
    facts: dict[str, Any] = {"version": version(name)}
    for setting, search in LIBRARIES[name](rows, folder):
        facts |= {"setting": setting, "built_s": time.perf_counter() - start} | measure(search, rows, queries, worst)
        if facts["recall"] >= WANTED:
            break
    print(json.dumps(facts))


def measure(search: Search, rows: Any, queries: Any, worst: Any) -> dict[str, float]:
    """Return the recall and the median seconds of a query."""
    recall, spent, cpu = [], [], []
    for query, least in zip(queries, worst, strict=True):
        before, cpu_before = time.perf_counter(), time.process_time()
        found = search(query)
        spent.append(time.perf_counter() - before)
        cpu.append(time.process_time() - cpu_before)
        recall.append(np.sum(rows[found] @ query >= least - 1e-5) / K)
    return {"recall": float(np.mean(recall)), "s": float(np.median(spent)), "cpu_s": float(np.median(cpu))}


if __name__ == "__main__":
    main()
