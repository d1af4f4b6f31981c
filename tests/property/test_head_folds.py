"""Whatever the rows: copies stay together, classes are spread evenly, every class is tested and trained."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.errors import InvalidArgument
from fc7_service.heads.folds import N_FOLDS, NO_FOLD, assign_folds
from fc7_service.heads.temperature import fit_temperature

rows = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40)), max_size=120)


@given(rows)
def test_rows_are_refused_or_split_by_the_rules(rows):
    labels, groups = [label for label, _ in rows], [str(group) for _, group in rows]
    classes_of = {group: {label for label, its in zip(labels, groups, strict=True) if its == group} for group in groups}
    own = Counter(min(its) for its in classes_of.values() if len(its) == 1)
    if len(set(labels)) < 2 or any(own[label] < 2 for label in labels):
        with pytest.raises(InvalidArgument):
            assign_folds(labels, groups)
        return
    fold_of = {}
    for group, fold in zip(groups, assign_folds(labels, groups).tolist(), strict=True):
        assert fold_of.setdefault(group, fold) == fold, "copies on two sides"
    for group, fold in fold_of.items():
        assert (fold == NO_FOLD) == (len(classes_of[group]) > 1)
    for label in set(labels):
        mine = [fold for group, fold in fold_of.items() if classes_of[group] == {label}]
        assert 0 in mine, "never tested"
        assert any(fold > 0 for fold in mine), "never trained"


@given(st.lists(st.integers(2, 60), min_size=2, max_size=6))
def test_each_class_is_spread_evenly_where_there_are_no_copies(sizes):
    labels = [f"c{i}" for i, size in enumerate(sizes) for _ in range(size)]
    folds = assign_folds(labels, [str(i) for i in range(len(labels))])
    for i, size in enumerate(sizes):
        counts = Counter(folds[np.array(labels) == f"c{i}"].tolist())
        assert max(counts.values()) - min(counts[fold] for fold in range(min(size, N_FOLDS))) <= 1
        assert set(counts) == set(range(min(size, N_FOLDS)))


@given(rows, rows)
def test_what_was_held_out_stays_held_out(before, now):
    def split(rows, earlier=None):
        try:
            return assign_folds([label for label, _ in rows], [str(group) for _, group in rows], earlier).tolist()
        except InvalidArgument:
            return []

    earlier = {str(group): fold for (_, group), fold in zip(before, split(before), strict=False) if fold != NO_FOLD}
    folds = split(now, earlier)
    moved: dict[str, set[int]] = {}
    for (label, group), fold in zip(now, folds, strict=False):
        if fold != NO_FOLD and earlier.get(str(group), fold) != fold:
            moved.setdefault(label, set()).add(group)
    for label, groups in moved.items():  # only so that a class can be trained and tested, and one group at most
        of_class = {group for (its, group), fold in zip(now, folds, strict=True) if its == label and fold != NO_FOLD}
        wanted = {earlier.get(str(group)) for group in of_class}
        assert len(groups) == 1
        assert 0 not in wanted or wanted == {0}
    assert {label for (label, _), fold in zip(now, folds, strict=False) if fold == 0} == (
        {label for label, _ in now} if folds else set()
    )
    if folds and all(str(group) in earlier for _, group in now) and before == now:
        assert folds == split(before)


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)

    def split(rows):
        try:
            folds = assign_folds([label for label, _ in rows], [str(group) for _, group in rows])
        except InvalidArgument as error:
            return error.message
        return {group: fold for (_, group), fold in zip(rows, folds.tolist(), strict=True)}

    assert split(rows) == split(shuffled)


@given(st.integers(1, 40), st.integers(2, 6), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_the_temperature_is_never_worse_than_none(n, n_classes, sharpness, seed):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((n, n_classes)) * sharpness).astype(np.float32)
    y = rng.integers(0, n_classes, n)
    temperature, found = fit_temperature(logits, y)
    doubt = 1 / (n + 1)
    target = np.full((n, n_classes), doubt / n_classes)
    target[np.arange(n), y] += 1 - doubt

    def loss(z):
        return float(np.mean(np.logaddexp.reduce(z, axis=1) - (target * z).sum(axis=1)))

    z = logits.astype(np.float64)
    assert found == pytest.approx(loss(z / temperature), rel=1e-9, abs=1e-9)
    assert found <= loss(z) + 1e-6
