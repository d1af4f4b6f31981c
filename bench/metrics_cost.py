"""What metrics cost: the CPU time of a server per call with one picture, without and with them.

    python bench/metrics_cost.py

One caller; of two servers each answers in turn. CPU time and not the clock, because other programs disturb it less.
The last lines are what a call records, by itself, and the share of a core that each server takes while it is idle.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image

import fc7
from fc7_service.telemetry.exporter import Exporter

LABELS = {"method": "fc7.v1.FeatureService/Extract"}


@contextmanager
def serving(data: Path, *words: str) -> Iterator[fc7.Client]:
    """Run a server until the block ends."""
    command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", str(data), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        with fc7.connect(process.stdout.readline().split()[-1]) as client:
            yield client
        process.terminate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time so far of the threads that a process has."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def seconds_per_call(client: fc7.Client, picture: bytes, n_calls: int) -> float:
    """Return the CPU time that the server takes per call."""
    pid = client.server_info().pid
    start = cpu_seconds(pid)
    for _ in range(n_calls):
        client.extract(picture)
    return (cpu_seconds(pid) - start) / n_calls


def idle_share(client: fc7.Client, seconds: float = 10) -> float:
    """Return the share of a core that an idle server takes."""
    pid = client.server_info().pid
    time.sleep(1)
    start = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - start) / seconds


def seconds_per_record(n: int = 20_000) -> float:
    """Return the CPU time of all numbers that one call with one picture records."""
    exporter = Exporter({}, {})
    start = time.process_time()
    for _ in range(n):
        exporter.record("fc7_requests_total", **LABELS, code="OK", reason="")
        exporter.record("fc7_request_seconds", 0.01, **LABELS)
        exporter.record("fc7_request_items_total", 1, **LABELS)
        exporter.record("fc7_decode_seconds", 0.001)
        exporter.record("fc7_queue_seconds", 0.001, model="alexnet-64")
        exporter.record("fc7_batch_images", 1, model="alexnet-64")
        exporter.record("fc7_compute_seconds", 0.005, model="alexnet-64")
    return (time.process_time() - start) / n


def main() -> None:
    """Print the CPU time per call of both servers, and the ratio over the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--model", default="alexnet-64")
    chosen = parser.parse_args()
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((320, 240)).save(buffer, "JPEG")
    picture, model = buffer.getvalue(), ("--model", chosen.model, "--threads", "1")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        without = stack.enter_context(serving(folder / "without", *model))
        measured = stack.enter_context(serving(folder / "with", *model, "--metrics", "127.0.0.1:0"))
        times: list[tuple[float, float]] = []
        for i in range(chosen.rounds + 1):
            if i % 2:
                a = seconds_per_call(without, picture, chosen.calls)
                b = seconds_per_call(measured, picture, chosen.calls)
            else:
                b = seconds_per_call(measured, picture, chosen.calls)
                a = seconds_per_call(without, picture, chosen.calls)
            times.append((a, b))
        del times[0]  # warms up
        idle = idle_share(without), idle_share(measured)
    low, ratio, high = statistics.quantiles([b / a for a, b in times], n=4)
    print(f"without metrics  {statistics.median(a for a, _ in times) * 1e3:.2f} ms of CPU per call")
    print(f"with metrics     {statistics.median(b for _, b in times) * 1e3:.2f} ms of CPU per call")
    print(f"ratio            {ratio:.3f} (quartiles {low:.3f} and {high:.3f})")
    print(f"recording alone  {seconds_per_record() * 1e6:.1f} microseconds of CPU per call")
    print(f"idle             {idle[0]:.4f} of a core without metrics, {idle[1]:.4f} with them")


if __name__ == "__main__":
    main()
