"""Duplicates: against a comparison of every pair, in crowds and chains, and what cannot be asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import duplicates, near_pairs
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from slow.duplicates import groups, score

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM = 96


def vectors_with_copies(seed):
    """Return scattered vectors, noisy crowds, exact copies and a chain, as a collection would keep them."""
    rng = np.random.default_rng(seed)
    base = np.maximum(rng.normal(size=(40, DIM)), 0) + 0.01
    crowd = base[3] + 0.08 * rng.random((12, DIM))
    looser = base[4] + rng.choice([0.05, 0.2, 0.4], (12, 1)) * rng.random((12, DIM))
    chain = base[5] + np.linspace(0, 1, 15)[:, None] * (base[6] - base[5])
    rows = np.concatenate([base, crowd, looser, chain, base[[7, 7, 8]], crowd[[0]]])
    return rng.permutation(rows).astype(np.float16).astype(np.float32)


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


def fill(library, vectors, metric="cosine"):
    photos = library.create("photos", PROVENANCE, vectors.shape[1], metric)
    photos.upsert([Item(str(i), f"{i % 7:064}", {"n": i}, vector) for i, vector in enumerate(vectors)])
    return photos


@pytest.mark.parametrize(("metric", "min_score"), [("cosine", 0.97), ("cosine", 0.999), ("cosine", 0.5), ("l2", -1.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_groups_are_those_of_comparing_every_pair(library, monkeypatch, metric, min_score, seed):
    for name, value in (("_BLOCK", 16), ("_BLOCKS_AT_ONCE", 2), ("_PAIRS_AT_ONCE", 7), ("_SUBSPACE", 5), ("_ROUGH", 3)):
        monkeypatch.setattr(near_pairs, name, value)
    vectors = vectors_with_copies(seed)
    found = list(fill(library, vectors, metric).duplicates(min_score))
    assert [[int(own) for own in group.ids] for group in found] == groups(vectors, min_score, metric)
    for group in found:
        scores = [score(vectors[int(a)], vectors[int(b)], metric) for a, b in itertools.combinations(group.ids, 2)]
        assert group.score == pytest.approx(min(scores), abs=1e-6)
        assert group.score >= min_score


def test_no_pair_is_missed_and_few_are_compared_in_whole():
    vectors = vectors_with_copies(2)
    for metric, min_score in (("cosine", 0.97), ("l2", -0.8)):
        short = near_pairs.shorten([vectors[:30], vectors[30:]], vectors[::3], metric)
        pairs = {
            (i, j)
            for a, b in short.pairs(min_score, lambda: False)
            for i, j in zip(a.tolist(), b.tolist(), strict=True)
        }
        every = itertools.combinations(range(len(vectors)), 2)
        assert pairs >= {(i, j) for i, j in every if score(vectors[i], vectors[j], metric) >= min_score}
        assert len(pairs) < len(vectors) ** 2 / 8


def test_exact_copies_are_said(library):
    photos = library.create("photos", PROVENANCE, 4)
    same, other = np.ones(4, np.float32), np.arange(1, 5, dtype=np.float32)
    photos.upsert([Item(str(i), "a" * 64, {"n": i}, same) for i in range(3)] + [Item("x", "b" * 64, {}, other)])
    (group,) = photos.duplicates(1.0)
    assert (group.ids, group.score, group.is_exact) == (["0", "1", "2"], 1.0, True)
    photos.upsert([Item("y", "c" * 64, {"n": 5}, same)])
    assert [one.is_exact for one in photos.duplicates(0.99)] == [False]
    assert [one.ids for one in photos.duplicates(0.99, where=parse("n >= 2"))] == [["2", "y"]]
    photos.delete(["2"])
    assert [one.ids for one in photos.duplicates(0.99)] == [["0", "1", "y"]]


def test_rarity_stands_for_a_score(library):
    photos = fill(library, vectors_with_copies(0))
    cut_off = photos._rarity.cut_off(photos._searcher.current(), 0.01, "max_rarity")[0]
    by_rarity = [one.ids for one in photos.duplicates(None, 0.01)]
    assert by_rarity
    assert by_rarity == [one.ids for one in photos.duplicates(cut_off)]


def test_what_cannot_be_asked_for(library, monkeypatch):
    photos = library.create("empty", PROVENANCE, 4)
    assert list(photos.duplicates(0.9)) == []
    for wrong in (1.1, 0.0, -1.0, float("nan"), None):
        with pytest.raises(InvalidArgument, match="min_score must be above 0 and at most 1"):
            photos.duplicates(wrong)
    with pytest.raises(InvalidArgument, match="at most 0 with the metric l2"):
        library.create("l2", PROVENANCE, 4, "l2").duplicates(0.9)
    with pytest.raises(FailedPrecondition, match="inner product"):
        library.create("dot", PROVENANCE, 4, "dot").duplicates(0.9)
    monkeypatch.setattr(duplicates, "_MOST_PAIRS", 10)
    with pytest.raises(ResourceExhausted, match="More than 10 pairs"):
        list(fill(library, vectors_with_copies(0)).duplicates(0.5))


def test_it_ends_when_its_caller_does(library):
    asked = []
    assert (
        list(fill(library, vectors_with_copies(0)).duplicates(0.9, is_cancelled=lambda: asked.append(1) is None)) == []
    )
    assert asked
