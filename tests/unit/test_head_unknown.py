"""None of these: the rule that refuses pictures of no class, its measured price, and sets of classes that cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fc7.errors import FailedPrecondition, InvalidArgument
from fc7_service.heads import unknown
from fc7_service.heads.conformal import calibration_scores, least_probability
from fc7_service.heads.fit import fit_head
from fc7_service.heads.judgement import RowNames, judge
from fc7_service.heads.near_duplicates import near_duplicates
from fc7_service.heads.registry import Heads
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import never_stop
from fc7_service.heads.unknown import auroc
from labelled import PROVENANCE, Labelled, make_labelled

N_KNOWN = 10  # classes; the others are strangers


def train(heads: Heads, data: Labelled, name: str = "h") -> None:
    heads.train(name, data.features, data.labels, data.groups, PROVENANCE)


def split(data: Labelled, known: bool) -> Labelled:
    rows = [i for i, label in enumerate(data.labels) if (int(label[1:]) < N_KNOWN) == known]
    return Labelled(data.features[rows], [data.labels[i] for i in rows], [data.groups[i] for i in rows])


@pytest.fixture
def heads(tmp_path: Path) -> Heads:
    return Heads(tmp_path / "heads")


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_the_price_is_that_of_classes_that_were_never_seen(heads: Heads, noise: float) -> None:
    data = make_labelled(70, N_KNOWN + 5, 64, noise=noise)
    known, strangers = split(data, True), split(data, False)
    train(heads, known[:400])
    head = heads.classifier("h", 1)
    rule = head.check_unknown_rule()
    assert {score.name for score in rule.scores} == {"softmax", "energy", "neighbour"}
    assert rule.score == rule.scores[0].name
    assert rule.known_kept == pytest.approx(0.95, abs=0.03)
    assert 1 - head.are_unknown(known[400:].features).mean() == pytest.approx(rule.known_kept, abs=0.06)
    assert head.are_unknown(strangers.features).mean() == pytest.approx(rule.unknown_refused, abs=0.2)
    assert rule.unknown_refused > 0.3  # far above the 5 % of the known


def test_with_many_rows_some_of_them_tell_the_price(heads: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def count(*args: Any) -> StandardisedRows:
        counts.append(len(args[4]))
        return StandardisedRows(*args)

    monkeypatch.setattr(unknown, "_MOST_FITTED", 100)
    monkeypatch.setattr(unknown, "StandardisedRows", count)
    data = make_labelled(40, N_KNOWN + 5, 64, noise=0.5)
    train(heads, split(data, True))
    assert counts == [100] * 5
    head = heads.classifier("h", 1)
    refused = head.check_unknown_rule().unknown_refused
    assert refused > 0.3
    assert head.are_unknown(split(data, False).features).mean() == pytest.approx(refused, abs=0.3)


def test_views_are_judged_together(heads: Heads) -> None:
    data = make_labelled(20, 4, 32)
    train(heads, data)
    head = heads.classifier("h", 1)
    twice = np.repeat(data.features, 3, axis=0)
    assert np.array_equal(head.are_unknown(twice, 3), head.are_unknown(data.features))


def test_two_classes_have_no_rule(heads: Heads) -> None:
    train(heads, make_labelled(10, 2, 16))
    assert heads.get("h").unknown is None
    with pytest.raises(FailedPrecondition, match="cannot refuse unknown pictures"):
        heads.publish("h", refuses_unknown=True)
    assert heads.published("h") == 0


def test_publishing_turns_refusing_on_and_off(heads: Heads, tmp_path: Path) -> None:
    train(heads, make_labelled(10, 4, 16))
    train(heads, make_labelled(10, 4, 16))
    heads.publish("h", 1, refuses_unknown=True)
    assert Heads(tmp_path / "heads").refuses_unknown("h")
    heads.delete("h", 2)
    assert heads.refuses_unknown("h")  # deleting another version changes nothing
    heads.publish("h", 1)
    assert not heads.refuses_unknown("h")


def test_a_pointer_of_an_earlier_fc7_refuses_nothing(heads: Heads, tmp_path: Path) -> None:
    from fc7_service.heads import records

    train(heads, make_labelled(10, 4, 16))
    records.write_record(tmp_path / "heads/h/published.json", {"published": 1, "last_deleted": 0})
    assert "refuses_unknown" not in json.loads((tmp_path / "heads/h/published.json").read_text())
    assert heads.classifier("h").version.version == 1
    assert not heads.refuses_unknown("h")


def test_the_auroc_counts_pairs() -> None:
    random = np.random.default_rng(0)
    known, unknown = random.integers(0, 6, 30).astype(np.float32), random.integers(0, 6, 20).astype(np.float32)
    pairs = [(k > u) + (k == u) / 2 for k in known for u in unknown]
    assert auroc(known, unknown) == pytest.approx(np.mean(pairs))


def test_sets_cover_as_often_as_they_say() -> None:
    coverages = []
    for seed in range(20):
        data = make_labelled(80, 6, 24, noise=2.5, seed=seed)
        known, unseen = data[:240], data[240:]
        fitted = fit_head(known.features, known.labels, known.groups)
        found = judge(
            known.features,
            known.labels,
            RowNames(known.groups, known.groups, known.groups),
            near_duplicates(known.features),
            fitted,
            never_stop,
        )
        least = least_probability(found.calibration, 0.9)
        probabilities = fitted.softmax.probabilities(unseen.features)
        y = np.array([fitted.classes.index(label) for label in unseen.labels])
        coverages.append(np.mean(probabilities[np.arange(len(y)), y] >= least))
    assert 0.88 <= np.mean(coverages) <= 0.92


def test_the_least_probability_has_the_rank_of_the_coverage() -> None:
    scores = np.arange(1, 100, dtype=np.float32) / 100  # 99 rows
    assert least_probability(scores, 0.9) == pytest.approx(0.10)  # 90 of them reach it
    assert least_probability(scores, 0.995) == 0.0  # 99 rows cannot promise that
    many = np.random.default_rng(0).random((30_000, 2)).astype(np.float32)
    kept = calibration_scores(many, np.zeros(30_000, int))
    assert len(kept) == 10_000
    assert least_probability(kept, 0.9) == pytest.approx(np.quantile(many[:, 0], 0.1), abs=1e-3)


def test_a_head_of_an_earlier_fc7_has_no_sets(heads: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    from fc7_service.heads import version_files

    whole = version_files.pack_weights
    with monkeypatch.context() as earlier:
        earlier.setattr("fc7_service.heads.train_version.pack_weights", lambda layer, *_: whole(layer, None, None))
        train(heads, make_labelled(10, 4, 16))
    head = heads.classifier("h", 1)
    assert head.predict(np.zeros((1, 16), np.float32)).shape == (1, 4)
    with pytest.raises(FailedPrecondition, match="train the head again"):
        head.least_probability(0.9)
    with pytest.raises(InvalidArgument, match=r"features of shape \(N, 16\)"):
        head.are_unknown(np.zeros((1, 8), np.float32))
