"""Memory of a server over ten reloads of a network: `python bench/reload_memory.py [MODEL]`.

Each reload comes after a burst of calls. The server is a process of its own, with two threads. Prints the resident
memory in MB after each burst, before the first reload and after the last one once the server has been idle long enough
to give the memory of bursts back, and the threads and open files at the end.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

import fc7

RELOADS, CALLERS, IMAGES = 10, 3, 64
IDLE_S = 40.0  # the server gives memory back after 30


def resident_mb(pid: int) -> int:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def picture(seed: int) -> bytes:
    """Return a JPEG file that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((300, 300)).save(buffer, "JPEG")
    return buffer.getvalue()


def burst(client: fc7.Client, images: list[bytes]) -> None:
    """Extract with several callers at once."""
    threads = [threading.Thread(target=client.extract, args=(images,)) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(model: str = "alexnet-64") -> None:
    """Measure and print."""
    images = [picture(seed) for seed in range(IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        words = ("serve", "--listen", "127.0.0.1:0", "--data", folder, "--model", model, "--threads", "2")
        command = [sys.executable, "-m", "fc7", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            with fc7.connect(server.stdout.readline().split()[-1]) as client:
                burst(client, images)
                memory = [resident_mb(server.pid)]
                time.sleep(IDLE_S)
                before = resident_mb(server.pid)
                for _ in range(RELOADS):
                    assert client.reload_model().running_calls == 0
                    burst(client, images)
                    memory.append(resident_mb(server.pid))
                time.sleep(IDLE_S)
                after = resident_mb(server.pid)
            print(f"{model}: MB {memory}")
            print(f"idle: {before} MB before the first reload, {after} MB after the last: ratio {after / before:.2f}")
            counts = [len(os.listdir(f"/proc/{server.pid}/{kind}")) for kind in ("task", "fd")]
            print(f"{counts[0]} threads, {counts[1]} open files")
            server.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
