"""Measure how a server shares its network between callers, and what it does when it has too much to do.

    make bench-serving                                     # this tree
    python bench/serving.py --service OTHER/service        # another tree's service, to compare: one after the other

All callers, and the server, are processes on this machine: read the ratios, not the rates. The pictures are JPEG files
of 128 pixels, made here; the network is `alexnet-64`, layer `fc7`.

- *Beside bulk*: one caller asks for one picture at a time, with a short pause, alone and beside 8 and 30 callers who
  send 128 pictures each in one call. "Kept" is the bulk rate with that caller over the bulk rate without it.
- *Overload*: single pictures arrive at a fixed rate, whether or not the server answers; each has a deadline. Goodput is
  what is answered in time, per second, over the peak: the rate of 64 callers who wait for their answers, measured
  before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

from fc7.v1 import common_pb2, feature_pb2, feature_pb2_grpc

N_BULK = 128
DEADLINE_S = 2.0
PAUSE_S = 0.25
REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)  # the latter where the server's clock is ahead
LOADS = (1.5, 3.0, 10.0)
OPTIONS = [  # each caller has a connection of its own
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]

Stub = Any


def picture(seed: int) -> bytes:
    """Return a JPEG file of 128 x 128 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


PICTURES = [picture(seed) for seed in range(N_BULK)]
ONE = feature_pb2.ExtractRequest(model="alexnet-64", layer="fc7", images=[common_pb2.Image(encoded=PICTURES[0])])
MANY = feature_pb2.ExtractRequest(
    model="alexnet-64", layer="fc7", images=[common_pb2.Image(encoded=data) for data in PICTURES]
)


@contextmanager
def server(service: Path | None) -> Iterator[str]:
    """Run a server in a process of its own; yield its address."""
    tree = [] if service is None else ["env", f"PYTHONPATH={service.parent / 'client'}:{service}"]
    with tempfile.TemporaryDirectory() as data:
        serve = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", data]
        command = [*tree, *serve, "--model", "alexnet-64"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let calls fail: the figures count those that succeed."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() not in (*REFUSED, *LATE):
            raise


async def interactive(stub: Stub, until: Callable[[], bool]) -> list[float]:
    """Ask for one picture at a time; return the seconds of each call."""
    times = list[float]()
    while not until():
        start = time.monotonic()
        await stub.Extract(ONE)
        times.append(time.monotonic() - start)
        await asyncio.sleep(PAUSE_S)
    return times


async def alone(address: str, seconds: float) -> list[float]:
    """Return the seconds of single pictures."""
    async with grpc.aio.insecure_channel(address) as channel:
        end = time.monotonic() + seconds
        return await interactive(feature_pb2_grpc.FeatureServiceStub(channel), lambda: time.monotonic() > end)


async def beside(address: str, n_bulk: int, *, asks: bool) -> tuple[list[float], float]:
    """Let callers send one bulk call each; return the seconds of single pictures meanwhile, and the bulk rate."""
    channels = [grpc.aio.insecure_channel(address, OPTIONS) for _ in range(n_bulk + 1)]
    one, *many = (feature_pb2_grpc.FeatureServiceStub(channel) for channel in channels)
    start = time.monotonic()
    calls = asyncio.gather(*(stub.Extract(MANY) for stub in many))
    times = await interactive(one, calls.done) if asks else []
    await calls
    rate = n_bulk * N_BULK / (time.monotonic() - start)
    for channel in channels:
        await channel.close()
    return times, rate


async def peak(address: str, seconds: float, n_callers: int = 64) -> float:
    """Return the rate of callers who wait for their answers."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Stub = feature_pb2_grpc.FeatureServiceStub(channel)
        end, n_done = time.monotonic() + seconds, 0

        async def call() -> None:
            nonlocal n_done
            while time.monotonic() < end:
                with _quiet():
                    await stub.Extract(ONE)
                    n_done += 1

        await asyncio.gather(*(call() for _ in range(n_callers)))
        return n_done / seconds


@dataclass
class Outcomes:
    """The seconds of calls, by how they ended."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


async def overload(address: str, per_s: float, seconds: float) -> Outcomes:
    """Send single pictures at a fixed rate, each with a deadline."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Stub = feature_pb2_grpc.FeatureServiceStub(channel)
        outcomes = Outcomes()

        async def call() -> None:
            start = time.monotonic()
            with _quiet():
                try:
                    await stub.Extract(ONE, timeout=DEADLINE_S)
                except grpc.aio.AioRpcError as error:
                    is_refused = error.code() in REFUSED
                    (outcomes.refused if is_refused else outcomes.late).append(time.monotonic() - start)
                    raise
                outcomes.answered.append(time.monotonic() - start)

        begin, calls = time.monotonic(), set[asyncio.Task[None]]()
        n_sent = 0
        while (now := time.monotonic()) < begin + seconds:
            while n_sent < (now - begin) * per_s:
                calls.add(asyncio.create_task(call()))
                n_sent += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*calls)
        return outcomes


def _quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def run(address: str, seconds: float) -> None:
    """Print all figures of one server."""
    single = asyncio.run(alone(address, seconds))
    median, late = statistics.median(single), _quantile(single, 0.99)
    print(f"{'alone':22} median {median * 1e3:7.1f} ms        p99 {late * 1e3:7.1f} ms", flush=True)
    for n_bulk in (8, 30):
        _, without = asyncio.run(beside(address, n_bulk, asks=False))
        times, with_one = asyncio.run(beside(address, n_bulk, asks=True))
        middle, worst = statistics.median(times), _quantile(times, 0.99)
        print(
            f"{f'beside {n_bulk} x {N_BULK}':22} median {middle * 1e3:7.1f} ms ({middle / median:5.1f}) "
            f"p99 {worst * 1e3:7.1f} ms ({worst / late:5.1f})  bulk {without:5.0f}/s, kept {with_one / without:.2f}",
            flush=True,
        )
    for load in LOADS:
        before = asyncio.run(peak(address, seconds / 2))
        found = asyncio.run(overload(address, load * before, seconds))
        best = (before + asyncio.run(peak(address, seconds / 2))) / 2
        print(
            f"{f'load {load:g} x {before:.0f}/s':22} goodput / peak {len(found.answered) / seconds / best:.2f}, median "
            f"{_quantile(found.answered, 0.5):.2f} s  refused {len(found.refused)}: median "
            f"{_quantile(found.refused, 0.5) * 1e3:.0f} ms, p99 {_quantile(found.refused, 0.99) * 1e3:.0f} ms  "
            f"too late {len(found.late)}",
            flush=True,
        )


def main() -> None:
    """Measure one service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", type=Path, help="folder `service` of another tree; its client lies beside it")
    parser.add_argument("--seconds", type=float, default=20.0, help="per measurement")
    arguments = parser.parse_args()
    with server(arguments.service) as address:
        run(address, arguments.seconds)


if __name__ == "__main__":
    main()
