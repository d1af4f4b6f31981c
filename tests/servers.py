"""A real `fc7 serve` process on loopback, and pictures to send to it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

WAIT_S = 300  # for what takes seconds on an idle machine: only what hangs takes longer


@dataclass
class Served:
    """A server under test."""

    address: str
    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)  # lines of standard error so far
    http: str = ""  # HOST:PORT of its HTTP door, if it has one

    def stop(self) -> int:
        """Ask it to end as a supervisor would; return its exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_S)


def serve_command(data: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", str(data), *args]


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("FC7_")}


@contextmanager
def serving(data: Path, *args: str) -> Iterator[Served]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        serve_command(data, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    served = Served("", process)

    def read(stream: io.TextIOBase) -> None:
        served.log.extend(line.rstrip("\n") for line in stream)

    reader = threading.Thread(target=read, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), f"server did not start: {served.log}"
        served.address = line.split()[-1]
        if "--http" in args:
            served.http = process.stdout.readline().split()[-1].rpartition("/")[2]
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_S)
        reader.join(WAIT_S)
        process.stdout.close()
        process.stderr.close()


def jpeg(seed: int, size: tuple[int, int] = (48, 36)) -> bytes:
    """A small picture that no other seed gives."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def write_jpegs(folder: Path, names: list[str]) -> None:
    """Write one picture a name; the same name gives the same bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(sum(name.encode()) * 1009 + len(name)))
