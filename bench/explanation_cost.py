"""Measure what explanations cost, as ratios within one run.

    make bench-explain
    python bench/explanation_cost.py [unit|occlude|match|top|load ...]

Prints one line or more per part, all parts by default. The number after the colon is the ratio; the seconds behind it
are those of this machine. `unit` and `occlude` measure processor time on one thread. The others ask a server in a
process of its own; its memory is read from /proc, so `top` needs Linux.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import fc7
from fc7 import Client
from fc7_models.deconv.build import build_deconv
from fc7_models.export.torch_to_onnx import fold_batch_norm, to_onnx
from fc7_models.networks import find_network
from fc7_service.bundle.folder import open_bundle, shipped_bundles
from fc7_service.bundle.onnx_file import cut_graph
from fc7_service.explain.classes import network_classes
from fc7_service.explain.network import Network
from fc7_service.explain.occlusion import BATCH as SWEEP_BATCH
from fc7_service.explain.occlusion import OcclusionSweep, read_maps
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.explain.session_cache import SessionCache
from fc7_service.features.preprocess import preprocess_with_crop
from fc7_service.features.session import open_session

LAYER, RUNS = "conv5", 15
GRID, BATCHES, SWEEPS = 20, (16, 32, 64), 3
PAIRS = 8
PICTURES = 10_000
ROUNDS, ROUND_S = 16, 3.0  # each with explanations and without
CALLERS, ASKED = 2, 256  # threads that extract, and the pictures that they extract repeatedly


def unit() -> None:
    """Print the time to explain one unit of conv5 divided by that of one forward pass to conv5."""
    bundle = open_bundle(shipped_bundles()["alexnet-64"])
    torch.manual_seed(0)
    paper = find_network("alexnet")
    graphs = {
        "alexnet-64": (bundle.graph(), bundle.recipe.crop_px),
        "alexnet, random weights": (to_onnx(fold_batch_norm(paper.build(1000)), paper), paper.recipe.crop_px),
    }
    for name, (graph, px) in graphs.items():
        forth = _session(cut_graph(graph, [LAYER]))
        back = _session(cut_graph(graph + build_deconv(graph, px), [f"pixels/deconv/{LAYER}", f"place/{LAYER}"]))
        for n in (1, 9):
            image = np.random.default_rng(n).standard_normal((n, 3, px, px)).astype(np.float32)
            given = {"image": image, "unit": np.arange(n), "position": np.full(n, -1)}
            forth_s, back_s = _seconds(partial(forth.run, None, {"image": image}), partial(back.run, None, given))
            ratio = f"{back_s / forth_s:.2f} ({forth_s * 1e3:.1f} ms, {back_s * 1e3:.1f} ms)"
            print(f"unit / forward, {name}, {LAYER}, batch {n}: {ratio}", flush=True)


def occlude() -> None:
    """Print the time of 400 occluded views divided by that of 400 forward passes at their best batch size."""
    bundle, n_views = open_bundle(shipped_bundles()["alexnet-64"]), GRID * GRID
    engine = partial(open_session, device="cpu", threads=1)
    network = Network(bundle, SessionCache(engine, check_caller=lambda: None))
    forth = engine(cut_graph(bundle.graph(), ["logits"]), bundle.name)
    view = PreparedImage(*preprocess_with_crop(_jpeg(0), bundle.recipe))
    tensors = np.random.default_rng(0).standard_normal((n_views, *view.tensor.shape)).astype(np.float32)

    def sweep() -> None:
        one = OcclusionSweep(network, network_classes(network), "", view, square_px=0, grid=GRID)
        for first in range(0, one.n_views, SWEEP_BATCH):
            one.run(first)
        read_maps(one)

    def forward(size: int) -> None:
        for first in range(0, n_views, size):
            forth.run(None, {"image": tensors[first : first + size]})

    sweep_s, *forward_s = _seconds(sweep, *(partial(forward, size) for size in BATCHES), runs=SWEEPS)
    best = int(np.argmin(forward_s))
    seconds = f"({sweep_s:.2f} s, {forward_s[best]:.2f} s)"
    print(
        f"{n_views} occluded views / forward passes, batch {BATCHES[best]}: {sweep_s / forward_s[best]:.2f} {seconds}"
    )


def match() -> None:
    """Print how far the contributions of a match are from adding up to the cosine of the extracted features."""
    images = [_jpeg(seed) for seed in range(2 * PAIRS)]
    with _server() as (client, _):
        gaps, rests = [], []
        layers = [layer.name for layer in client.model().layers]
        for layer in layers:
            unit = client.extract(images, layer=layer).values.astype(np.float64)
            unit /= np.linalg.norm(unit, axis=1, keepdims=True)
            for i in range(0, len(images), 2):
                result = client.explain.match(images[i], images[i + 1], layer=layer)
                gaps.append(abs(result.contributions.sum(dtype=np.float64) + result.rest - unit[i] @ unit[i + 1]))
                rests.append(abs(result.rest))
    print(
        f"match, {len(gaps)} pairs in {', '.join(layers)}: largest |contributions + rest - cosine| {max(gaps):.1e}",
        end=", ",
    )
    print(f"largest rest that belongs to no unit {max(rests):.1e}", flush=True)


def top() -> None:
    """Print the memory that a search over many pictures adds, and how much faster a second unit is."""
    with tempfile.TemporaryDirectory() as folder, _server() as (client, pid):
        paths = [Path(folder) / f"{seed}.jpg" for seed in range(PICTURES)]
        for seed, path in enumerate(paths):
            path.write_bytes(_jpeg(seed))
        own = _memory_mb(pid, "VmRSS")
        times = []
        for unit in (0, 1):
            start = time.perf_counter()
            client.explain.top(paths, layer=LAYER, units=[unit])
            times.append(time.perf_counter() - start)
        above = _memory_mb(pid, "VmHWM") - own
    first_s, second_s = times
    ratio = f"{second_s / first_s:.3f} ({first_s:.1f} s, {second_s:.2f} s)"
    print(f"top over {PICTURES} pictures: {above:.0f} MB above the server's {own:.0f} MB", end="; ")
    print(f"second unit / first: {ratio}", flush=True)


def load() -> None:
    """Print the throughput of extraction with one explanation per second, divided by that without."""
    images = [_jpeg(seed) for seed in range(ASKED)]
    with _server() as (client, _):
        explain = client.explain
        each = (explain.unit, lambda image: explain.match(image, images[0]), explain.label)
        _load(client, images, each, "unit, match, class in turn")
        _load(client, images, (explain.occlude,), "occlude")


def _load(client: Client, images: Sequence[bytes], functions: Sequence[Callable[[bytes], object]], name: str) -> None:
    """Print the line of ``load`` for some kinds of explanations: the median ratio of all rounds."""
    asks = (partial(one, image) for one, image in zip(itertools.cycle(functions), itertools.cycle(images), strict=True))
    for _ in functions:
        next(asks)()  # opens the sessions
    _rate(client, images)
    waits: list[float] = []
    pairs = []
    for _ in range(ROUNDS):
        plain, stop = _rate(client, images), threading.Event()
        asking = threading.Thread(target=_ask, args=(asks, stop, waits))
        asking.start()
        pairs.append((_rate(client, images), plain))
        stop.set()
        asking.join()
    ratios = [explained / plain for explained, plain in pairs]
    print(
        f"extraction with one explanation per second ({name}) / without: {statistics.median(ratios):.3f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}; {statistics.median(plain for _, plain in pairs):.0f} pictures/s; "
        f"{len(waits)} explanations in {ROUNDS * ROUND_S:.0f} s, median {statistics.median(waits):.2f} s)",
        flush=True,
    )


def _rate(client: Client, images: Sequence[bytes]) -> float:
    """Return the pictures per second that `CALLERS` threads extract during `ROUND_S`."""
    start = time.perf_counter()

    def extract(_: int) -> int:
        asked = itertools.takewhile(lambda _: time.perf_counter() < start + ROUND_S, itertools.cycle(images))
        return len(client.extract(asked).values)

    with ThreadPoolExecutor(CALLERS) as pool:
        n = sum(pool.map(extract, range(CALLERS)))
    return n / (time.perf_counter() - start)


def _ask(asks: Iterator[Callable[[], object]], stop: threading.Event, waits: list[float]) -> None:
    """Ask for an explanation every second, or once the last one has arrived; append the seconds of each."""
    begun = time.perf_counter()
    for number in itertools.count():
        if stop.wait(max(0.0, begun + number - time.perf_counter())):
            return
        start = time.perf_counter()
        next(asks)()
        waits.append(time.perf_counter() - start)


@contextlib.contextmanager
def _server() -> Iterator[tuple[Client, int]]:
    """Run `fc7 serve` over an empty data folder; yield a client and the process's number."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", data]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            try:
                with fc7.connect(server.stdout.readline().split()[-1]) as client:
                    yield client, server.pid
            finally:
                server.terminate()


def _memory_mb(pid: int, name: str) -> float:
    """Return a process's memory now (VmRSS) or at its peak (VmHWM), in MB."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(rows[name].split()[0]) / 1024


def _jpeg(seed: int) -> bytes:
    """Return a picture that differs for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def _session(graph: bytes) -> Any:
    import onnxruntime as ort  # only here: fc7_service must turn its telemetry off first

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _seconds(*functions: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Return the median processor seconds of each function; they run in turn, so other programs matter little."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(runs + 1):
        for function, row in zip(functions, times, strict=True):
            start = time.process_time()
            function()
            row.append(time.process_time() - start)
    return [statistics.median(row[1:]) for row in times]


ROWS = {row.__name__: row for row in (unit, occlude, match, top, load)}

if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        ROWS[name]()
