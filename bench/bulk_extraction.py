"""What bulk extraction costs per picture: `python bench/bulk_extraction.py FOLDER [MODEL]`, without Ray.

Prints, for one worker with one thread: the CPU milliseconds per picture of `FeatureExtractor` with one layer and with
two, the bytes per row of the Parquet files, and the CPU microseconds per row of settling. From these, what a thousand
million pictures take. CPU time, because it changes less than the clock on a machine with other work.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fc7.ray import FeatureExtractor
from fc7.ray.settling import Parts

N_PICTURES, BATCH = 256, 64
MANY = 1e9
HOUR = 3600


def main(folder: str, model: str = "alexnet-64") -> None:
    """Measure and print."""
    paths = sorted(Path(folder).rglob("*.jpg"))[:N_PICTURES]
    images = [path.read_bytes() for path in paths]
    batches = [
        {"bytes": np.array(images[n : n + BATCH], object), "path": np.array([str(p) for p in paths[n : n + BATCH]])}
        for n in range(0, len(images), BATCH)
    ]
    print(f"{model}, {len(images)} pictures, {sum(map(len, images)) / len(images) / 1000:.0f} kB on average")
    for layers in (["fc7"], ["fc6", "fc7"]):
        extractor = FeatureExtractor(model, layers)
        extractor(batches[0])
        start = time.process_time()
        tables = [extractor(batch) for batch in batches]
        per_picture_s = (time.process_time() - start) / len(images)
        with tempfile.TemporaryDirectory() as output:
            parts = Parts(output)
            for table in tables:
                parts.write(table)
            n_bytes = sum(path.stat().st_size for path in Path(output).iterdir()) / len(images)
            start = time.process_time()
            parts.settle()
            settle_us = (time.process_time() - start) / len(images) * 1e6
        print(
            f"{'+'.join(layers)}: {per_picture_s * 1000:.2f} ms of CPU per picture, {n_bytes:.0f} bytes per row, "
            f"settling {settle_us:.0f} us per row; a thousand million: {MANY * per_picture_s / HOUR:,.0f} core hours, "
            f"{MANY * n_bytes / 1e12:.1f} TB, settling {MANY * settle_us / 1e6 / HOUR:.1f} h on one core"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
