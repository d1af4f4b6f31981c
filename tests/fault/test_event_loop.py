"""Nothing heavy runs on the event loop: no callback takes 100 ms of CPU, whatever callers send and get."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7_service.rpc import feature_service
from pictures import encode, scene

LIMIT_S = 0.1  # asyncio's own limit for slow callbacks; here of CPU time, which no other process can take


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """Yield the CPU seconds of each slow callback of the embedded server, and what it was."""
    run, slow = asyncio.Handle._run, list[tuple[float, str]]()

    def timed(handle: asyncio.Handle) -> Any:
        start = time.thread_time()
        try:
            return run(handle)
        finally:
            took = time.thread_time() - start
            if took > LIMIT_S and threading.current_thread().name == "fc7-server":
                slow.append((took, repr(handle)))

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield slow


@pytest.fixture
def client(tmp_path: Path) -> Iterator[fc7.Client]:
    with fc7.connect(data=tmp_path, models=["alexnet-64"]) as connected:
        connected.extract(np.zeros((64, 64, 3), np.uint8))  # loads the network, and with it ONNX Runtime
        yield connected


def test_large_questions_and_answers_stay_off_the_loop(client: fc7.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = encode(scene((90, 70)), "PNG"), encode(scene((900, 700)), "BMP")
    vectors = np.random.default_rng(0).standard_normal((4000, 1536)).astype(np.float32)
    with watched(monkeypatch) as slow:
        assert client.extract([small] * 600, layer="conv5").values.nbytes > 35 * 2**20
        assert len(client.extract([large] * 30)) == 30  # 54 MiB
        photos = client.create_collection("photos")
        features = client.extract(small)
        many = fc7.Features(vectors, features.provenance, list(range(len(vectors))), [])
        photos.add_vectors(many, [str(i) for i in range(len(vectors))])
        found = photos.search_many(list(many[:500]), k=10)
        assert len(found) == 500
        assert sum(1 for _ in photos) == len(vectors)
    assert slow == []


def test_the_watch_sees_what_is_heavy(client: fc7.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write = feature_service._write_features

    def heavy(*args: Any) -> Any:
        end = time.thread_time() + 2 * LIMIT_S
        while time.thread_time() < end:
            pass
        return write(*args)

    monkeypatch.setattr(feature_service, "_write_features", heavy)
    with watched(monkeypatch) as slow:
        client.extract(np.zeros((64, 64, 3), np.uint8))
    assert slow
