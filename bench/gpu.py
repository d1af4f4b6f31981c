"""Check and measure what fc7 does on a GPU: `python bench/gpu.py [MODEL]`. Needs `fc7[gpu]` and an NVIDIA GPU.

Each line is a check with its figure; the exit code is 1 if one failed, and 3 if there is no GPU here.

- *device*: the server's own session runs on CUDA, and its features differ from the CPU's by less than 1e-4 of the
  largest value.
- *I/O binding*: pictures per second with the batch in a buffer that is bound once, over a plain run.
- *fp16*, *TensorRT*: the same network through TensorRT with fp16; its difference, its rate, and how long a start
  takes with an empty engine cache and with the cache of the start before. Skipped where TensorRT is not installed.
- *memory limit*: with `gpu_mem_limit`, the GPU memory of this process stays below the limit and what CUDA itself takes.
- *faiss-gpu*: a collection's exact index is placed on the GPU, and finds what the CPU finds.
- *loading*: ten sessions opened and dropped leave no GPU memory behind.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fc7.cli.cuda import DRIVERS, driver_version, generations
from fc7_service.bundle.folder import open_model
from fc7_service.features.session import CUDA, Session

BATCH, RUNS = 32, 20
LIMIT_MB, CUDA_MB = 512, 1024  # of the arena; of what CUDA, cuDNN and cuBLAS take beside it
TOLERANCE, FP16_TOLERANCE = 1e-4, 2e-2
NO_GPU = 3
results: list[bool] = []


def report(name: str, is_good: bool, text: str) -> None:
    """Print one check and keep its outcome."""
    results.append(is_good)
    print(f"{'ok    ' if is_good else 'FAILED'}  {name}: {text}", flush=True)


def seconds(run: Callable[[], Any]) -> float:
    """Return the median seconds of a run."""
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gpu_mb() -> float:
    """Return the GPU memory of this process in MB, as the driver counts it."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split(",") for line in lines if line.strip())
    return sum(float(used) for pid, used in rows if int(pid) == os.getpid())


def difference(found: Any, reference: Any) -> float:
    """Return the largest difference over the largest value."""
    return float(np.abs(found - reference).max() / np.abs(reference).max())


def check_device(bundle: Any, x: Any, layer: str) -> tuple[Any, float]:
    """Compare with the CPU; return the CPU's features and the seconds of a plain run."""
    (reference,) = Session(bundle, device="cpu", threads=os.cpu_count() or 1).run(x, [layer])
    session = Session(bundle, device="cuda", threads=1)
    (found,) = session.run(x, [layer])
    plain_s = seconds(lambda: session.run(x, [layer]))
    wrong = difference(found, reference)
    report("device", session.provider == CUDA and wrong < TOLERANCE, f"{session.provider}, difference {wrong:.1e}")
    report("rate", True, f"{BATCH / plain_s:,.0f} pictures per second in batches of {BATCH}")
    return reference, plain_s


def open_raw(ort: Any, graph: bytes, *providers: Any) -> Any:
    """Open a session of ONNX Runtime with these providers alone."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=[*providers, "CPUExecutionProvider"])


def check_binding(ort: Any, graph: bytes, x: Any, layer: str, reference: Any, plain_s: float) -> None:
    """Run with input and output bound to GPU memory."""
    session = open_raw(ort, graph, (CUDA, {"use_tf32": "0"}))
    binding = session.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(x, "cuda", 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    binding.bind_output(layer, "cuda")

    def run() -> Any:
        value.update_inplace(x)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]

    wrong = difference(run().reshape(BATCH, -1), reference)
    report("I/O binding", wrong < TOLERANCE, f"{plain_s / seconds(run):.2f} times a plain run, difference {wrong:.1e}")


def check_tensorrt(ort: Any, graph: bytes, x: Any, layer: str, reference: Any, plain_s: float) -> None:
    """Start twice with one engine cache, in fp16."""
    name = "TensorrtExecutionProvider"
    try:
        import tensorrt  # noqa: F401  # loads its libraries
    except ModuleNotFoundError:
        print("skipped  fp16, TensorRT: tensorrt is not installed (pip install tensorrt-cu12)")
        return
    with tempfile.TemporaryDirectory() as cache:
        options = {"trt_fp16_enable": "1", "trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
        starts = []
        for _ in range(2):
            start = time.perf_counter()
            session = open_raw(ort, graph, (name, options))
            inputs = {session.get_inputs()[0].name: x}
            found = session.run([layer], inputs)[0].reshape(BATCH, -1)
            starts.append(time.perf_counter() - start)
        wrong, is_used = difference(found, reference), session.get_providers()[0] == name
        fp16_s = seconds(lambda: session.run([layer], inputs))
    report("fp16", is_used and wrong < FP16_TOLERANCE, f"{plain_s / fp16_s:.2f} times fp32, difference {wrong:.1e}")
    report("TensorRT cache", starts[1] < starts[0] / 2, f"start {starts[0]:.1f} s, with the cache {starts[1]:.1f} s")


def check_memory_limit(ort: Any, graph: bytes, x: Any, layer: str) -> None:
    """Run with a bounded arena."""
    before = gpu_mb()
    limit = {"gpu_mem_limit": str(LIMIT_MB * 2**20), "arena_extend_strategy": "kSameAsRequested"}
    session = open_raw(ort, graph, (CUDA, limit))
    session.run([layer], {session.get_inputs()[0].name: x})
    taken = gpu_mb() - before
    report("memory limit", taken < LIMIT_MB + CUDA_MB, f"limit {LIMIT_MB} MB, taken {taken:.0f} MB")


def nearest(found: tuple[Any, Any]) -> list[int]:
    """Return the five best positions, the best first."""
    positions, scores = found
    return [int(position) for position in positions[np.argsort(-scores)[:5]]]


def check_faiss() -> None:
    """Place an exact index on the GPU."""
    from fc7_service.collections.index_exact import Exact

    vectors = np.random.default_rng(0).standard_normal((50_000, 512)).astype(np.float32)
    queries = vectors[:3] + np.float32(0.01)
    found = {place: Exact(vectors, "l2", may_use_gpu=place == "GPU") for place in ("CPU", "GPU")}
    rows = {
        place: [[int(row) for row in one.rows] for one in index.search(queries, 5)] for place, index in found.items()
    }
    report("faiss-gpu", found["GPU"]._is_on_gpu and rows["CPU"] == rows["GPU"], f"nearest of query 0: {rows['GPU'][0]}")


def check_loading(bundle: Any, x: Any, layer: str) -> None:
    """Open and drop ten sessions."""
    taken = []
    for _ in range(10):
        session = Session(bundle, device="cuda", threads=1)
        session.run(x, [layer])
        del session
        gc.collect()
        taken.append(gpu_mb())
    report("loading", taken[-1] <= taken[1] * 1.02, f"MB after each of ten: {[round(one) for one in taken]}")


def main(model: str = "alexnet-64") -> int:
    """Check everything, and return the exit code."""
    import onnxruntime as ort  # only here: fc7_service must turn its telemetry off first

    for library, generation in generations().items():
        print(f"{library} is built for CUDA {generation}, which needs driver {DRIVERS.get(generation, 'unknown')}")
    print(f"driver: {driver_version() or 'none'}; providers: {', '.join(ort.get_available_providers())}")
    if CUDA not in ort.get_available_providers() or not driver_version():
        print("no GPU: this needs an NVIDIA driver and fc7[gpu]. Nothing was checked")
        return NO_GPU
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    bundle = open_model(model)
    layer = bundle.default_layer
    px = bundle.recipe_of(layer).crop_px
    x = np.random.default_rng(0).normal(size=(BATCH, 3, px, px)).astype(np.float32)
    reference, plain_s = check_device(bundle, x, layer)
    check_binding(ort, bundle.graph(), x, layer, reference, plain_s)
    check_tensorrt(ort, bundle.graph(), x, layer, reference, plain_s)
    check_memory_limit(ort, bundle.graph(), x, layer)
    check_faiss()
    check_loading(bundle, x, layer)
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
