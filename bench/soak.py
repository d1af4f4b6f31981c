"""Let a server run under mixed calls, and measure what grows: `python bench/soak.py [MINUTES]` (30 by default).

The server is a process of its own, with two threads, metrics and the HTTP door. Four callers extract, search, add,
classify and list, with a short pause between calls. A tenth of the calls are cancelled while they run. The network is
reloaded every 20 seconds. The number of items stays the same, because every upsert replaces items.

Resident memory, threads and open files are read every 2 seconds. Growth is the median of the last tenth of the time
over the median of the second tenth: the first tenth warms up. Exit code 1 if memory grew by 2 % or more, or if threads
or files grew at all, or if a call that nobody cancelled failed, or if the server did not end with 0.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from reload_memory import picture

import fc7

CALLERS, PAUSE_S, SAMPLE_S, RELOAD_S = 4, 0.15, 2.0, 20.0
N_ITEMS, CANCELLED = 100, 0.1
PICTURES = [picture(seed) for seed in range(N_ITEMS)]


def read_process(pid: int) -> tuple[float, int, int]:
    """Return the resident memory in MB, the threads and the open files of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    counts = [len(os.listdir(f"/proc/{pid}/{kind}")) for kind in ("task", "fd")]
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, *counts


async def prepare(client: fc7.AsyncClient) -> fc7.AsyncCollection:
    """Make a collection, and a head with two classes."""
    photos = await client.create_collection("photos")
    ids = [f"i{n}" for n in range(N_ITEMS)]
    await photos.add(PICTURES, ids=ids)
    head = await client.train_head("h", images=PICTURES[:20], labels=["a", "b"] * 10)
    await client.publish_head("h", head.version)
    return photos


async def call_once(client: fc7.AsyncClient, photos: fc7.AsyncCollection, rng: random.Random) -> None:
    """Make one call of any kind."""
    some = rng.sample(range(N_ITEMS), rng.choice([1, 1, 1, 8, 16]))
    images = [PICTURES[n] for n in some]
    match rng.randrange(5):
        case 0:
            await client.extract(images)
        case 1:
            await photos.search(images[0], k=5)
        case 2:
            await photos.add(images, ids=[f"i{n}" for n in some], replace=True)
        case 3:
            await client.classify(images, head="h")
        case 4:
            await photos.get([f"i{n}" for n in some])


async def caller(
    client: fc7.AsyncClient, photos: fc7.AsyncCollection, seed: int, end: float, counts: collections.Counter[str]
) -> None:
    """Call until the end; cancel one call in ten a moment after it began."""
    rng = random.Random(seed)
    while time.monotonic() < end:
        call = asyncio.ensure_future(call_once(client, photos, rng))
        if rng.random() < CANCELLED:
            await asyncio.sleep(rng.uniform(0, 0.03))
            call.cancel()
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        counts["answered" if outcome is None else type(outcome).__name__] += 1
        await asyncio.sleep(rng.uniform(0, 2 * PAUSE_S))


async def reload_often(client: fc7.AsyncClient, end: float) -> int:
    """Reload the network until the end; return how often."""
    n_reloads = 0
    while time.monotonic() < end:
        await client.reload_model()
        n_reloads += 1
        await asyncio.sleep(RELOAD_S)
    return n_reloads


async def watch(pid: int, end: float) -> list[tuple[float, int, int]]:
    """Read the process until the end."""
    samples = []
    while time.monotonic() < end:
        samples.append(read_process(pid))
        if len(samples) % 60 == 0:
            print("MB, threads, open files:", *map(round, samples[-1]), flush=True)
        await asyncio.sleep(SAMPLE_S)
    return samples


async def load(address: str, pid: int, minutes: float) -> tuple[list[Any], collections.Counter[str], int]:
    """Run everything; return the samples, the outcomes of the calls and the number of reloads."""
    counts: collections.Counter[str] = collections.Counter()
    async with fc7.AsyncClient(address) as client:
        photos = await prepare(client)
        end = time.monotonic() + minutes * 60
        callers = [caller(client, photos, seed, end, counts) for seed in range(CALLERS)]
        samples, n_reloads, *_ = await asyncio.gather(watch(pid, end), reload_often(client, end), *callers)
    return samples, counts, n_reloads


def main(minutes: float = 30) -> int:
    """Run, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("--model", "alexnet-64", "--threads", "2", "--metrics", "127.0.0.1:0", "--http", "127.0.0.1:0")
        command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", folder, *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            try:
                samples, counts, n_reloads = asyncio.run(load(address, server.pid, minutes))
            finally:
                server.terminate()
            code = server.wait(60)
    tenth = max(1, len(samples) // 10)
    early, late = (
        [statistics.median(values) for values in zip(*part, strict=True)]
        for part in (samples[tenth : 2 * tenth], samples[-tenth:])
    )
    growth = late[0] / early[0] - 1
    print(f"{minutes:g} minutes, {sum(counts.values())} calls: {dict(counts)}, {n_reloads} reloads, exit code {code}")
    print(f"memory {early[0]:.0f} -> {late[0]:.0f} MB ({growth:+.1%}), most {max(s[0] for s in samples):.0f} MB")
    print(f"threads {early[1]:g} -> {late[1]:g}, open files {early[2]:g} -> {late[2]:g}")
    tenths = [samples[n : n + tenth] for n in range(0, len(samples), tenth)]
    print("MB, median of each tenth:", [round(statistics.median(s[0] for s in part)) for part in tenths])
    is_flat = growth < 0.02 and late[1] <= early[1] and late[2] <= early[2]
    return 0 if is_flat and code == 0 and set(counts) <= {"answered", "CancelledError"} else 1


if __name__ == "__main__":
    raise SystemExit(main(*map(float, sys.argv[1:])))
