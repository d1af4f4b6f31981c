"""Measure how long the command takes to answer, with an empty data folder.

    make bench-start

Prints one line per command: the median of five runs, after one to warm up. The first line is an empty Python program,
which no command can beat.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = (("--help",), ("collection", "list"), ("head", "list"))
RUNS = 5


def seconds(*args: str) -> float:
    """Return the median seconds of a command of fc7."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fc7", *args], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Print one line per command."""
    print(f"{'python -c pass':20} {_empty():.2f} s")
    with tempfile.TemporaryDirectory() as data:
        for args in COMMANDS:
            options = () if args == ("--help",) else ("--data", data)
            print(f"{'fc7 ' + ' '.join(args):20} {seconds(*args, *options):.2f} s")


def _empty() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
