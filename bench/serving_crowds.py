"""Parts of `serving.py`: an interactive caller beside bulk calls, and more calls than the server can answer."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvloop
from metrics_cost import cpu_seconds
from serving_world import (
    EXTRACT,
    N_PICTURES,
    OPTIONS,
    SMALL,
    Server,
    call_in_turn,
    extract_request,
    photographs,
    quantile,
    serving,
    spread,
)

N_BULK = 30
DEADLINE_S = 2.0
PAUSE_S = 0.1
LOADS = (1.5, 3.0, 10.0)
REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)  # the latter where the server's clock is ahead


async def _interactive(call: Any, request: bytes, until: Callable[[], bool]) -> list[float]:
    """Ask for one picture at a time, with pauses; return the seconds of each call."""
    times = list[float]()
    while not until():
        start = time.monotonic()
        await call(request)
        times.append(time.monotonic() - start)
        await asyncio.sleep(PAUSE_S)
    return times


async def _alone(server: Server, request: bytes, seconds: float) -> list[float]:
    async with grpc.aio.insecure_channel(server.address, OPTIONS) as channel:
        end = time.monotonic() + seconds
        return await _interactive(channel.unary_unary(EXTRACT), request, lambda: time.monotonic() > end)


async def _crowd(server: Server, request: bytes, many: bytes, *, asks: bool) -> tuple[list[float], float, float]:
    """Let callers send one bulk call each.

    Returns the seconds of single pictures meanwhile, the bulk pictures per second, and those per CPU second.
    """
    channels = [grpc.aio.insecure_channel(server.address, OPTIONS) for _ in range(N_BULK + 1)]
    one, *bulk = (channel.unary_unary(EXTRACT) for channel in channels)
    start, cpu = time.monotonic(), cpu_seconds(server.pid)
    calls = asyncio.gather(*(call(many) for call in bulk))
    times = await _interactive(one, request, calls.done) if asks else []
    await calls
    n = N_BULK * N_PICTURES
    rate, per_cpu_s = n / (time.monotonic() - start), n / (cpu_seconds(server.pid) - cpu)
    for channel in channels:
        await channel.close()
    return times, rate, per_cpu_s


def beside(seconds: float) -> None:
    """Print how long one interactive caller waits alone, and beside bulk calls; and what bulk keeps of its rate."""
    request, many = extract_request(photographs()[:1]), extract_request(photographs())
    with serving() as server:
        single = uvloop.run(_alone(server, request, seconds))
        before = uvloop.run(_crowd(server, request, many, asks=False))
        times, rate, per_cpu_s = uvloop.run(_crowd(server, request, many, asks=True))
        after = uvloop.run(_crowd(server, request, many, asks=False))
        single += uvloop.run(_alone(server, request, seconds))
    median, late = statistics.median(single), quantile(single, 0.99)
    middle, worst = statistics.median(times), quantile(times, 0.99)
    print(f"alone: median {median * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms")
    print(
        f"one interactive caller beside {N_BULK} bulk calls of {N_PICTURES} / alone: median {middle / median:.1f} to "
        f"reach 3, p99 {worst / late:.1f} to reach 6"
    )
    without, without_cpu = (before[1] + after[1]) / 2, (before[2] + after[2]) / 2
    print(
        f"bulk beside the interactive caller / without: clock {rate / without:.2f}, CPU {per_cpu_s / without_cpu:.2f} "
        "to reach .9"
    )


@dataclass
class Outcomes:
    """The seconds of calls, by how they ended."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    cpu_s: float = 0.0  # of the server
    client_s: float = 0.0  # CPU time of the client


async def _arrivals(server: Server, requests: list[bytes], per_s: float, seconds: float) -> Outcomes:
    """Send single pictures at a fixed rate, each with a deadline."""
    outcomes, calls, n_sent = Outcomes(), set[asyncio.Task[None]](), 0
    async with grpc.aio.insecure_channel(server.address, OPTIONS) as channel:
        extract: Any = channel.unary_unary(EXTRACT)

        async def call(request: bytes) -> None:
            start = time.monotonic()
            try:
                await extract(request, timeout=DEADLINE_S)
                outcomes.answered.append(time.monotonic() - start)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (*REFUSED, *LATE):
                    raise
                ended = outcomes.refused if error.code() in REFUSED else outcomes.late
                ended.append(time.monotonic() - start)

        cpu, own, begin = cpu_seconds(server.pid), time.process_time(), time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            while n_sent < (now - begin) * per_s:
                task = asyncio.create_task(call(requests[n_sent % len(requests)]))
                calls.add(task)
                task.add_done_callback(calls.discard)
                n_sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*calls)
        outcomes.cpu_s, outcomes.client_s = cpu_seconds(server.pid) - cpu, time.process_time() - own
    return outcomes


def overload(seconds: float, model: str | Path = SMALL) -> None:
    """Print goodput and refusals when single pictures arrive at a fixed rate above the peak."""
    requests = [extract_request([photo], Path(model).name) for photo in photographs()]
    with serving(model) as server:

        def peak() -> tuple[float, float]:
            load = uvloop.run(call_in_turn(server, EXTRACT, requests, 64, seconds / 4))
            return load.per_s, load.server_s

        peak()  # warms up
        for times in LOADS:
            (before, before_s), (again, again_s) = peak(), peak()
            found = uvloop.run(_arrivals(server, requests, times * (before + again) / 2, seconds))
            ends = [(before, before_s), (again, again_s), peak(), peak()]
            best, cost_s = (statistics.mean(column) for column in zip(*ends, strict=True))
            n = len(found.answered)
            print(
                f"load {times:g} x {(before + again) / 2:.0f}/s on {Path(model).name}, goodput / peak: clock "
                f"{n / seconds / best:.2f} (peaks {spread([rate / best for rate, _ in ends])}), per CPU of the server "
                f"{cost_s * n / found.cpu_s:.2f}, to reach .9; the client took {found.client_s / seconds:.2f} cores\n"
                f"    {n} answered (median {quantile(found.answered, 0.5):.2f} s), {len(found.late)} too late, "
                f"{len(found.refused)} refused: median {quantile(found.refused, 0.5) * 1e3:.0f} ms, p99 "
                f"{quantile(found.refused, 0.99) * 1e3:.0f} ms to reach 50 ms",
                flush=True,
            )
