"""What the parts of `serving.py` share: pictures, networks, servers, callers, and the limit without a server."""

from __future__ import annotations

import asyncio
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from metrics_cost import cpu_seconds
from numpy.typing import NDArray
from PIL import Image

from fc7.contract.cores import usable_cores
from fc7.v1 import common_pb2, feature_pb2
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_model
from fc7_service.features.preprocess import preprocess
from fc7_service.features.session import Session
from fc7_service.rpc.inference_messages import pb

EXTRACT, INFER = "/fc7.v1.FeatureService/Extract", "/inference.GRPCInferenceService/ModelInfer"
SMALL, LAYER = "alexnet-64", "fc7"
CALLERS = (1, 4, 16, 64)
BATCH = 32
N_PICTURES = 128
OPTIONS = [  # each channel has a connection of its own
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


@cache
def photographs() -> list[bytes]:
    """Return JPEG files of 500 x 375 pixels and about 50 kB, the usual size of a photograph of ImageNet."""
    return [_photograph(seed) for seed in range(N_PICTURES)]


def _photograph(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 54, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-6, 7, smooth.shape, dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def extract_request(images: Sequence[bytes], model: str = SMALL) -> bytes:
    """Return the bytes of a call of Extract."""
    return feature_pb2.ExtractRequest(
        model=model, layer=LAYER, images=[common_pb2.Image(encoded=data) for data in images]
    ).SerializeToString()


def infer_request(model: str, image: bytes | NDArray[np.float32]) -> bytes:
    """Return the bytes of a call of ModelInfer with one JPEG file, or one tensor of float32."""
    request = pb.ModelInferRequest(model_name=model)
    if isinstance(image, bytes):
        request.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(len(image).to_bytes(4, "little") + image)
    else:
        request.inputs.add(name="image", datatype="FP32", shape=[1, *image.shape])
        request.raw_input_contents.append(image.tobytes())
    request.outputs.add(name=LAYER)
    return bytes(request.SerializeToString())


@cache
def paper_size() -> Path:
    """Return the bundle of an AlexNet as large as that of 2012 (61 million parameters), with random weights."""
    import torch

    from fc7_models.export.pack_bundle import BundleContents, pack_bundle
    from fc7_models.export.torch_to_onnx import to_onnx
    from fc7_models.networks import find_network
    from fc7_service.bundle.bundle import ClassLabel
    from fc7_service.bundle.recipe import Recipe

    torch.manual_seed(0)
    network = find_network("alexnet")
    graph = to_onnx(network.build(1000).eval(), network)
    recipe = Recipe(resize_px=256, crop_px=227, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
    classes = [ClassLabel(str(i), str(i)) for i in range(1000)]
    folder = Path(tempfile.mkdtemp(prefix="fc7-bench-")) / "alexnet"
    contents = BundleContents("alexnet", graph, recipe, classes, "# Random weights", default_layer=LAYER)
    return pack_bundle(contents, folder, name="alexnet").path


@dataclass
class Server:
    """A server in a process of its own."""

    address: str
    pid: int
    stalls: Path

    @property
    def resident_mb(self) -> float:
        """Memory of the process now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def peak_mb(self) -> float:
        """Largest memory of the process so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


longest_stalls = [0.0, 0.0]  # of all servers so far; see watched_server.py


@contextmanager
def serving(model: str | Path = SMALL, *words: str, service: Path | None = None) -> Iterator[Server]:
    """Run a server with its default settings; ``service`` is the folder of that name of another tree."""
    tree = [] if service is None else ["env", f"PYTHONPATH={service.parent / 'client'}:{service}"]
    with tempfile.TemporaryDirectory() as folder:
        data, stalls = Path(folder) / "data", Path(folder) / "stalls"
        watched = str(Path(__file__).with_name("watched_server.py"))
        serve = ["serve", "--listen", "127.0.0.1:0", "--data", str(data), "--model", str(model), *words]
        command = [*tree, sys.executable, watched, str(stalls), *serve]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            yield Server(process.stdout.readline().split()[-1], process.pid, stalls)
        finally:
            if service is None and stalls.exists():
                found = map(float, stalls.read_text().split())
                longest_stalls[:] = map(max, longest_stalls, found)
            process.terminate()
            process.wait(60)


@dataclass
class Load:
    """What callers saw, and what it cost."""

    seconds: list[float] = field(default_factory=list)  # of each call
    per_s: float = 0.0
    server_s: float = 0.0  # CPU time per call
    client_s: float = 0.0


async def call_in_turn(server: Server, method: str, requests: Sequence[bytes], n_callers: int, seconds: float) -> Load:
    """Let callers send one request after the other, each when the last is answered. Nothing is parsed here."""
    async with grpc.aio.insecure_channel(server.address, OPTIONS) as channel:
        return await take_turns([channel.unary_unary(method)] * n_callers, requests, [server.pid], seconds)


async def take_turns(
    calls: Sequence[Callable[[bytes], Any]], requests: Sequence[bytes], pids: Sequence[int], seconds: float
) -> Load:
    """Let one caller per call send requests in turn; count the CPU time of the processes ``pids``, the server's."""
    load, start, end = Load(), time.monotonic(), time.monotonic() + seconds
    own, its = time.process_time(), sum(map(cpu_seconds, pids))

    async def one_caller(number: int) -> None:
        while not load.seconds or time.monotonic() < end:
            began = time.monotonic()
            await calls[number](requests[(number + len(load.seconds)) % len(requests)])
            load.seconds.append(time.monotonic() - began)

    await asyncio.gather(*(one_caller(number) for number in range(len(calls))))
    n = len(load.seconds)
    load.per_s = n / (time.monotonic() - start)
    load.server_s, load.client_s = (sum(map(cpu_seconds, pids)) - its) / n, (time.process_time() - own) / n
    return load


class InProcess:
    """Decoding and ONNX Runtime in this process, with the server's settings: the limit of every server."""

    def __init__(self, model: str | Path) -> None:
        self.bundle: Bundle = open_model(str(model))
        self._recipe, threads = self.bundle.recipe_of(LAYER), usable_cores()
        self._session = Session(self.bundle, device="cpu", threads=threads)
        self._pool = ThreadPoolExecutor(threads)
        px = self._recipe.crop_px
        self.tensors = np.random.default_rng(0).standard_normal((BATCH, 3, px, px), np.float32)

    def one_file(self) -> None:
        """Decode one picture and run it."""
        self._session.run(preprocess(photographs()[0], self._recipe)[np.newaxis], [LAYER])

    def files(self) -> None:
        """Decode a batch with as many threads as there are cores, and run it."""
        tensors = list(self._pool.map(lambda data: preprocess(data, self._recipe), photographs()[:BATCH]))
        self._session.run(np.stack(tensors), [LAYER])

    def pixels(self, n: int) -> Callable[[], None]:
        """Return what runs ``n`` tensors at once."""
        return lambda: void(self._session.run(self.tensors[:n], [LAYER]))


def void(_: object) -> None:
    """Drop a result."""


def repeat(work: Callable[[], None], seconds: float) -> tuple[list[float], float]:
    """Return the seconds of each run of ``work``, and the CPU seconds per run."""
    times, end, cpu = list[float](), time.monotonic() + seconds, time.process_time()
    while not times or time.monotonic() < end:
        start = time.monotonic()
        work()
        times.append(time.monotonic() - start)
    return times, (time.process_time() - cpu) / len(times)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile; 0 of no values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def spread(values: Sequence[float], unit: str = "", scale: float = 1.0, digits: int = 2) -> str:
    """Return the median and the range of a few values."""
    low, middle, high = (scale * one for one in (min(values), statistics.median(values), max(values)))
    return f"{middle:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"
