"""What is found out about a head: honest predictions, wrong labels, the learning curve, and the versions compared."""

from __future__ import annotations

import re
import xml.dom.minidom
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fc7
from fc7.drawing.head_page import draw_head_page, pictured_ids
from fc7.errors import DataLoss, FailedPrecondition, NotFound
from fc7.head_report import HeadReport, JudgedRow, NearDuplicate
from fc7.measures import Estimate, HeadMeasures
from fc7.results import Head
from fc7_service.heads.comparison import compare
from fc7_service.heads.fit import fit_head
from fc7_service.heads.folds import assign_folds
from fc7_service.heads.judgement import Judgement, RowNames, judge, pack_judgement, unpack_judgement
from fc7_service.heads.learning_curve import CurvePoint, labels_for_one_point
from fc7_service.heads.measures import warnings
from fc7_service.heads.methods import fit_method
from fc7_service.heads.near_duplicates import near_duplicates
from fc7_service.heads.registry import Heads
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.stop_check import never_stop
from labelled import PROVENANCE, Labelled, make_labelled


def judged(data: Labelled) -> Judgement:
    fitted = fit_head(data.features, data.labels, data.groups)
    return judge(
        data.features,
        data.labels,
        RowNames(data.groups, data.groups, data.groups),
        near_duplicates(data.features),
        fitted,
        never_stop,
    ).judgement


def test_no_row_is_predicted_by_a_head_that_saw_it_or_its_copies() -> None:
    data = make_labelled(12, 3, 40, noise=2.0)
    fitted = fit_head(data.features, data.labels, data.groups)
    found = judge(
        data.features,
        data.labels,
        RowNames(data.groups, data.groups, data.groups),
        near_duplicates(data.features),
        fitted,
        never_stop,
    ).judgement
    y, folds = found.y, assign_folds(data.labels, data.groups)
    for row in (0, 7, 20):
        others = folds != folds[row]
        rows = StandardisedRows(data.features[others], y[others].astype(int), 3)
        layer = next(fit_method(fitted.method, (fitted.strength,), rows))
        wanted = layer.logits(data.features[row : row + 1])[0]
        ratios = np.diff(np.log(found.probabilities[row])) / np.diff(wanted)
        assert ratios[0] == pytest.approx(ratios[1], rel=1e-2)  # one temperature

    noise = np.random.default_rng(2).standard_normal((60, 200)).astype(np.float32)
    copied = Labelled(np.tile(noise, (4, 1)), [f"c{i % 2}" for i in range(60)] * 4, [str(i) for i in range(60)] * 4)
    assert judged(copied).measures.accuracy.value < 0.75


def test_a_picture_with_two_labels_is_predicted_but_does_not_count() -> None:
    data = make_labelled(10, 2, 30)
    twice = Labelled(
        np.concatenate([data.features, data.features[:1]]), [*data.labels, "c001"], [*data.groups, data.groups[0]]
    )
    found = judged(twice)
    assert found.folds[0] == found.folds[-1] == -1
    assert found.measures.count == 19
    np.testing.assert_allclose(found.probabilities[0], found.probabilities[-1], rtol=1e-5)
    assert found.duplicates[0][:2] == (0, 20)


def test_flipped_labels_are_found() -> None:
    data, random = make_labelled(60, 5, 64, noise=0.8), np.random.default_rng(4)
    flipped = random.choice(300, 15, replace=False)
    labels = list(data.labels)
    for i in flipped:
        labels[i] = random.choice([name for name in set(data.labels) if name != labels[i]])
    suspected = judged(Labelled(data.features, labels, data.groups)).suspected.tolist()
    top = suspected[:15]
    assert len(set(top) & set(flipped)) >= 12  # precision of at least 80 % among as many as were flipped


def test_a_head_that_does_not_beat_the_largest_class_is_warned_of() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((312, 20)).astype(np.float32)
    labels = ["few" if i < 12 else "many" for i in range(312)]
    features[:3] += 1.5
    found = judged(Labelled(features, labels, [str(i) for i in range(312)])).measures
    assert found.majority_label == "many"
    assert found.majority_accuracy == 300 / 312
    (text,) = warnings(found)
    assert "no better than always answering the largest class, 'many'" in text
    assert f"{found.balanced_accuracy.value:.3f}" in text
    assert warnings(judged(make_labelled(10, 3, 30)).measures) == []


def test_the_learning_curve_rises_and_ends_with_all_labels() -> None:
    found = judged(make_labelled(60, 4, 48, noise=2.5))
    counts, accuracies = zip(*found.curve, strict=True)
    assert [round(192 / n) for n in counts] == [8, 4, 2, 1]
    assert accuracies[-1] == found.measures.accuracy.value
    assert accuracies[0] < accuracies[-1]


def test_the_labels_for_one_more_point_follow_the_power_law() -> None:
    points = [CurvePoint(n, 1 - 2 * n**-0.5) for n in (50, 100, 200, 400)]
    error = points[-1].accuracy
    more = labels_for_one_point(points)
    assert more is not None
    assert 1 - 2 * (400 + more) ** -0.5 == pytest.approx(error + 0.01, abs=1e-4)
    assert labels_for_one_point([CurvePoint(n, 0.7) for n in (50, 100, 200)]) is None
    assert labels_for_one_point([CurvePoint(50, 0.9), CurvePoint(100, 0.95), CurvePoint(200, 0.995)]) is None


def test_versions_are_compared_on_the_pictures_of_both() -> None:
    data = make_labelled(20, 3, 40, noise=1.5)
    whole, part = judged(data), judged(data[:30])
    classes = ("c000", "c001", "c002")
    found = compare(whole, classes, part, classes, 7)
    assert found is not None
    assert (found.version, found.count) == (7, 30)
    answers = [j.probabilities[:30].argmax(axis=1) == j.y[:30] for j in (whole, part)]
    assert (found.accuracy, found.other_accuracy) == tuple(float(one.mean()) for one in answers)
    assert (found.only_this, found.only_other) == (np.sum(answers[0] & ~answers[1]), np.sum(answers[1] & ~answers[0]))
    elsewhere = make_labelled(5, 3, 40, seed=9)
    assert compare(whole, classes, judged(elsewhere), classes, 7) is None


def test_a_judgement_comes_back_from_its_file() -> None:
    found = judged(make_labelled(8, 3, 16))
    again = unpack_judgement(pack_judgement(found), found.measures, found.unknown)
    for name in ("ids", "contents", "duplicates", "curve", "measures", "unknown"):
        assert getattr(again, name) == getattr(found, name)
    for name in ("y", "folds", "suspected"):
        assert np.array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=5e-4)


@pytest.fixture
def heads(tmp_path: Path) -> Heads:
    return Heads(tmp_path / "heads")


def train(heads: Heads, **facts: str) -> None:
    data = make_labelled(8, 3, 16)
    heads.train("h", data.features, data.labels, data.groups, PROVENANCE, **facts)


def test_a_version_keeps_what_was_found_out_about_it(heads: Heads, tmp_path: Path) -> None:
    train(heads, ids=[f"{i}.jpg" for i in range(24)], source="photos")
    version, found = Heads(tmp_path / "heads").judgement("h")
    assert (version.source, version.measures) == ("photos", found.measures)
    assert found.ids[3] == "3.jpg"
    with pytest.raises(NotFound, match="no version 2"):
        heads.judgement("h", 2)


def test_a_damaged_judgement_is_found_and_the_head_serves(heads: Heads, tmp_path: Path) -> None:
    train(heads)
    path = tmp_path / "heads/h/1/judgement.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:50] + b"x" + whole[51:], b""):
        path.write_bytes(damaged)
        with pytest.raises(DataLoss, match=r"1/judgement.safetensors is missing or damaged.* still classifies"):
            heads.judgement("h")
    assert heads.publish("h").version == 1


def test_a_head_that_an_earlier_fc7_trained_has_no_report(heads: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    later = {"measures", "source", "unknown", "judgement_sha256"}

    def earlier(head: object) -> dict[str, object]:
        values = asdict(head)
        return {name: value for name, value in values.items() if name not in later}

    with monkeypatch.context() as patch:
        patch.setattr("fc7_service.heads.version_files.asdict", earlier)
        train(heads)
    assert heads.get("h").measures is None
    assert heads.publish("h").version == 1
    with pytest.raises(FailedPrecondition, match="has no report") as refused:
        heads.judgement("h")
    assert refused.value.reason == "HEAD_WITHOUT_REPORT"


# The page


def page_of(ids: list[str], files: dict[str, Path]) -> str:
    rows = [
        JudgedRow(name, ("a", "b")[i % 2], ("a", "b")[i % 3 == 0], 0.5 + 0.01 * i, 0.4, i % 5)
        for i, name in enumerate(ids)
    ]
    estimate = Estimate(0.5, 0.25, 0.75)
    measures = HeadMeasures(len(rows), estimate, estimate, None, estimate, estimate, "a", 0.5, 1.0)
    head = Head("<h>", 2, 1, fc7.Provenance("d", "m", "g", "r", "fc7", "none", "fp32"), ["a", "b"], len(rows), 0.5, 2,
                "ridge", 1.0, "", "", 1, 0.5, measures=measures, warnings=["the head is <weak>"],
                unknown=fc7.UnknownRule("energy", 1.5, 0.95, 0.4, [fc7.UnknownScore("energy", 0.4, 0.8)]))  # fmt: skip
    report = HeadReport(
        head,
        rows,
        rows[:2],
        [NearDuplicate(rows[0], rows[1], 0.97)],
        [fc7.CurvePoint(5, 0.4), fc7.CurvePoint(10, 0.5)],
        12,
        fc7.HeadComparison(1, 4, 0.5, 0.75, 1, 2, 1.0),
    )
    assert set(pictured_ids(report)) <= set(ids)
    assert report.to_dict()["rows"][0]["id"] == ids[0]
    return draw_head_page(report, files)


def test_the_page_stands_alone_and_shows_text_from_outside_as_text(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    hostile = '<script>alert(1)</script>".png'
    ids = ["red.png", "broken.jpg", hostile, "gone.jpg", *(f"{i}.png" for i in range(20))]
    page = page_of(ids, {name: tmp_path / name for name in ids[:2]})
    assert "<script" not in page
    assert "&lt;weak&gt;" in page
    assert "Head &lt;h&gt;, version 2" in page
    assert 'src="data:image/jpeg;base64,' in page
    assert not re.findall(r'(?:src|href)="(?!data:|#cell-)', page), "nothing is loaded from elsewhere"
    assert page.count("not on this machine") >= 2
    for link in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{link}"' in page
    assert "About 12 more labels" in page
    assert "keeps 95% of the pictures of its classes and refuses 40% of others" in page
    xml.dom.minidom.parseString(re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0])
