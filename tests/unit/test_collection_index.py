"""Every index holds one contract, with the exact scores of all rows as reference."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_exact, index_rabitq
from fc7_service.collections.index_choice import build_index, choose_index
from fc7_service.collections.index_exact import Exact
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.rows import Item, Metric
from fc7_service.collections.scoring import exact_scores, prepare_vectors, scan
from fc7_service.data_folder import DataFolder
from fc7_service.server import Server
from fc7_service.settings import Settings

METRICS = get_args(Metric)


@pytest.fixture(params=[Exact, RaBitQ])
def kind(request, monkeypatch):
    monkeypatch.setattr(index_rabitq, "_SCAN_SHARE", 1)  # let the codes answer over few rows too
    return request.param


def vectors(n, dim=24, seed=0, dtype=np.float16):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(dtype)


def best(found, k):
    """Rows of each query, best first."""
    return [rows[np.lexsort((rows, -scores))[:k]].tolist() for rows, scores in found]


def reference(rows, queries, k, alive, metric):
    every = [exact_scores(prepare_vectors(rows, metric), query, metric) for query in prepare_vectors(queries, metric)]
    return [[i for i in np.lexsort((np.arange(len(s)), -s)).tolist() if alive[i]][:k] for s in every]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_queries", [1, 7])
@pytest.mark.parametrize("share_alive", [1.0, 0.6])
def test_answers_are_those_of_comparing_all(kind, metric, n_queries, share_alive):
    rows, queries = vectors(400), vectors(n_queries, seed=1, dtype=np.float32)
    alive = np.random.default_rng(2).random(400) < share_alive if share_alive < 1 else np.ones(400, bool)
    found = kind(rows, metric).search(prepare_vectors(queries, metric), 5, alive)
    got, expected = best(found, 5), reference(rows, queries, 5, alive, metric)
    share = np.mean([len({*g} & {*e}) / 5 for g, e in zip(got, expected, strict=True)])
    assert share == 1 if kind is Exact else share >= 0.9
    for (positions, scores), query in zip(found, prepare_vectors(queries, metric), strict=True):
        assert alive[positions].all()
        assert len(set(positions.tolist())) == len(positions)
        np.testing.assert_array_equal(scores, exact_scores(prepare_vectors(rows[positions], metric), query, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_queries", [1, 5])
@pytest.mark.parametrize("k", [1, 300, 1000])
def test_never_fewer_than_k_or_all(kind, metric, n_queries, k):
    rows = vectors(300)
    alive = np.arange(300) % 3 > 0
    for positions, _ in kind(rows, metric).search(prepare_vectors(vectors(n_queries, seed=1), metric), k, alive):
        assert len(positions) >= min(k, 200)
        assert alive[positions].all()


@pytest.mark.parametrize("dead", [300, 299])
def test_hardly_anything_alive(kind, dead):
    alive = np.arange(300) >= dead
    for positions, scores in kind(vectors(300), "cosine").search(
        prepare_vectors(vectors(2, seed=1), "cosine"), 3, alive
    ):
        assert positions.tolist() == np.flatnonzero(alive).tolist()
        assert len(scores) == len(positions)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_queries", [1, 6])
def test_exact_returns_every_tie_at_rank_k(metric, n_queries):
    rows = np.repeat(vectors(3), 200, axis=0)  # ties far longer than what FAISS is asked for
    queries = prepare_vectors(np.repeat(rows[:1], n_queries, axis=0), metric)
    for row in best(Exact(rows, metric).search(queries, 5, np.ones(600, bool)), 5):
        assert row == [0, 1, 2, 3, 4] or metric == "dot"
        assert row == list(range(row[0], row[0] + 5))


@pytest.mark.parametrize("metric", METRICS)
def test_scan_does_not_depend_on_blocks(metric):
    rows, queries, alive = (
        prepare_vectors(vectors(100), metric),
        prepare_vectors(vectors(4, seed=1), metric),
        np.arange(100) % 7 > 0,
    )
    whole = best(scan([rows], queries, 9, alive, metric), 9)
    assert whole == best(scan([rows[:1], rows[1:40], rows[40:]], queries, 9, alive, metric), 9)


def test_numbers_of_any_size_compare():
    for factor in (1e-42, 1e-20, 1.0, 1e17):
        rows = (vectors(50, dtype=np.float32) * np.float32(factor)).astype(np.float32)
        found = Exact(rows, "cosine").search(prepare_vectors(rows[:1], "cosine"), 1, np.ones(50, bool))
        assert best(found, 1) == [[0]]
        assert found[0][1].max() == pytest.approx(1, abs=1e-6)


def test_the_ladder():
    assert choose_index(0, 4096) == choose_index(20_000, 1000) == "exact"
    assert choose_index(20_001, 1000) == choose_index(30_000, 1024) == "rabitq"
    assert build_index(vectors(10), "l2")[0] == "exact"


class _Gpu:
    """Stands for faiss-gpu: counts what runs on it, and fails on two calls at once."""

    def __init__(self, flat):
        self._flat, self._one = flat, threading.Lock()
        self.n_searches = 0

    def add(self, rows):
        self._flat.add(rows)

    def search(self, queries, k):
        assert self._one.acquire(blocking=False), "two calls at once"
        try:
            self.n_searches += 1
            return self._flat.search(queries, k)
        finally:
            self._one.release()


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(index_exact, "_GPU", index_exact._Gpu())
    monkeypatch.setattr(index_exact.faiss, "get_num_gpus", lambda: 1)
    resources = SimpleNamespace(setTempMemory=lambda n_bytes: None)
    monkeypatch.setattr(index_exact.faiss, "StandardGpuResources", lambda: resources, raising=False)
    monkeypatch.setattr(index_exact.faiss, "index_cpu_to_gpu", lambda r, device, flat: _Gpu(flat), raising=False)


@pytest.mark.parametrize("metric", METRICS)
def test_on_a_gpu_behind_one_lock(gpu, metric):
    rows, alive = vectors(400), np.arange(400) % 5 > 0
    index, queries = Exact(rows, metric, may_use_gpu=True), vectors(8, seed=1, dtype=np.float32)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(index.search(prepare_vectors(queries, metric), 5, alive)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert index._flat.n_searches == 4
    for found in answers:
        assert best(found, 5) == reference(rows, queries, 5, alive, metric)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_device_setting_decides_whether_search_uses_the_gpu(gpu, tmp_path, device):
    settings = Settings(data=tmp_path, device=device)
    folder = DataFolder(settings.data)
    server = Server(settings, folder)
    try:
        photos = server.parts.collections.create("photos", Provenance("m", "a" * 64, "b" * 64, "fc7"), 24)
        photos.upsert([Item(str(i), f"{i:064}", {}, row) for i, row in enumerate(vectors(30, dtype=np.float32))])
        assert len(photos.search(vectors(1, dtype=np.float32), 3)[0]) == 3
        assert isinstance(photos._searcher._snapshot.parts[0][-1]._flat, _Gpu) == (device != "cpu")
    finally:
        asyncio.run(server.stop())
        folder.release()


class _FullGpu(_Gpu):
    """Stands for a GPU without memory for one more row."""

    def add(self, rows):
        raise RuntimeError("StandardGpuResources: alloc fail")


@pytest.mark.parametrize("step", ["StandardGpuResources", "index_cpu_to_gpu", "add"])
def test_a_gpu_that_fails_leaves_the_index_to_the_cpu(gpu, monkeypatch, caplog, step):
    def refuse(*args):
        raise RuntimeError("CUDA error 2: out of memory")

    with monkeypatch.context() as broken:
        if step == "add":
            broken.setattr(index_exact.faiss, "index_cpu_to_gpu", lambda r, device, flat: _FullGpu(flat))
        else:
            broken.setattr(index_exact.faiss, step, refuse)
        index = Exact(vectors(400), "cosine", may_use_gpu=True)
    assert "the CPU serves it" in caplog.text
    queries, alive = prepare_vectors(vectors(2, seed=1), "cosine"), np.ones(400, bool)
    assert best(index.search(queries, 5, alive), 5) == reference(vectors(400), queries, 5, alive, "cosine")
    assert index_exact._GPU._used_bytes == 0
    assert isinstance(Exact(vectors(400), "cosine", may_use_gpu=True)._flat, _Gpu)


def test_the_gpu_has_a_budget(gpu, monkeypatch):
    monkeypatch.setattr(index_exact._Gpu, "limit_bytes", 400 * 24 * 4)
    first = Exact(vectors(400), "cosine", may_use_gpu=True)
    assert isinstance(first._flat, _Gpu)
    assert not isinstance(Exact(vectors(400), "cosine", may_use_gpu=True)._flat, _Gpu)
    del first
    assert isinstance(Exact(vectors(400), "cosine", may_use_gpu=True)._flat, _Gpu)
