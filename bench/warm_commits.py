"""Measure what the sums for instant heads add to a commit: processor time per commit, with and without, in one run.

    python bench/warm_commits.py [DIM]

A collection of 3,000 labelled items of DIM numbers (by default 1,024) gets one item replaced per commit. Rounds
without the sums and with those of one label field take turns. The time of the thread that brings the sums up to date is
counted too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

N, ROUNDS, COMMITS = 3000, 4, 300


def main() -> None:
    """Print the table."""
    dim = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    rng = np.random.default_rng(0)

    def items(count: int) -> list[Item]:
        return [
            Item(f"i{i}", f"{rng.integers(2**62):064d}", {"label": f"c{i % 20}"}, row)
            for i, row in enumerate(rng.random((count, dim), np.float32))
        ]

    with TemporaryDirectory() as folder:
        library = Collections(Path(folder) / "collections")
        photos = library.create("photos", Provenance("m", "a" * 64, "b" * 64, "fc7"), dim)
        photos.upsert(items(N))
        seconds = {"without": 0.0, "with the sums": 0.0}
        for name in list(seconds) * ROUNDS:
            new, warm = items(COMMITS), None
            if name != "without":
                warm = photos.follow_labels("label")
                warm.read(1)
            start = time.process_time()
            for item in new:
                photos.upsert([item])
            if warm is not None:
                warm.wait()
            seconds[name] += time.process_time() - start
            if warm is not None:
                photos.unfollow_labels(warm)
        library.close()
    print(f"| commits of one item, {dim} numbers | processor ms per commit | ratio |\n|---|---|---|")
    for name, spent in seconds.items():
        print(f"| {name} | {1000 * spent / ROUNDS / COMMITS:.3f} | {spent / seconds['without']:.2f} |")


if __name__ == "__main__":
    main()
