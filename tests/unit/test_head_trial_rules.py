"""Heads on trial: the test of a difference, the sample from which a class is counted, and the version in the shadow."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

import fc7
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.head_trials import ItemSample, Stratum, mcnemar
from fc7.searches import Hit
from fc7_service.heads import shadow as shadows
from fc7_service.heads.measures import mcnemar as of_the_server
from fc7_service.heads.registry import Heads
from fc7_service.heads.sample import draw_sample
from fc7_service.heads.shadow import MOST_DIFFERING, Seen, Shadows
from labelled import PROVENANCE, Labelled, make_labelled


def test_mcnemar_is_the_exact_test() -> None:
    for first, second in [(0, 0), (1, 0), (3, 9), (40, 25), (1000, 1100), (5, 5)]:
        expected = binomtest(first, first + second).pvalue if first + second else 1.0
        assert mcnemar(first, second) == pytest.approx(min(1.0, expected), abs=1e-9)
        assert mcnemar(first, second) == pytest.approx(of_the_server(first, second), abs=1e-9)


def sample_of(ids: list[str], probabilities: np.ndarray, n: int) -> ItemSample:
    strata = [
        Stratum(s.low, s.high, s.count, s.expected, [Hit(ids[row], float(probabilities[row]), {}) for row in s.drawn])
        for s in draw_sample(ids, probabilities, n)
    ]
    return ItemSample("h/1", "cat", strata)


def test_strata_hold_every_item_once_and_the_sample_has_its_size() -> None:
    random = np.random.default_rng(0)
    for n_items, n in [(3, 10), (50, 10), (5000, 100), (5000, 4999), (1, 10)]:
        probabilities = random.beta(0.3, 2, n_items)
        ids = [f"i{i}" for i in range(n_items)]
        strata = draw_sample(ids, probabilities, n)
        assert sum(s.count for s in strata) == n_items
        assert sum(s.expected for s in strata) == pytest.approx(probabilities.sum())
        drawn = np.concatenate([s.drawn for s in strata])
        assert len(set(drawn.tolist())) == len(drawn) == min(n, n_items)
        for s in strata:
            assert ((probabilities[s.drawn] >= s.low) & (probabilities[s.drawn] <= s.high)).all()
        again = draw_sample(ids, probabilities, n)
        assert [s.drawn.tolist() for s in again] == [s.drawn.tolist() for s in strata]


@pytest.mark.parametrize("slope", [1.0, 0.5, 2.5], ids=["calibrated", "too sure", "too unsure"])
def test_the_interval_of_a_count_holds_the_truth(slope: float) -> None:
    """Also where the probabilities of the head do not hold."""
    n_held, n_trials = 0, 60
    for trial in range(n_trials):
        random = np.random.default_rng(trial)
        logits = random.normal(-3, 2.5, 4000)
        is_cat = random.random(4000) < 1 / (1 + np.exp(-slope * logits))
        ids = [f"{trial}-{i}" for i in range(4000)]
        sample = sample_of(ids, 1 / (1 + np.exp(-logits)), 150)
        assert sample.count == 4000
        answers = dict(zip(ids, is_cat.tolist(), strict=True))
        found = sample.estimate({hit.id: answers[hit.id] for hit in sample.drawn})
        assert found.low <= found.value <= found.high
        n_held += found.low <= is_cat.sum() <= found.high
    assert n_held >= 0.9 * n_trials


def test_when_all_items_are_checked_the_count_is_exact() -> None:
    ids = [f"i{i}" for i in range(30)]
    sample = sample_of(ids, np.linspace(0, 1, 30), 100)
    found = sample.estimate({id: i % 3 == 0 for i, id in enumerate(ids)})  # noqa: A001
    assert (found.value, found.low, found.high) == (10, 10, 10)
    partly = sample.estimate({"i0": True})  # the rest counts as not drawn
    assert partly.high - partly.low > 5
    with pytest.raises(InvalidArgument, match="has no item that was drawn"):
        sample.estimate({"else": True})


DATA = make_labelled(12, 3, 24)


def train(heads: Heads, name: str, data: Labelled) -> int:
    return heads.train(name, data.features, data.labels, data.groups, PROVENANCE).version


@pytest.fixture
def heads(tmp_path: Path) -> Heads:
    """A head of which version 1 is published; version 2 was told other labels."""
    heads = Heads(tmp_path)
    train(heads, "h", DATA)
    train(heads, "h", Labelled(DATA.features, DATA.labels[1:] + DATA.labels[:1], DATA.groups))
    train(heads, "h", DATA)
    heads.publish("h", 1)
    return heads


def seen(heads: Heads, rows: slice = slice(None)) -> list[Seen]:
    features = DATA.features[rows]
    answers = heads.classifier("h").predict(features)
    return [
        Seen(lambda i=i: f"{i:064x}", features[i : i + 1], answers[i])  # type: ignore[misc]
        for i in range(len(features))
    ]


def test_a_shadow_counts_how_often_it_agrees(heads: Heads, tmp_path: Path) -> None:
    observed = Shadows(tmp_path, heads)
    observed.observe(heads.classifier("h"), seen(heads))  # no shadow: nothing happens
    assert observed.get("h") is None
    observed.set("h", 2, 1.0)
    observed.observe(heads.classifier("h"), seen(heads))
    observed.close()
    found = observed.get("h")
    ours, theirs = (heads.classifier("h", v).predict(DATA.features).argmax(axis=1) for v in (1, 2))
    assert found is not None
    assert (found.count, found.agreed, found.passed_over) == (36, int(np.sum(ours == theirs)), 0)
    assert 0 < len(found.differing) == 36 - found.agreed
    last = int(np.flatnonzero(ours != theirs)[-1])
    newest = found.differing[0]
    assert newest.sha256 == f"{last:064x}"
    assert (newest.published[0][0], newest.shadow[0][0]) == (f"c{ours[last]:03d}", f"c{theirs[last]:03d}")
    again = Shadows(tmp_path, heads)  # what came out outlives the server
    assert again.get("h") == found
    again.set("h", 0, 0)
    assert again.get("h") is None
    assert not (tmp_path / "h/shadow.json").exists()
    again.close()


def test_a_shadow_gets_its_share_and_keeps_few_pictures(heads: Heads, tmp_path: Path) -> None:
    observed = Shadows(tmp_path, heads)
    observed.set("h", 2, 0.25)
    for _ in range(40):
        observed.observe(heads.classifier("h"), seen(heads))
    observed.close()
    found = observed.get("h")
    assert found is not None
    assert 200 < found.count + found.passed_over < 520  # 360 are expected
    assert len(found.differing) <= MOST_DIFFERING
    assert (tmp_path / "h/shadow.json").stat().st_size < 200_000


def test_publishing_begins_the_count_again_and_ends_it_for_that_version(heads: Heads, tmp_path: Path) -> None:
    observed = Shadows(tmp_path, heads)
    observed.set("h", 2, 1.0)
    observed.observe(heads.classifier("h"), seen(heads))
    heads.publish("h", 3)
    observed.observe(heads.classifier("h"), seen(heads, slice(5)))
    heads.publish("h", 2)
    observed.observe(heads.classifier("h"), seen(heads, slice(7)))
    observed.close()
    found = observed.get("h")
    assert found is not None
    assert (found.published_version, found.count) == (3, 5)


def test_a_shadow_that_fails_harms_nobody(heads: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observed = Shadows(tmp_path, heads)
    observed.set("h", 2, 1.0)
    observed.close()
    (tmp_path / "h/2/weights.safetensors").write_bytes(b"damaged")
    again = Shadows(tmp_path, heads)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shadows, "write_record", full)
    again.observe(heads.classifier("h"), seen(heads))
    again.close()
    found = again.get("h")
    assert found is not None
    assert (found.count, found.passed_over) == (0, 36)
    assert "Free some space" in found.problem
    heads.delete("h", 2)
    again.forget("h", 1)  # another version
    assert again.get("h") is not None
    again.forget("h", 2)
    assert again.get("h") is None
    (tmp_path / "h/shadow.json").write_text("{}")
    assert Shadows(tmp_path, heads).get("h") is None  # a damaged file ends the shadow


def test_more_calls_than_can_wait_are_passed_over(
    heads: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer, answer = threading.Event(), Shadows._answer

    def answer_later(self: Shadows, *work: Any) -> None:
        may_answer.wait()
        answer(self, *work)

    monkeypatch.setattr(shadows, "_WAITING", 1)
    monkeypatch.setattr(Shadows, "_answer", answer_later)
    observed = Shadows(tmp_path, heads)
    observed.set("h", 2, 1.0)
    classifier, pictures = heads.classifier("h"), seen(heads)
    for _ in range(4):
        observed.observe(classifier, pictures)  # returns, although the thread of the shadow stands still
    may_answer.set()
    observed.close()
    found = observed.get("h")
    assert found is not None
    assert found.passed_over in (2 * 36, 3 * 36)
    assert found.count + found.passed_over == 4 * 36


def test_what_cannot_be_a_shadow_is_refused(heads: Heads, tmp_path: Path) -> None:
    observed = Shadows(tmp_path, heads)
    other = heads.train(
        "h", DATA.features, DATA.labels, DATA.groups, type(PROVENANCE)("tiny", "c" * 64, "b" * 64, "fc7")
    )
    train(heads, "unpublished", DATA)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidArgument, match="share must be"):
            observed.set("h", 2, share)
    with pytest.raises(InvalidArgument, match="is the published one"):
        observed.set("h", 1, 0.5)
    with pytest.raises(FailedPrecondition, match="other features"):
        observed.set("h", other.version, 0.5)
    with pytest.raises(FailedPrecondition, match="not published"):
        observed.set("unpublished", 1, 0.5)
    for call in (lambda: observed.set("no", 1, 0.5), lambda: observed.set("no", 0, 0), lambda: observed.get("no")):
        with pytest.raises(NotFound):
            call()
    observed.close()


def test_an_agreement_has_an_interval() -> None:
    found = fc7.Shadow(2, 0.1, 1, "2026-01-01T00:00:00+00:00", 10, 8, 0, [])
    assert found.agreement is not None
    assert found.agreement.value == 0.8
    assert found.agreement.low == pytest.approx(0.49, abs=0.01)
    assert fc7.Shadow(2, 0.1, 1, "", 0, 0, 0, []).agreement is None
