"""Part `peers` of `serving.py`: Triton (by PyTriton) and LitServe, with the same network, session options and pictures.

They need other libraries than fc7, so each has an environment of its own:

    python -m venv triton && triton/bin/pip install nvidia-pytriton onnxruntime pillow
    python -m venv litserve && litserve/bin/pip install litserve python-multipart onnxruntime pillow
    python bench/serving.py peers --triton triton/bin/python --litserve litserve/bin/python

One server runs at a time. All take the same pictures from the same client. fc7 and Triton take pixels by the same
bytes of the Open Inference Protocol; Triton takes JPEG files that way and decodes them in Python, LitServe by HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop
from serving_world import (
    CALLERS,
    EXTRACT,
    INFER,
    OPTIONS,
    SMALL,
    InProcess,
    Load,
    extract_request,
    infer_request,
    paper_size,
    photographs,
    serving,
    spread,
    take_turns,
)

from fc7.contract.cores import usable_cores

PEERS = Path(__file__).with_name("peers")
TREE = Path(__file__).parents[1]
BARS = {  # (peer, what is sent) -> what to reach with 1, 4, 16 and 64 callers
    ("triton", "files"): (1.5,) * 4,
    ("triton", "pixels"): (1.1, 1.1, 1.05, 1.05),
    ("litserve", "files"): (1.5,) * 4,
}
_PATIENCE_S = 300.0
_FORM = b"----fc7"


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@contextmanager
def _peer(name: str, python: str, bundle: str, kind: str) -> Iterator[tuple[str, int]]:
    """Run a peer; yield its address and its process once it answers."""
    port, script = _free_port(), PEERS / ("pytriton_server.py" if name == "triton" else "litserve_server.py")
    paths = {"PYTHONPATH": f"{TREE / 'client'}:{TREE / 'service'}", "ORT_DISABLE_TELEMETRY": "1"}
    if name == "triton":  # its stub needs the library of the Python that it runs with
        paths["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
    words = [python, str(script), bundle, kind, str(port), str(usable_cores())]
    command = ["env", *(f"{key}={value}" for key, value in paths.items()), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}", process.pid
    finally:
        family = _family(process.pid)
        process.terminate()
        process.wait(60)
        for pid in family:  # LitServe leaves its workers behind, and idle ones take CPU time
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def _post(address: str) -> Callable[[bytes], Any]:
    """Open a connection to LitServe; return what sends a body and reads the answer."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def call(data: bytes) -> None:
        head = b'\r\nContent-Disposition: form-data; name="data"; filename="x"\r\n\r\n'
        body = b"--" + _FORM + head + data + b"\r\n--" + _FORM + b"--\r\n"
        kind = b"Content-Type: multipart/form-data; boundary=" + _FORM
        writer.write(
            b"POST /predict HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(size.partition(b":")[2]))
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise ConnectionError(answer.partition(b"\r\n")[0].decode())

    return call


async def _load(address: str, pid: int, name: str, requests: Sequence[bytes], n: int, seconds: float) -> Load:
    if name == "litserve":
        calls = [await _post(address) for _ in range(n)]
        return await take_turns(calls, requests, _family(pid), seconds)
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        method = EXTRACT if name == "fc7" else INFER
        return await take_turns([channel.unary_unary(method)] * n, requests, _family(pid), seconds)


def _wait(address: str, pid: int, name: str, request: bytes) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            uvloop.run(_load(address, pid, name, [request], 1, 0.01))
        except (grpc.RpcError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return


def _all_callers(address: str, pid: int, name: str, requests: Sequence[bytes], seconds: float) -> dict[int, Load]:
    _wait(address, pid, name, requests[0])
    uvloop.run(_load(address, pid, name, requests, 16, seconds))  # warms up
    return {n: uvloop.run(_load(address, pid, name, requests, n, seconds)) for n in CALLERS}


def peers(seconds: float, rounds: int, pythons: dict[str, str]) -> None:
    """Print the rates of fc7 over those of the peers whose Pythons are named."""
    for (name, kind), bars in BARS.items():
        if not pythons.get(name):
            print(f"{name}, {kind}: not measured, because --{name} names no Python")
            continue
        model = SMALL if kind == "files" else paper_size()
        bundle = str(model) if kind == "pixels" else SMALL
        if kind == "files":
            own = [extract_request([photo]) for photo in photographs()]
            its = (
                list(photographs()) if name == "litserve" else [infer_request(SMALL, photo) for photo in photographs()]
            )
        else:
            own = its = [infer_request("alexnet", tensor) for tensor in InProcess(model).tensors]
        clock, cpu = (defaultdict[int, list[float]](list) for _ in range(2))
        for _ in range(rounds):
            with serving(model) as server:
                label = "fc7" if kind == "files" else "fc7 by the Open Inference Protocol"
                mine = _all_callers(server.address, server.pid, label, own, seconds)
            with _peer(name, pythons[name], bundle, kind) as (address, pid):
                theirs = _all_callers(address, pid, name, its, seconds)
            for n in CALLERS:
                clock[n].append(mine[n].per_s / theirs[n].per_s)
                cpu[n].append((theirs[n].server_s + theirs[n].client_s) / (mine[n].server_s + mine[n].client_s))
        for n, bar in zip(CALLERS, bars, strict=True):
            print(
                f"{kind} in, fc7 / {name}, {n:2} callers: CPU {spread(cpu[n])}, clock {spread(clock[n])}; bar {bar}",
                flush=True,
            )
