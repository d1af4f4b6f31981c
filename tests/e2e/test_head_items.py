"""A head on the stored features of a collection: classes, what is written, and the ranking by a class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fc7
from fc7.cli import main
from fc7.drawing.head_page import draw_head_page
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from tiny import PX, make_tiny_bundle

N = 60


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 100, (N, PX, PX, 3), dtype=np.uint8)
    for i in range(N):
        part = slice(0, PX // 2) if i % 3 == 0 else slice(PX // 2, PX)
        images[i, part] += 150
        images[i, :, :, i % 3] //= 2
    return list(images)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items") / "data"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    make_tiny_bundle(folder)
    return str(folder)


@pytest.fixture(scope="module")
def client(data: Path, bundle: str) -> Iterator[fc7.Client]:
    with fc7.connect(data=data, models=[bundle]) as client:
        photos = client.create_collection("photos")
        labels = [{"kind": "abc"[i % 3]} if i < 45 else {} for i in range(N)]
        photos.add(pictures(), ids=[f"p{i}" for i in range(N)], payloads=labels)
        client.train_head("kind", collection="photos", label="kind")
        client.publish_head("kind")
        yield client


def test_items_get_the_class_that_their_pictures_get(client: fc7.Client) -> None:
    items = client.classify_items("photos", head="kind")
    answers = client.classify(pictures(), head="kind")
    assert [item.id for item in items] == [f"p{i}" for i in range(N)]
    assert [item.label for item in items] == [answer.label for answer in answers]
    np.testing.assert_allclose(
        [i.probability for i in items], [a.probability for a in answers], atol=2e-3
    )  # stored in half precision
    assert all("found" not in item.payload for item in client.collection("photos").items())
    some = client.classify_items("photos", head="kind", where='kind = "a"')
    assert [item.id for item in some] == [f"p{i}" for i in range(0, 45, 3)]


def test_classes_are_written_with_the_head_and_never_over_what_people_wrote(client: fc7.Client) -> None:
    photos = client.collection("photos")
    written = client.classify_items("photos", head="kind", write="found")
    assert all(item.error is None for item in written)
    for item, stored in zip(written, photos.items(), strict=True):
        assert stored.payload["found"] == item.label
        assert stored.payload["found_head"] == "kind/1"
        assert stored.payload["found_probability"] == pytest.approx(item.probability, abs=1e-6)
    again = client.classify_items("photos", head="kind", write="found")  # its own values may be replaced
    assert all(item.error is None for item in again)
    over = client.classify_items("photos", head="kind", write="kind")
    assert [item.error is not None for item in over] == [i < 45 for i in range(N)]
    assert isinstance(over[0].error, FailedPrecondition)
    assert over[0].error.reason == "FIELD_NOT_OURS"
    assert [item.payload["kind"] for item in photos.items()][:45] == ["abc"[i % 3] for i in range(45)]
    assert client.train_head("again", collection="photos", label="kind").count == 45  # what a head wrote is no label


def test_refused_items_get_no_class(client: fc7.Client) -> None:
    items = client.classify_items("photos", head="kind", refuse_unknown=True, write="strict")
    answers = client.classify(pictures(), head="kind", refuse_unknown=True)
    assert [item.reason for item in items] == [answer.reason for answer in answers]
    stored = [item.payload for item in client.collection("photos").items()]
    assert [payload["strict"] for payload in stored] == [item.label for item in items]


@pytest.mark.parametrize("near", [None, 0.5])
def test_ranking_is_by_the_probability_of_the_class(client: fc7.Client, near: float | None) -> None:
    answers = client.classify(pictures(), head="kind", top=3)
    of_class = [dict(answer.top)["b"] for answer in answers]
    key = [-p if near is None else abs(p - near) for p in of_class]
    hits = client.rank_items("photos", "b", head="kind", k=7, near_score=near)
    scores = [hit.score for hit in hits]
    np.testing.assert_allclose(
        scores, [of_class[i] for i in np.argsort(key, kind="stable")[:7]], atol=2e-3
    )  # stored in half precision
    assert all(hit.payload == client.collection("photos").get([hit.id])[0].payload for hit in hits)
    assert len(client.rank_items("photos", "b", head="kind", k=500)) == N


def test_what_cannot_be_is_refused(client: fc7.Client) -> None:
    client.create_collection("other", layer="fc6")
    with pytest.raises(FailedPrecondition, match=r"head 'kind' takes features of tiny fc7, .* those of tiny fc6"):
        client.classify_items("other", head="kind")
    with pytest.raises(NotFound, match=r"has no class 'z'\. Its classes are: a, b, c"):
        client.rank_items("photos", "z", head="kind")
    with pytest.raises(NotFound, match="'nobody'"):
        client.classify_items("nobody", head="kind")
    with pytest.raises(InvalidArgument, match="k must be 1 to 10000"):
        client.rank_items("photos", "a", head="kind", k=0)
    with pytest.raises(InvalidArgument, match="near_score"):
        client.rank_items("photos", "a", head="kind", near_score=2.0)
    with pytest.raises(InvalidArgument, match="field must have 1 to 256"):
        client.classify_items("photos", head="kind", write="")
    client.delete_collection("other")


def test_an_instant_head_follows_the_items(client: fc7.Client, data: Path) -> None:
    photos = client.collection("photos")
    before = client.train_head("quick", collection="photos", label="kind", instant=True)
    assert (before.method, before.count, before.held_out, before.version) == ("instant", 45, 45, 1)
    assert before.measures.accuracy.value > 0.6
    photos.update({"p0": {"kind": "b"}, "p1": {"kind": "d"}, "p2": {"kind": "d"}})
    words = ("head", "train", "quick", "--collection", "photos", "--label", "kind", "--instant", "--json")
    result = CliRunner().invoke(main, [*words, "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["classes"] == ["a", "b", "c", "d"]
    report = client.head_report("quick")
    assert (report.head.count, [point.count for point in report.curve]) == (45, [44])
    assert "Would more labels help?" in draw_head_page(report, {})
    with pytest.raises(FailedPrecondition, match="not instant"):
        client.publish_head("quick", refuse_unknown=True)
    assert client.publish_head("quick").published_version == 2
    answers = client.classify(pictures(), head="quick")
    assert sum(answer.label == "abc"[i % 3] for i, answer in enumerate(answers)) > 0.6 * N
    photos.update({f"p{i}": {"kind": "abc"[i]} for i in range(3)})
    with pytest.raises(InvalidArgument, match="instant head is trained on a whole collection"):
        client.train_head("quick", collection="photos", group="kind", instant=True)


def test_weights_reach_the_fit(client: fc7.Client) -> None:
    images, labels = pictures()[:45], ["abc"[i % 3] for i in range(45)]
    plain = client.train_head("plain", images=images, labels=labels)
    for options in ({"weights": [1.0 + 9 * (i % 2) for i in range(45)]}, {"balanced": True, "weights": [1] * 45}):
        weighed = client.train_head("weighed", images=images, labels=labels, **options)
        assert (weighed.weights_sha256 == plain.weights_sha256) == ("balanced" in options)  # the classes are equal
    with pytest.raises(InvalidArgument, match="between 1e-06 and 1e\\+06"):
        client.train_head("weighed", images=images, labels=labels, weights=[0.0] * 45)
    with pytest.raises(InvalidArgument, match="weights"):
        client.train_head("weighed", images=images, labels=labels, weights=[1.0])
    with pytest.raises(InvalidArgument, match="Leave out ids=, groups= and weights="):
        client.train_head("weighed", collection="photos", weights=[1.0])


def test_suggestions_are_items_without_a_label(client: fc7.Client) -> None:
    photos = client.collection("photos")
    photos.add_labels([fc7.Label("p50", "a")])
    found = client.suggest_items("photos", head="kind", label="kind", n=8)
    assert found[0].reason == "margin"  # there are ten labels per class
    assert {one.id for one in found} <= {f"p{i}" for i in range(45, N)} - {"p50"}
    assert all(one.label in ("a", "b", "c") and one.probability is not None for one in found)
    fresh = client.suggest_items("photos", head="not-yet", n=8)  # nothing has a label in the field "label"
    assert {one.reason for one in fresh} <= {"typical", "random"}
    assert fresh[0].reason == "typical"
    assert all(one.label is None for one in fresh)
    assert client.suggest_items("photos", head="kind", n=5, where='kind = "none"') == []
    with pytest.raises(NotFound, match="'nobody' does not exist"):
        client.suggest_items("photos", head="nobody", strategy="margin")
    with pytest.raises(InvalidArgument, match="strategy must be one of auto, margin"):
        client.suggest_items("photos", head="kind", strategy="luck")
    with pytest.raises(InvalidArgument, match="n must be 1 to 1000"):
        client.suggest_items("photos", head="kind", n=0)


def test_the_commands(client: fc7.Client, data: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, [*words, "--data", str(data)])
        assert result.exit_code == code, result.output
        return result.output

    table = run("classify", "--collection", "photos", "--head", "kind", "--write", "seen")
    assert f"wrote 'seen' to {N} items of photos" in table
    rows = [
        json.loads(line) for line in run("classify", "--collection", "photos", "--head", "kind", "--json").splitlines()
    ]
    assert len(rows) == N
    assert rows[0]["id"] == "p0"
    ranked = run("search", "photos", "--class", "a", "--head", "kind", "-k", "2", "--json").splitlines()
    assert [json.loads(line)["id"] for line in ranked] == [
        hit.id for hit in client.rank_items("photos", "a", head="kind", k=2)
    ]
    assert "no head wrote" in run("classify", "--collection", "photos", "--head", "kind", "--write", "kind", code=1)
    suggested = run(
        "head", "suggest", "kind", "--collection", "photos", "--label", "kind", "-n", "4", "--json"
    ).splitlines()
    assert 1 <= len(suggested) <= 4
    assert json.loads(suggested[0])["reason"] == "margin"
    for words in (["classify"], ["classify", "x.png", "--collection", "photos", "--head", "kind"],
                  ["classify", "x.png", "--write", "f"], ["search", "photos", "--class", "a"],
                  ["search", "photos", "--head", "kind"]):  # fmt: skip
        run(*words, code=2)
