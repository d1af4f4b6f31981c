"""What an explanation costs, as ratios of processor time within one run, on one thread.

make bench-explain
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime as ort
import torch

from fc7_models.deconv import build_deconv
from fc7_models.export import fold, to_onnx
from fc7_models.networks import find_network
from fc7_service.bundle.bundle import open_bundle, shipped_bundles
from fc7_service.bundle.graph import cut

LAYER, RUNS = "conv5", 15


def unit() -> None:
    """Print forward and back from one unit of conv5, over one forward pass to conv5: medians of interleaved runs."""
    bundle = open_bundle(shipped_bundles()["alexnet-64"])
    torch.manual_seed(0)
    paper = find_network("alexnet")
    graphs = {
        "alexnet-64": (bundle.graph(), bundle.recipe.crop_px),
        "alexnet, random weights": (to_onnx(fold(paper.build(1000)), paper), paper.recipe.crop_px),
    }
    for name, (graph, px) in graphs.items():
        forth = _session(cut(graph, [LAYER]))
        back = _session(cut(graph + build_deconv(graph, px), [f"pixels/deconv/{LAYER}", f"place/{LAYER}"]))
        for n in (1, 9):
            image = np.random.default_rng(n).standard_normal((n, 3, px, px)).astype(np.float32)
            given = {"image": image, "unit": np.arange(n), "position": np.full(n, -1)}
            forth_s, back_s = _seconds(partial(forth.run, None, {"image": image}), partial(back.run, None, given))
            ratio = f"{back_s / forth_s:.2f} ({forth_s * 1e3:.1f} ms, {back_s * 1e3:.1f} ms)"
            print(f"unit / forward, {name}, {LAYER}, batch {n}: {ratio}", flush=True)


def _session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _seconds(*runs: Callable[[], object]) -> list[float]:
    """Return the median seconds of the processor for each, run by turns: other programs count little."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(RUNS + 1):
        for run, row in zip(runs, times, strict=True):
            start = time.process_time()
            run()
            row.append(time.process_time() - start)
    return [statistics.median(row[1:]) for row in times]


if __name__ == "__main__":
    unit()
