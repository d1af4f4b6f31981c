"""Sums over labelled items follow every commit, and a head from them is the head that a fit from nothing gives."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.errors import InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import warm_rows
from fc7_service.collections.collection import Collection
from fc7_service.collections.labels import Label
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.heads.instant import RowSums, fit_instant
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.standardised_rows import StandardisedRows

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM, NOW = 6, "2026-05-01T12:00:00+00:00"
OWN = st.sampled_from([f"i{i}" for i in range(12)])
KIND = st.sampled_from(["a", "b", "c", None])
STEP = st.one_of(
    st.tuples(st.just("add"), OWN, KIND, st.integers(0, 999)),
    st.tuples(st.just("delete"), OWN),
    st.tuples(st.just("update"), OWN, KIND),
    st.tuples(st.just("label"), OWN, st.sampled_from("abc"), st.sampled_from(["positive", "negative"])),
    st.tuples(st.just("undo"), OWN),
    st.tuples(st.just("read")),
)


def item(own: str, kind: str | None, seed: int) -> Item:
    vector = 5 + np.random.default_rng(seed).standard_normal(DIM)
    return Item(own, f"{seed:064d}", {} if kind is None else {"kind": kind}, vector.astype(np.float32))


def take(photos: Collection, step: tuple[Any, ...]) -> None:
    match step:
        case ("add", own, kind, seed):
            photos.upsert([item(own, kind, seed)])
        case ("delete", own):
            photos.delete([own])
        case ("update", own, kind):
            photos.update([(own, PayloadChange({"kind": kind}, ()))])
        case ("label", own, kind, verdict):
            photos.labels.add([Label(own, kind, verdict, "ann", 0, NOW)])
        case ("undo", own):
            photos.labels.undo([(own, "", "")])


@pytest.fixture(autouse=True)
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_rows, "_FOLDED_AT", 3)
    monkeypatch.setattr(warm_rows, "_AT_ONCE", 2)
    monkeypatch.setattr(warm_rows, "_FEWEST_REMOVED", 8)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from([("kind", False), ("kind", True), (None, True)]))
def test_the_sums_equal_those_of_the_items_as_they_are(steps: list[tuple[Any, ...]], source: Any) -> None:
    with TemporaryDirectory() as folder:
        library = Collections(Path(folder) / "collections")
        photos = library.create("photos", PROVENANCE, DIM)
        photos.upsert([item(f"i{i}", "abc"[i % 3], i) for i in range(6)])
        warm = photos.follow_labels(*source)
        for step in [("read",), *steps, ("read",)]:
            take(photos, step)
            if step == ("read",):
                try:
                    features, labels, _, ids, _ = photos.labelled_features(source[0], 99, "", source[1])
                except InvalidArgument:
                    with pytest.raises(InvalidArgument, match="no item with a label"):
                        warm.read(99)
                    continue
                moments, sample = warm.read(99)
                classes = sorted(set(labels))
                centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
                one_hot = np.array([[label == name for name in classes] for label in labels])
                assert moments.classes == tuple(classes)
                assert moments.class_counts.tolist() == [labels.count(name) for name in classes]
                np.testing.assert_allclose(moments.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-5)
                np.testing.assert_allclose(moments.gram, centred.T @ centred / len(labels), atol=1e-5)
                np.testing.assert_allclose(moments.class_sums, centred.T @ one_hot / len(labels), atol=1e-5)
                assert dict(zip(sample.ids, sample.labels, strict=True)) == dict(zip(ids, labels, strict=True))
        library.close()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.integers(1, 40), st.sampled_from([1.0, 1e-1, 1e-3]))
def test_a_head_from_sums_is_that_of_a_fit_and_leaves_rows_out(seed: int, n: int, dim: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(3), rng.integers(0, 3, n - 3)])
    x = (2 * rng.standard_normal((3, dim))[y] + rng.standard_normal((n, dim)) + 5).astype(np.float32)
    mean, one_hot = x.mean(axis=0, dtype=np.float64), np.eye(3)[y]
    centred = x - mean
    sums = RowSums(n, mean, centred.T @ centred / n, ("a", "b", "c"), np.bincount(y), centred.T @ one_hot / n)
    head = fit_instant(sums, x, y, (strength,))
    layer = next(fit_ridge(StandardisedRows(x, y, 3), (strength,)))
    size = max(1.0, float(np.abs(layer.weights).max()))
    np.testing.assert_allclose(head.softmax.weights, layer.weights, atol=1e-3 * size)
    np.testing.assert_allclose(head.softmax.logits(x), layer.logits(x), atol=1e-3)
    rows = centred / head.softmax.scale
    for i in range(n):  # slowly: fit the others, with an intercept that is not penalised
        others = np.arange(n) != i
        left = np.hstack([rows[others], np.ones((n - 1, 1))])
        penalty = np.diag([n * strength] * dim + [0.0])
        solution = np.linalg.solve(left.T @ left + penalty, left.T @ one_hot[others])
        np.testing.assert_allclose(head.logits[i], np.append(rows[i], 1) @ solution, atol=2e-3)


def test_the_strength_that_predicts_best_is_chosen() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.standard_normal((3, 80))[y] + 3 * rng.standard_normal((60, 80))).astype(np.float32)
    centred = x - x.mean(axis=0)

    def fit(*strengths: float) -> Any:
        gram, sums = centred.T @ centred / 60, centred.T @ np.eye(3)[y] / 60
        moments = RowSums(60, x.mean(axis=0), gram.astype(np.float64), ("a", "b", "c"), np.bincount(y), sums)
        return fit_instant(moments, x, y, strengths)

    assert fit(10.0, 1.0, 1e-4).nll == min(fit(one).nll for one in (10.0, 1.0, 1e-4))
    with pytest.raises(InvalidArgument, match="at least 2 classes"):
        fit_instant(RowSums(1, x[0], np.eye(80), ("a",), np.array([1]), x[:1].T), x[:1], y[:1], (1.0,))


def test_a_label_of_another_type_is_refused_until_it_is_mended(tmp_path: Path) -> None:
    library = Collections(tmp_path / "collections")
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([item("a", "x", 1), item("b", "y", 2)])
    warm = photos.follow_labels("kind")
    assert warm.read(9)[0].n_rows == 2
    photos.update([("a", PayloadChange({"kind": 1.5}, ()))])
    with pytest.raises(InvalidArgument, match="neither text nor a whole number"):
        warm.read(9)
    photos.update([("a", PayloadChange({"kind": 3}, ()))])
    assert warm.read(9)[0].classes == ("3", "y")
    library.close()
