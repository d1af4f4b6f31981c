"""What a second server brings: `python bench/two_servers.py [SECONDS]`, on Linux with at least two cores.

One server on one core, then two servers with a core each, behind one client that speaks to both (`fc7.connect` with a
list). 16 callers wait for their answers; the network is `alexnet-64`, layer `fc7`, pictures are JPEG files of 128
pixels. The rounds alternate.

On two cores the callers and the servers share the cores. So two ratios are printed: that of the pictures per second,
and that of the pictures per second of a server's CPU time, times the number of servers. The second one says what two
idle machines would give: it falls below 2 only if a server behind a balanced client spends more on a picture.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from serving import PICTURES

import fc7

CALLERS, ROUNDS = 16, 3
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def server(core: int) -> Iterator[tuple[str, int]]:
    """Run a server on one core; yield its address and its process id."""
    with tempfile.TemporaryDirectory() as data:
        words = ("serve", "--listen", "127.0.0.1:0", "--data", data, "--model", "alexnet-64", "--threads", "1")
        command = ["taskset", "-c", str(core), sys.executable, "-m", "fc7", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1], process.pid
            process.terminate()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(client: fc7.Client, pids: list[int], seconds: float) -> tuple[float, float]:
    """Return the pictures per second, and the pictures per second of CPU time of the servers."""
    end, counts, before = time.monotonic() + seconds, [0] * CALLERS, [cpu_s(pid) for pid in pids]

    def call(place: int) -> None:
        while time.monotonic() < end:
            client.extract(PICTURES[place])
            counts[place] += 1

    start = time.monotonic()
    threads = [threading.Thread(target=call, args=(place,)) for place in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed, spent = time.monotonic() - start, sum(cpu_s(pid) for pid in pids) - sum(before)
    return sum(counts) / elapsed, sum(counts) / spent


def main(seconds: float = 10) -> None:
    """Measure and print."""
    rates: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with ExitStack() as stack:
        servers = [stack.enter_context(server(core)) for core in (0, 1)]
        clients = {1: fc7.connect([servers[0][0]]), 2: fc7.connect([address for address, _ in servers])}
        for client in clients.values():
            stack.enter_context(client)
        for n in (1, 2):
            measure(clients[n], [pid for _, pid in servers[:n]], 2)
        for _ in range(ROUNDS):
            for n in (1, 2):
                rates[n].append(measure(clients[n], [pid for _, pid in servers[:n]], seconds))
    wall = [two[0] / one[0] for one, two in zip(rates[1], rates[2], strict=True)]
    cpu = [2 * two[1] / one[1] for one, two in zip(rates[1], rates[2], strict=True)]
    print(f"pictures per second: one server {[round(r[0]) for r in rates[1]]}, two {[round(r[0]) for r in rates[2]]}")
    print(f"two / one, pictures per second: {statistics.median(wall):.2f} ({min(wall):.2f} to {max(wall):.2f})")
    print(f"two / one, by the servers' CPU time: {statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f})")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
