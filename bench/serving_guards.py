"""Parts of `serving.py`: what strangers and hostile pictures cost, and a server that nobody calls."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from typing import Any

import grpc
import numpy as np
from metrics_cost import cpu_seconds
from PIL import Image
from serving_world import EXTRACT, OPTIONS, SMALL, Server, extract_request, photographs, serving, spread

MESSAGE_BYTES = 62 * 2**20
SIDE_PX = 7000  # 49 million pixels: just below the limit


def _call(server: Server, request: bytes) -> str:
    with grpc.insecure_channel(server.address, OPTIONS) as channel:
        call: Any = channel.unary_unary(EXTRACT)
        try:
            call(request)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


def giant(rounds: int) -> None:
    """Print what one message of 62 MiB from a caller without a token costs."""
    with tempfile.NamedTemporaryFile("w", suffix=".tokens") as tokens:
        tokens.write("admin " + "0" * 64 + "\n")
        tokens.flush()
        request = extract_request([bytes(MESSAGE_BYTES)])
        with serving(SMALL, "--token-file", tokens.name) as server:
            _call(server, b"")
            before = server.peak_mb
            codes = {_call(server, request) for _ in range(rounds)}
            grown = server.peak_mb - before
            late_s, busy_s = map(float, server.stalls.read_text().split())
    print(f"one message of 62 MiB without a token: {', '.join(codes)}, {grown:.0f} MB to reach 100 MB")
    print(f"longest stall since the start: clock {late_s * 1e3:.0f} ms, CPU {busy_s * 1e3:.0f} ms to reach 50 ms")


def _hostile() -> list[bytes]:
    """Small files of many pixels, as many as fc7 allows, in the formats that take most memory."""
    flat = Image.new("RGB", (SIDE_PX, SIDE_PX), (200, 100, 50))
    deep = Image.fromarray(np.full((SIDE_PX, SIDE_PX), 30_000, np.uint16))
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (flat.convert("RGBA"), "PNG", {}),
        (deep, "PNG", {}),
        (flat, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (flat, "JPEG", {"progressive": True}),
    ]
    files = []
    for image, name, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, name, **options)
        files.append(buffer.getvalue())
    return files


def hostile() -> None:
    """Print the memory that sixteen hostile pictures in one call take."""
    files = _hostile() * 4
    with serving() as server:
        _call(server, extract_request(photographs()[:16]))
        before = server.peak_mb
        code = _call(server, extract_request(files))
        print(f"sixteen hostile pictures at once: {code}, {server.peak_mb - before:.0f} MB to reach 1000 MB")


def idle(seconds: float) -> None:
    """Print the share of a core that a server takes which nobody calls."""
    command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--model", SMALL, "--data"]
    with tempfile.TemporaryDirectory() as data:
        process = subprocess.Popen([*command, data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(2)
            cpu, began = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            share = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(60)
    print(f"idle: {share:.4f} of a core to reach .01")


def start(rounds: int) -> None:
    """Print the time from the command to the line that says where the server listens."""
    clock, cpu = list[float](), list[float]()
    command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--model", SMALL, "--data"]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as data:
            began = time.monotonic()
            process = subprocess.Popen([*command, data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            clock.append(time.monotonic() - began)
            cpu.append(cpu_seconds(process.pid))
            process.terminate()
            process.wait(60)
    print(f"start to listening with one network: clock {spread(clock)} s, CPU {spread(cpu)} s to reach 1.0 s")
