"""Measure what a GPU is worth for extraction: speed on the CPU and on the GPU, and how far the features differ.

    python bench/cpu_vs_gpu.py [MODEL]

MODEL is a shipped model or a bundle's folder; it defaults to alexnet-64. The layers are fc7, if the model has it, and
the default layer, each at its own picture size; the pictures are noise. Prints a Markdown table: the median
milliseconds per batch of ten runs, pictures per second, and the largest difference from the CPU's values divided by
the layer's largest value. Without a GPU only the CPU's rows are printed.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from fc7_service.bundle.folder import open_model
from fc7_service.features.session import CUDA, Session

BATCHES = (1, 32, 256)
THREADS = 4
RUNS = 10


def main() -> None:
    """Print the table."""
    import onnxruntime as ort  # only here: fc7_service must turn its telemetry off first

    bundle = open_model(sys.argv[1] if len(sys.argv) > 1 else "alexnet-64")
    devices = ["cpu", "cuda"] if CUDA in ort.get_available_providers() else ["cpu"]
    sessions = {device: Session(bundle, device=device, threads=THREADS) for device in devices}
    print("| layer | batch | device | ms per batch | pictures/s | difference |\n|---|---|---|---|---|---|")
    for layer in [name for name in bundle.layers if name in ("fc7", bundle.default_layer)]:
        px = bundle.recipe_of(layer).crop_px
        for n in BATCHES:
            x = np.random.default_rng(0).normal(size=(n, 3, px, px)).astype(np.float32)
            (reference,) = sessions["cpu"].run(x, [layer])
            for device, session in sessions.items():
                (values,) = session.run(x, [layer])
                ms = 1e3 * statistics.median(seconds(session, x, layer) for _ in range(RUNS))
                difference = np.abs(values - reference).max() / np.abs(reference).max()
                print(f"| {layer} | {n} | {device} | {ms:.2f} | {1e3 * n / ms:.0f} | {difference:.1e} |", flush=True)


def seconds(session: Session, x: np.ndarray, layer: str) -> float:
    """Return the seconds of one run."""
    began = time.perf_counter()
    session.run(x, [layer])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
