"""Parts of `serving.py`: what callers get who wait for their answers, beside the limit in one process."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import uvloop
from serving_world import (
    BATCH,
    CALLERS,
    EXTRACT,
    INFER,
    SMALL,
    InProcess,
    Load,
    Server,
    call_in_turn,
    extract_request,
    infer_request,
    paper_size,
    photographs,
    repeat,
    serving,
    spread,
)

BARS = {1: "", 4: "", 16: "to reach .85", 64: "to reach .90"}
BATCHES = (8, 16, 32)


def closed_loop(server: Server, method: str, requests: list[bytes], n_callers: int, seconds: float) -> Load:
    """Run `call_in_turn`."""
    return uvloop.run(call_in_turn(server, method, requests, n_callers, seconds))


def jpeg(seconds: float, rounds: int, others: list[Path]) -> None:
    """Print rates, CPU times and delays of calls with one photograph, beside those of one process."""
    inside, requests = InProcess(SMALL), [extract_request([photo]) for photo in photographs()]
    trees: list[Path | None] = [None, *others]
    clock, cpu, client, own, late = (defaultdict[tuple[int, int], list[float]](list) for _ in range(5))
    alone_ms = list[float]()
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(service=tree)) for tree in trees]
        for server in servers:  # warms up
            closed_loop(server, EXTRACT, requests, 16, seconds)
        for turn in range(rounds):
            for n_callers in CALLERS:
                files, files_s = repeat(inside.files, seconds)
                one, one_s = repeat(inside.one_file, seconds / 2)
                for i in range(len(servers))[:: 1 if turn % 2 else -1]:
                    load = closed_loop(servers[i], EXTRACT, requests, n_callers, seconds)
                    clock[i, n_callers].append(load.per_s * statistics.mean(files) / BATCH)
                    cpu[i, n_callers].append(files_s / BATCH / (load.server_s + load.client_s))
                    client[i, n_callers].append(load.client_s)
                    own[i, n_callers].append(load.server_s - one_s)
                    late[i, n_callers].append(statistics.median(load.seconds) - statistics.median(one))
                alone_ms.append(files_s / BATCH * 1e3)
    print(f"a picture of the limit takes {spread(alone_ms)} ms of CPU")
    for n_callers in CALLERS:
        for i, tree in enumerate(trees):
            at = i, n_callers
            print(
                f"{tree or 'JPEG in'} / limit, {n_callers:2} callers: CPU {spread(cpu[at])}, clock {spread(clock[at])} "
                f"{BARS[n_callers]}; the client's CPU {spread(client[at], ' ms', 1e3)} per call",
                flush=True,
            )
    for i, tree in enumerate(trees):
        of = tree or "a call with one picture"
        print(f"{of}, less decoding and inference: CPU {spread(own[i, 1], ' ms', 1e3)} to reach 1 ms")
        print(f"{of}, less decoding and inference: median latency {spread(late[i, 1], ' ms', 1e3)} to reach 2 ms")


def pixels(seconds: float, rounds: int) -> None:
    """Print the rate of tensors sent to an AlexNet of 2012's size, beside ONNX Runtime in one process."""
    model = paper_size()
    inside = InProcess(model)
    requests = [infer_request("alexnet", tensor) for tensor in inside.tensors]
    clock, cpu = (defaultdict[int, list[float]](list) for _ in range(2))
    with serving(model) as server:
        closed_loop(server, INFER, requests, 16, seconds)
        for _ in range(rounds):
            for n_callers in CALLERS:
                runs = [(*repeat(inside.pixels(n), seconds / len(BATCHES)), n) for n in BATCHES]
                best_s = min(statistics.mean(times) / n for times, _, n in runs)
                best_cpu_s = min(cpu_s / n for _, cpu_s, n in runs)
                load = closed_loop(server, INFER, requests, n_callers, seconds)
                clock[n_callers].append(load.per_s * best_s)
                cpu[n_callers].append(best_cpu_s / (load.server_s + load.client_s))
    for n_callers in CALLERS:
        print(
            f"pixels in, paper-size AlexNet / ONNX Runtime, {n_callers:2} callers: CPU {spread(cpu[n_callers])}, clock "
            f"{spread(clock[n_callers])} {'to reach .95' if n_callers >= 16 else ''}",
            flush=True,
        )
