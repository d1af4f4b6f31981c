"""The effort of an index: as much as the recall needs that was asked for, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from fc7.errors import InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import effort, index_choice, index_rabitq, recall, snapshot
from fc7_service.collections.effort import MOST_DEVIATIONS, Effort, effort_for
from fc7_service.collections.index import USUAL_DEVIATIONS, Work
from fc7_service.collections.recall import EVERYTHING
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search

DIM, N = 64, 4000
PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
CENTRES = np.random.default_rng(0).normal(size=(40, DIM))
VECTORS = np.random.default_rng(1).normal(size=(N, DIM)) * 0.3 + np.repeat(CENTRES, N // 40, axis=0)  # crowds


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 0)
    monkeypatch.setattr(snapshot, "_TAIL_ROWS", 10)
    monkeypatch.setattr(index_rabitq, "_CANDIDATES", 11)  # so that the bound decides
    monkeypatch.setattr(index_rabitq, "_CANDIDATES_PER_K", 1)
    monkeypatch.setattr(recall, "_IDLE_S", 0.0)
    library = Collections(tmp_path, recall_queries=30)
    yield library
    library.close()


def fill(photos):
    rows = VECTORS.astype(np.float16).astype(np.float32)
    photos.upsert([Item(str(i), "0" * 64, {}, rows[i]) for i in range(N)])
    return photos


def test_a_higher_recall_takes_more_effort(library):
    photos = fill(library.create("photos", PROVENANCE, DIM))
    assert photos.effort == Effort(None, USUAL_DEVIATIONS)
    before = 0.0
    for target in (0.6, 0.9, 0.99):
        measured = photos.tune(target)
        assert measured.low >= target
        assert photos.effort.target == target
        assert photos.effort.deviations >= before
        before = photos.effort.deviations
        index = photos._searcher.current()
        if before > effort.STEP:  # the next lower effort does not do
            less = Work(deviations=before - effort.STEP)
            true = index.search(VECTORS[::40].astype(np.float32), 11, None, Work(is_exact=True))
            found = index.search(VECTORS[::40].astype(np.float32), 11, None, less)
            pairs = zip(found, true, strict=True)
            assert np.mean([len({*one} & {*other}) / 11 for one, other in pairs]) < target + 0.01
    assert 0.5 <= before < MOST_DEVIATIONS
    kept = photos.effort
    library.close()
    assert library.get("photos").effort == kept
    assert library.get("photos")._searcher.deviations == kept.deviations


def test_recent_queries_raise_an_effort_that_is_too_low(library):
    photos = fill(library.create("photos", PROVENANCE, DIM, recall=0.99))
    low = Effort(0.99, 0.0)
    photos._answers._set_effort(low)
    queries = [Query(row) for row in VECTORS[::50].astype(np.float32)]
    for _ in range(12):
        photos.answer(queries[:60], Search(k=10))
        photos._answers._recall.wait()
    assert photos.effort.deviations > 0
    assert photos.recall.high >= 0.99
    photos._answers._set_effort(Effort(None, 0.0))  # without a target, nothing follows
    photos.answer(queries[:60], Search(k=10))
    photos._answers._recall.wait()
    assert photos.effort.deviations == 0


def test_what_cannot_be_tuned(library, monkeypatch):
    photos = library.create("photos", PROVENANCE, DIM, recall=0.9)
    assert photos.effort == effort_for(0.9)
    assert photos.tune(0.95) == EVERYTHING  # no items
    photos.upsert([Item(str(i), "0" * 64, {}, VECTORS[i].astype(np.float32)) for i in range(5)])
    assert photos.tune(0.99) == EVERYTHING  # no codes
    assert photos.effort == effort_for(0.99)
    for target in (0, 0.4, 0.9999, 1, float("nan")):
        with pytest.raises(InvalidArgument, match=r"recall must be 0.5 to 0.999"):
            photos.tune(target)
        with pytest.raises(InvalidArgument, match=r"recall must be"):
            library.create("other", PROVENANCE, DIM, recall=target)
    assert [one.name for one in library.list()] == ["photos"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"target": 1}x', b'{"deviations": 99}', b'{"deviations": "a"}'])
def test_a_damaged_file_means_the_usual_effort(library, tmp_path, content, caplog):
    library.create("photos", PROVENANCE, DIM, recall=0.9)
    library.close()
    (tmp_path / "photos" / effort.FILE).write_bytes(content)
    assert library.get("photos").effort == Effort()
    assert "usual effort" in caplog.text
