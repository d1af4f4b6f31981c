"""Rarity: the share of random pairs of items that are at least as near."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.errors import FailedPrecondition, InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import pair_scores, rarity
from fc7_service.collections.pair_scores import PairScores, choose_blocks, make_table, score_pairs
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search
from slow import search as twin

DIM, N = 6, 30
PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
METRICS = ["cosine", "l2", "dot"]


def vectors(n=N, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float16).astype(np.float32)
    rows[1] = rows[0]  # an exact duplicate
    return rows


def items(rows, first=0):
    return [Item(str(first + i), "0" * 64, {}, row) for i, row in enumerate(rows)]


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


@pytest.mark.parametrize("metric", METRICS)
def test_a_small_collection_is_compared_pair_by_pair(library, metric):
    photos = library.create("photos", PROVENANCE, DIM, metric)
    rows = vectors()
    photos.upsert(items(rows))
    pairs = twin.pair_scores(rows, metric)
    queries = [Query(rows[0]), Query(np.ones(DIM, np.float32))]
    answers, report = photos.answer(queries, Search(k=N, has_rarity=True))
    assert report.n_pairs == len(pairs) == N * (N - 1) // 2
    for hits in answers:
        for hit in hits:
            assert hit.rarity == pytest.approx(twin.rarity(hit.score, pairs), rel=1e-9)
    assert answers[0][0].rarity == 1 / len(pairs) if metric != "dot" else answers[0][0].rarity >= 1 / len(pairs)
    for share in (1 / len(pairs), 0.01, 0.1, 0.5, 1):
        (hits, _), _ = photos.answer(queries, Search(k=N, max_rarity=share))
        expected = [hit.id for hit in answers[0] if hit.rarity <= share * (1 + 1e-12)]
        assert [hit.id for hit in hits] == expected, share
        lowest, table = photos.threshold(share)
        assert table.is_complete
        assert sum(pair >= lowest for pair in pairs) <= share * len(pairs) * (1 + 1e-9)
        n_kept = int(share * len(pairs) * (1 + 1e-9))
        assert share == 1 or pairs[n_kept] <= lowest <= pairs[n_kept - 1] + 1e-6
    least, _ = photos.threshold(0.1)
    (hits, _), _ = photos.answer(queries, Search(k=N, max_rarity=0.5, min_score=least))
    assert [hit.id for hit in hits] == [hit.id for hit in answers[0] if hit.score >= least]


def test_what_too_few_pairs_cannot_tell_is_refused(library):
    photos = library.create("photos", PROVENANCE, DIM)
    query = [Query(np.ones(DIM, np.float32))]
    for n in (0, 1):
        with pytest.raises(FailedPrecondition, match=f"has {n}"):
            photos.answer(query, Search(has_rarity=True))
        photos.upsert(items(vectors(2)[:1]))
    photos.upsert(items(vectors()))
    for share in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(InvalidArgument, match="above 0 and at most 1"):
            photos.answer(query, Search(max_rarity=share))
    with pytest.raises(InvalidArgument, match=r"must be at least 0.0023 \(got 0.002\).*435 random pairs"):
        photos.answer(query, Search(max_rarity=0.002))
    with pytest.raises(InvalidArgument, match="false_matches"):
        photos.threshold(0.002)


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_are_not_rare(library, metric):
    photos = library.create("photos", PROVENANCE, DIM, metric)
    rows = vectors()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)  # so that none scores above a duplicate, by any metric
    rows[:10] = rows[0]
    photos.upsert(items(rows))
    n_pairs = N * (N - 1) // 2
    ((hits,), _) = photos.answer([Query(rows[3])], Search(k=N, has_rarity=True))
    assert [hit.rarity for hit in hits[:10]] == [45 / n_pairs] * 10
    ((none,), _) = photos.answer([Query(rows[3])], Search(k=N, max_rarity=0.05))
    assert none == []
    with pytest.raises(FailedPrecondition, match=r"no score is rare enough: 0.1 of the random pairs"):
        photos.threshold(0.05)
    lowest, _ = photos.threshold(0.11)
    assert lowest <= hits[0].score


def test_a_sample_is_close_to_all_pairs_and_bounded():
    rows = np.random.default_rng(1).normal(size=(3000, DIM)).astype(np.float32)
    rids = np.arange(3000)
    blocks = list(choose_blocks(rids, 7))
    assert sum(map(len, blocks)) == pair_scores.BLOCKS * pair_scores.BLOCK_ROWS
    assert all(len(set(block)) == len(block) for block in blocks)  # no row is compared with itself
    assert all(np.array_equal(*both) for both in zip(blocks, choose_blocks(rids, 7), strict=True))
    found = score_pairs((rows[block] for block in blocks), "cosine", is_complete=False)
    assert len(found) == pair_scores.MOST_PAIRS
    table = make_table(found, 1, 3000, 2999)
    every = score_pairs([rows], "cosine", is_complete=True)
    assert not table.is_complete
    for score in (0.0, 0.3, 0.6, 0.9):
        assert table.rarity(score) == pytest.approx(np.mean(every >= score), rel=0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5000), st.integers(0, 50), st.sampled_from([1.0, 1e-20, 1e9]))
def test_the_table_rounds_up_by_at_most_a_hundredth(n, seed, scale):
    random = np.random.default_rng(seed)
    scores = np.round(random.normal(size=n), 3) * scale
    table = make_table(scores, 1, n, n)
    again = PairScores.from_json(table.to_json())
    for score in [*scores[:50], *(random.normal(size=20) * scale), scores.max() + scale, scores.min() - scale]:
        true = max(1, int(np.count_nonzero(scores >= score - 1e-6 * scale))) / n
        assert true * (1 - 1e-9) <= table.rarity(score) <= true * 1.0101 + 1e-12
        assert again.rarity(score) == table.rarity(score)
    for share in (1 / n, 0.01, 0.3, 1.0):
        if share * n >= 1:
            assert np.count_nonzero(scores >= table.threshold(share)) <= share * n * (1 + 1e-9)
            assert np.count_nonzero(scores >= table.cut_off(share)) <= share * n * (1 + 1e-9)


def test_the_table_is_kept_and_refreshed(library, monkeypatch):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert(items(vectors()))
    measured = []
    real = rarity.score_pairs
    monkeypatch.setattr(rarity, "score_pairs", lambda *a, **k: measured.append(1) or real(*a, **k))
    query, asked = [Query(np.ones(DIM, np.float32))], Search(has_rarity=True)

    def commit():
        return library.get("photos").threshold(1)[1].commit

    first = commit()
    library.get("photos").answer(query, asked)
    library.close()
    assert commit() == first
    assert len(measured) == 1  # the second start read the file
    library.get("photos").upsert(items(vectors(3, seed=1), first=100))
    assert commit() == first  # a tenth may be new
    library.get("photos").delete(["5"])
    assert commit() == first + 2
    assert len(measured) == 2

    monkeypatch.setattr(rarity, "MOST_PAIRS", 0)  # as for a large collection: the old table answers meanwhile
    monkeypatch.setattr(pair_scores, "MOST_PAIRS", 0)
    monkeypatch.setattr(pair_scores, "BLOCK_ROWS", 16)
    library.get("photos").delete([str(i) for i in range(10, 20)])
    assert commit() == first + 2
    library.get("photos")._rarity.wait()
    assert commit() == first + 3
    assert library.get("photos").threshold(1)[1].n_pairs == pair_scores.BLOCKS * 8 * 8


@pytest.mark.parametrize("damage", [b"", b"123 ", b"garbage", b"0 []", None])
def test_a_damaged_table_is_measured_again(library, tmp_path, damage, caplog):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert(items(vectors()))
    lowest, _ = photos.threshold(0.1)
    library.close()
    file = tmp_path / "collections" / "photos" / rarity.FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + b"9" + whole[201:] if damage is None else damage)
    assert library.get("photos").threshold(0.1)[0] == lowest
    assert "compared again" in caplog.text
    assert file.read_bytes() == whole


def test_a_table_from_the_future_is_not_used(library, tmp_path):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert(items(vectors()))
    table = photos.threshold(1)[1]
    library.close()
    file = tmp_path / "collections" / "photos" / rarity.FILE
    ahead = PairScores(99, table.n_items, table.last_rid, 1, table.scores, table.at_least, table.above, table.step)
    file.write_bytes(ahead.to_json())  # as if the database were restored from an older backup
    assert library.get("photos").threshold(1)[1].commit == table.commit
