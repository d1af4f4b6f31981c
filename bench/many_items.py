"""Data folders for the benchmarks of the page: collections with very many items, whose features are synthetic.

The features lie in clusters, one per label. The pictures of the items are JPEG files, of which many items share one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from serving import picture

from fc7_service.bundle.folder import open_model
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

MODEL, LAYER = "alexnet-64", "fc7"
N_CLUSTERS, N_PICTURES, BATCH, RANK = 12, 200, 1000, 64


def write_pictures(folder: Path) -> list[Path]:
    """Write the picture files; return their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{seed}.jpg" for seed in range(N_PICTURES)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    return paths


def fill(data: Path, name: str, n_items: int, pictures: list[Path]) -> None:
    """Make a collection in a data folder that no server uses."""
    bundle = open_model(MODEL)
    dim = bundle.layers[LAYER].dim
    library = Collections(data / "collections")
    collection = library.create(name, bundle.provenance(LAYER), dim)
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures]
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_CLUSTERS, RANK)).astype(np.float32)
    weights = rng.normal(size=(RANK, dim)).astype(np.float32) / 8
    for first in range(0, n_items, BATCH):
        labels = rng.integers(0, N_CLUSTERS, BATCH)
        codes = centres[labels] + rng.normal(scale=0.6, size=(BATCH, RANK)).astype(np.float32)
        features = np.maximum(codes @ weights, 0) + 1e-3  # (BATCH, D)
        items = []
        for i, (label, feature) in enumerate(zip(labels, features, strict=True), start=first):
            payload = {"path": str(pictures[i % N_PICTURES]), "label": f"class {label}"}
            items.append(Item(f"{label:02}/{i:06}.jpg", contents[i % N_PICTURES], payload, feature))
        collection.upsert(items)
    library.close()
