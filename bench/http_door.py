"""Measure what the HTTP door costs beside gRPC: JPEG files in, features out, through both doors of one server.

    make bench-http

One process makes all calls and another one is the server, on this machine: read the ratios, not the rates. The doors
take turns, window by window, and each ratio is that of the medians: of the rates, and of the processor time that the
server takes per picture, which a busy machine changes less. The pictures are JPEG files of 128 pixels, and the network
is `alexnet-64`, layer `fc7`. HTTP sends each picture as a body and gets JSON; gRPC sends and gets protobuf.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from serving import OPTIONS, PICTURES

from fc7.v1 import common_pb2, feature_pb2, feature_pb2_grpc

LAYER = "fc7"
PATH = f"/fc7.v1.FeatureService/Extract?layer={LAYER}"
CALLERS = (1, 16)
Call = Callable[[bytes], Awaitable[int]]  # a JPEG file in, the number of bytes of the features out


@contextmanager
def server() -> Iterator[tuple[str, str, int]]:
    """Run a server in a process of its own; yield its address, its URL and the id of its process."""
    with tempfile.TemporaryDirectory() as data:
        addresses = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        command = [sys.executable, "-m", "fc7", "serve", *addresses, "--data", data, "--model", "alexnet-64"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1], process.stdout.readline().split()[-1], process.pid
        finally:
            process.terminate()
            process.wait(60)


async def open_grpc(address: str, stack: AsyncExitStack) -> Call:
    """Return what makes a call over a connection of its own."""
    stub = feature_pb2_grpc.FeatureServiceStub(
        await stack.enter_async_context(grpc.aio.insecure_channel(address, OPTIONS))
    )

    async def call(picture: bytes) -> int:
        request = feature_pb2.ExtractRequest(layer=LAYER, images=[common_pb2.Image(encoded=picture)])
        return len((await stub.Extract(request)).features.data)

    return call


async def open_http(url: str, stack: AsyncExitStack) -> Call:
    """Return what makes a call over a connection of its own."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    stack.callback(writer.close)

    async def call(picture: bytes) -> int:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: image/jpeg\r\n"
        writer.write(f"{head}Content-Length: {len(picture)}\r\n\r\n".encode() + picture)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        assert b" 200 " in lines[0], lines
        size = next(int(line.split()[1]) for line in lines if line.startswith(b"content-length"))
        return len(json.loads(await reader.readexactly(size))["features"]["data"]) * 3 // 4

    return call


async def measure(calls: list[Call], seconds: float) -> float:
    """Return the calls per second of callers who each wait for their answers."""
    end, n_answered, pictures = time.monotonic() + seconds, 0, itertools.cycle(PICTURES)

    async def ask(call: Call) -> None:
        nonlocal n_answered
        while time.monotonic() < end:
            assert await call(next(pictures)) >= 4096
            n_answered += 1

    start = time.monotonic()
    await asyncio.gather(*map(ask, calls))
    return n_answered / (time.monotonic() - start)


def processor_s(process: int) -> float:
    """Return the seconds of a processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def compare(
    address: str, url: str, process: int, n_callers: int, seconds: float, n_windows: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the rate of each door and the server's seconds per picture, window by window."""
    found: dict[str, list[tuple[float, float]]] = {"gRPC": [], "HTTP": []}
    async with AsyncExitStack() as stack:
        doors = {
            "gRPC": [await open_grpc(address, stack) for _ in range(n_callers)],
            "HTTP": [await open_http(url, stack) for _ in range(n_callers)],
        }
        for calls in doors.values():
            await measure(calls, 0.5)
        for _ in range(n_windows):
            for name, calls in doors.items():
                before, start = processor_s(process), time.monotonic()
                rate = await measure(calls, seconds)
                n_pictures = rate * (time.monotonic() - start)
                found[name].append((rate, (processor_s(process) - before) / n_pictures))
    return found


def main() -> None:
    """Print one line for each number of callers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window")
    parser.add_argument("--windows", type=int, default=6, help="windows of each door")
    options = parser.parse_args()
    with server() as (address, url, process):
        for n_callers in CALLERS:
            found = asyncio.run(compare(address, url, process, n_callers, options.seconds, options.windows))
            (grpc_rate, grpc_s), (http_rate, http_s) = (
                [statistics.median(column) for column in zip(*found[name], strict=True)] for name in ("gRPC", "HTTP")
            )
            print(
                f"{n_callers:2} callers: gRPC {grpc_rate:6.1f}, HTTP {http_rate:6.1f} pictures/s, ratio "
                f"{http_rate / grpc_rate:.2f}; the server's {1000 * grpc_s:.2f} and {1000 * http_s:.2f} ms of a "
                f"processor per picture, ratio {grpc_s / http_s:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
