"""What a call with one picture costs beside decoding and the network, and how near a server comes to the limit.

    python bench/call_cost.py                                   # this tree
    python bench/call_cost.py --other OTHER/service             # and the service of another tree, in the same run

The limit is decoding and ONNX Runtime in one process without a server: two threads decode 32 pictures, then two
threads run the network on them. Servers and the limit take turns in every round, and never run at once. CPU time
disturbs less than the clock; still, read the ratios.

- *Own CPU*: CPU time of the server per call, less the CPU time of decoding one picture and running it alone.
- *Of the limit*: calls per second over the pictures per second of the limit. The callers run on the same cores.
- *In CPU*: CPU time per picture of the limit over that of a call, the server's and the client's. It is what the rate
  would be on cores that nobody else uses, if none of them ever waited.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from metrics_cost import cpu_seconds
from serving import ONE, OPTIONS, PICTURES, server

from fc7.contract.cores import usable_cores
from fc7.v1 import admin_pb2, admin_pb2_grpc, feature_pb2_grpc
from fc7_service.bundle.folder import open_model
from fc7_service.features.preprocess import preprocess
from fc7_service.features.session import Session

CALLERS = (1, 4, 16, 64)
BATCH = 32


class InProcess:
    """Decoding and the network, without a server."""

    def __init__(self) -> None:
        bundle = open_model("alexnet-64")
        self._recipe, threads = bundle.recipe_of("fc7"), usable_cores()
        self._one = Session(bundle, device="cpu", threads=1)
        self._many = Session(bundle, device="cpu", threads=threads)
        self._pool = ThreadPoolExecutor(threads)

    def one(self) -> None:
        """Decode one picture and run it."""
        self._one.run(preprocess(PICTURES[0], self._recipe)[np.newaxis], ["fc7"])

    def batch(self) -> None:
        """Decode and run a batch on all cores."""
        tensors = list(self._pool.map(lambda data: preprocess(data, self._recipe), PICTURES[:BATCH]))
        self._many.run(np.stack(tensors), ["fc7"])


def repeat(work: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Return how often per second something runs, and its CPU seconds."""
    n, start, cpu = 0, time.monotonic(), time.process_time()
    while (took := time.monotonic() - start) < seconds:
        work()
        n += 1
    return n / took, (time.process_time() - cpu) / n


async def call(address: str, pid: int, n_callers: int, seconds: float) -> tuple[float, float, float]:
    """Return the calls per second of callers who wait, and the CPU seconds per call of the server and of the client."""
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        stub: Any = feature_pb2_grpc.FeatureServiceStub(channel)
        n, start, own, its = 0, time.monotonic(), time.process_time(), cpu_seconds(pid)

        async def one_caller() -> None:
            nonlocal n
            while time.monotonic() < start + seconds:
                await stub.Extract(ONE)
                n += 1

        await asyncio.gather(*(one_caller() for _ in range(n_callers)))
        return n / (time.monotonic() - start), (cpu_seconds(pid) - its) / n, (time.process_time() - own) / n


def pid_of(address: str) -> int:
    """Return the process of a server."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = admin_pb2_grpc.AdminServiceStub(channel)
        return int(stub.GetServerInfo(admin_pb2.GetServerInfoRequest()).pid)


def main() -> None:
    """Measure this tree, and perhaps another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, action="append", default=[], help="folder `service` of another tree")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=6)
    chosen = parser.parse_args()
    inside, trees = InProcess(), [None, *chosen.other]
    names = ["this tree", *map(str, chosen.other)]
    found: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(server(tree)) for tree in trees]
        pids = [pid_of(address) for address in servers]
        for turn in range(chosen.rounds + 1):
            order = list(range(len(servers)))[:: 1 if turn % 2 else -1]
            for n_callers in CALLERS:
                limit, batch_s = repeat(inside.batch, chosen.seconds)
                _, one_s = repeat(inside.one, chosen.seconds / 3)
                for i in order:
                    rate, its, own = asyncio.run(call(servers[i], pids[i], n_callers, chosen.seconds))
                    if turn:  # the first round warms up
                        row = (rate / (BATCH * limit), batch_s / BATCH / (its + own), its - one_s, own)
                        found.setdefault((names[i], n_callers), []).append(row)
    for n_callers in CALLERS:
        for name in names:
            rate, cpu, its, own = (
                statistics.quantiles(column, n=4) for column in zip(*found[name, n_callers], strict=True)
            )
            print(
                f"{n_callers:3} callers, {name:20} of the limit {rate[1]:.2f} ({rate[0]:.2f} to {rate[2]:.2f}), in CPU "
                f"{cpu[1]:.2f} ({cpu[0]:.2f} to {cpu[2]:.2f})  per call: own CPU {its[1] * 1e3:5.2f} ms, client "
                f"{own[1] * 1e3:.2f} ms"
            )


if __name__ == "__main__":
    main()
