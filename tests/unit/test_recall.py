"""The recall of an index, measured on recent queries while the collection is idle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, index_rabitq, recall, snapshot
from fc7_service.collections.recall import EVERYTHING, Recall
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search
from slow.wilson import wilson_interval

DIM, N, MOST = 32, 3000, 8
PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float16).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)


@pytest.fixture
def reports():
    return []


@pytest.fixture
def photos(tmp_path, monkeypatch, reports):
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 0)
    monkeypatch.setattr(snapshot, "_TAIL_ROWS", 10)
    monkeypatch.setattr(recall, "_IDLE_S", 0.0)
    library = Collections(tmp_path, recall_queries=MOST, report_recall=lambda *counts: reports.append(counts))
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([Item(str(i), "0" * 64, {"n": i}, VECTORS[i]) for i in range(N)])
    yield photos
    library.close()


def test_the_interval_is_wilsons():
    for found, wanted in ((0, 10), (97, 100), (1000, 1000), (1, 3)):
        measured = Recall.of(found, wanted, 7)
        assert (measured.low, measured.high) == pytest.approx(wilson_interval(found, wanted), abs=1e-3)
        assert 0 <= measured.low <= measured.value <= measured.high <= 1


def test_recent_queries_are_compared_with_exact_search(photos, reports, monkeypatch):
    assert photos.recall is None
    monkeypatch.setattr(index_rabitq, "_CANDIDATES", 12)  # an index that misses
    monkeypatch.setattr(index_rabitq, "_CANDIDATES_PER_K", 1)
    monkeypatch.setattr(index_rabitq.RaBitQ, "_count_within", lambda *_: 0)
    asked = [Query(query) for query in QUERIES]
    found, _ = photos.answer(asked, Search(k=10))
    photos._answers._recall.wait()
    true, _ = photos.answer(asked, Search(k=10, is_exact=True))
    both = zip(found, true, strict=True)
    n_found = [len({hit.id for hit in one} & {hit.id for hit in other}) for one, other in both]
    measured = photos.recall
    assert measured.n_queries == MOST  # the last ones
    assert measured.value == sum(n_found[-MOST:]) / (10 * MOST) < 1
    assert reports == [(n, 10) for n in n_found[-MOST:]]
    photos.answer(asked[:2], Search(k=3))
    photos._answers._recall.wait()
    assert photos.recall.value == sum(n_found[:2] + n_found[-MOST + 2 :]) / (10 * MOST)


def test_what_is_not_compared(photos, reports):
    photos.answer([Query(QUERIES[0])], Search(k=3, is_exact=True))
    photos.answer([Query(QUERIES[0])], Search(k=3, where=parse("n < 9")))
    photos._answers._recall.wait()
    assert photos.recall is None
    assert reports == []


def test_none_is_kept_if_it_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 0)
    library = Collections(tmp_path)
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([Item(str(i), "0" * 64, {}, VECTORS[i]) for i in range(N)])
    photos.answer([Query(QUERIES[0])], Search())
    assert not photos._answers._recall.is_measuring
    assert photos.recall is None
    library.close()


def test_an_index_that_compares_everything_misses_nothing(tmp_path):
    library = Collections(tmp_path, recall_queries=MOST)
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([Item("a", "0" * 64, {}, VECTORS[0])])
    photos.answer([Query(QUERIES[0])], Search())
    assert not photos._answers._recall.is_measuring
    assert photos.recall == EVERYTHING
    library.close()


def test_a_busy_collection_waits_and_closes_at_once(photos, reports, monkeypatch):
    monkeypatch.setattr(recall, "_IDLE_S", math.inf)
    monkeypatch.setattr(recall.threading.Condition, "wait", _wait_without_end(recall.threading.Condition.wait))
    photos.answer([Query(query) for query in QUERIES], Search())
    assert photos._answers._recall.is_measuring
    photos._answers._recall.close()
    assert not photos._answers._recall.is_measuring
    assert reports == []
    photos.answer([Query(QUERIES[0])], Search())  # a closed meter keeps nothing
    assert not photos._answers._recall.is_measuring


def _wait_without_end(wait):
    return lambda self, timeout=None: wait(self, None if timeout == math.inf else timeout)
