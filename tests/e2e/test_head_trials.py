"""Two heads compared, several heads in one call, a version in the shadow, a class counted, and labels by a head."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import fc7
from fc7.cli import main
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7_service.features.extractor import Extractor
from servers import WAIT_S
from tiny import PX

N = 60
KINDS = ["abc"[i % 3] for i in range(N)]


def pictures() -> list[np.ndarray]:
    images = np.random.default_rng(5).integers(0, 100, (N, PX, PX, 3), dtype=np.uint8)
    for i in range(N):
        part = slice(0, PX // 2) if i % 3 == 0 else slice(PX // 2, PX)
        images[i, part] += 150
        images[i, :, :, i % 3] //= 2
    return list(images)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trials") / "data"


@pytest.fixture(scope="module")
def client(data: Path, tiny_bundle: Path) -> Iterator[fc7.Client]:
    with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
        photos = client.create_collection("photos")
        payloads = [{"kind": kind, "is_known": i < 36} for i, kind in enumerate(KINDS)]
        photos.add(pictures(), ids=[f"p{i}" for i in range(N)], payloads=payloads)
        known = pictures()[:36]
        client.train_head("kind", images=known, labels=KINDS[:36])
        client.train_head(
            "kind", images=known[:12], labels=["a", "b", "c", "b", "c", "a", "c", "a", "b", "a", "b", "c"]
        )
        client.publish_head("kind", 1)
        yield client


@pytest.fixture
def run(data: Path, tiny_bundle: Path, client: fc7.Client) -> Any:
    def run(*words: str, code: int = 0, input: str | None = None) -> str:
        done = CliRunner().invoke(main, [*words, "--data", str(data)], input=input)
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_two_heads_are_compared_on_the_same_items(client: fc7.Client) -> None:
    found = client.compare_heads("kind/1", "kind", collection="photos", label="kind")
    answers = [client.classify_items("photos", head="kind", head_version=v) for v in (1, 2)]
    right = [[item.label == kind for item, kind in zip(items, KINDS, strict=True)] for items in answers]
    assert (found.first, found.second, found.count) == ("kind/1", "kind/2", N)
    assert found.first_accuracy.value == np.mean(right[0])
    assert found.second_accuracy.value == np.mean(right[1])
    assert found.only_first == sum(a and not b for a, b in zip(*right, strict=True))
    differing = [a.id for a, b in zip(*answers, strict=True) if a.label != b.label]
    assert [one.id for one in found.differing] == differing
    assert found.n_differing == len(differing) > 0
    assert found.p_value < 0.05
    assert found.trained_on == 36
    assert (
        client.compare_heads("kind/1", "kind", collection="photos", label="kind", where="is_known = false").count == 24
    )
    on_images = client.compare_heads(
        "kind/1", "kind/2", images=pictures(), labels=KINDS, ids=[f"p{i}" for i in range(N)]
    )
    assert (on_images.count, on_images.only_first, on_images.only_second) == (N, found.only_first, found.only_second)
    assert [one.id for one in on_images.differing] == differing


def test_what_cannot_be_compared_is_refused(client: fc7.Client) -> None:
    for bad in ("kind/0", "kind/x", "kind/-1", "kind/1/2"):
        with pytest.raises(InvalidArgument, match="NAME/VERSION"):
            client.compare_heads(bad, "kind", collection="photos", label="kind")
    with pytest.raises(NotFound):
        client.compare_heads("kind/9", "kind", collection="photos", label="kind")
    with pytest.raises(InvalidArgument, match="no picture has a label"):
        client.compare_heads("kind/1", "kind", collection="photos", label="nothing")
    with pytest.raises(InvalidArgument, match="know none of the labels"):
        client.compare_heads("kind/1", "kind", images=pictures()[:2], labels=["x", "y"])
    with pytest.raises(InvalidArgument, match="takes collection=, or images="):
        client.compare_heads("kind/1", "kind")
    client.create_collection("other", layer="fc6").add(pictures()[:2], ids=["x", "y"], payloads=[{"kind": "a"}] * 2)
    with pytest.raises(FailedPrecondition, match="takes features of"):
        client.compare_heads("kind/1", "kind", collection="other", label="kind")


def test_further_heads_share_one_pass(client: fc7.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    extract = Extractor.extract

    async def counted(self: Extractor, images: Any, *args: Any, **kwargs: Any) -> Any:
        passes.append(len(images))
        return await extract(self, images, *args, **kwargs)

    monkeypatch.setattr(Extractor, "extract", counted)
    answers = client.classify(pictures()[:5], head="kind", also=["kind/2", "kind/1"], top=3)
    assert sum(passes) == 5
    for version in (1, 2):
        alone = client.classify(pictures()[:5], head="kind", head_version=version, top=3)
        together = [answer.also[2 - version] for answer in answers]
        for one, other in zip(alone, together, strict=True):
            assert one.label == other.label
            assert dict(one.top) == pytest.approx(dict(other.top), abs=1e-5)
    assert client.classify(pictures()[:1], head="kind")[0].also == []
    failed = client.classify([b"no picture", pictures()[0]], head="kind", also=["kind/2"])
    assert failed[0].error is not None
    assert len(failed[1].also) == 1
    with pytest.raises(NotFound):
        client.classify(pictures()[:1], head="kind", also=["nobody"])
    with pytest.raises(InvalidArgument, match="Name the first one in head"):
        client.classify(pictures()[:1], also=["kind"])


def test_a_version_answers_in_the_shadow(client: fc7.Client, run: Any) -> None:
    assert "no version of head kind is in the shadow" in run("head", "shadow", "kind")
    assert "version 2 answers 100% of the live pictures" in run(
        "head", "shadow", "kind", "--version", "2", "--share", "1"
    )
    before = client.classify(pictures(), head="kind", head_version=1)  # names a version: not live
    live = client.classify(pictures(), head="kind")
    assert [one.label for one in live] == [one.label for one in before]
    deadline = time.monotonic() + WAIT_S
    while (found := client.shadow("kind")) is None or found.count < N:
        assert time.monotonic() < deadline
    theirs = client.classify(pictures(), head="kind", head_version=2)
    same = [a.label == b.label for a, b in zip(live, theirs, strict=True)]
    assert (found.count, found.agreed, found.passed_over, found.problem) == (N, sum(same), 0, "")
    assert len(found.differing) == N - sum(same)
    shown = run("head", "show", "kind", "--json")
    assert json.loads(shown)["shadow"]["agreed"] == sum(same)
    assert "agreement" in run("head", "show", "kind")
    assert found.differing[0].sha256[:12] in run("head", "shadow", "kind")
    run("head", "shadow", "kind", "--off")
    assert client.shadow("kind") is None
    client.set_shadow("kind", 2)
    assert json.loads(run("head", "shadow", "kind", "--json"))["shadow"]["share"] == pytest.approx(0.1)
    client.set_shadow("kind", None)
    for words in (("--off", "--version", "2"), ("--share", "0.5"), ("--version", "2", "--share", "1.5")):
        run("head", "shadow", "kind", *words, code=2)


def test_the_commands_compare_and_classify(client: fc7.Client, run: Any, tmp_path: Path) -> None:
    for i, pixels in enumerate(pictures()[36:]):
        path = tmp_path / "unseen" / KINDS[36 + i] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    folder = str(tmp_path / "unseen")
    out = run("head", "compare", "kind/1", "kind/2", "--on", folder)
    assert "24 pictures" in out
    assert "McNemar" in out
    facts = json.loads(run("head", "compare", "kind/1", "kind/2", "--on", folder, "--json"))
    assert facts["count"] == 24
    assert facts["only_first"] > facts["only_second"]
    out = run("head", "compare", "kind/1", "kind/2", "--on", "photos", "--label", "kind")
    assert "trained on 36 of these 60 items" in out
    run("head", "compare", "kind/1", "kind/2", "--on", folder, "--label", "kind", code=2)
    run("head", "compare", "kind/1", "kind/2", "--on", "photos", "--exclude", "x", code=2)
    one = f"{folder}/a/0.png"
    both = json.loads(run("classify", one, "--head", "kind", "--also", "kind/2", "--json"))
    assert [other["head"] for other in both["also"]] == ["kind/2"]
    assert len(run("classify", one, "--head", "kind", "--also", "kind/2").splitlines()) == 4
    run("classify", one, "--also", "kind", code=2)


def test_a_class_is_counted_from_a_checked_sample(client: fc7.Client, run: Any, tmp_path: Path) -> None:
    words = ("head", "count", "photos", "--head", "kind", "--class", "a", "--check", "20")
    first = json.loads(run(*words, "--json"))
    assert first["estimate"] is None
    ids = [item["id"] for item in first["missing"]]
    assert len(ids) == len(set(ids)) == 20
    assert f"{ids[0]} " in run(*words)
    truth = dict(zip((f"p{i}" for i in range(N)), KINDS, strict=True))
    file = tmp_path / "answers.csv"
    file.write_text("id,answer\n" + "".join(f"{id},{'yes' if truth[id] == 'a' else 'no'}\n" for id in ids))  # noqa: A001
    from_file = json.loads(run(*words, "--json", "--answers", str(file)))["estimate"]
    assert from_file["low"] <= 20 <= from_file["high"]
    photos = client.collection("photos")
    photos.add_labels([fc7.Label(id, truth[id], by="ann") for id in ids[:10]])  # noqa: A001
    photos.add_labels([fc7.Label(id, "a", "positive" if truth[id] == "a" else "negative", "ann") for id in ids[10:-1]])  # noqa: A001
    assert [item["id"] for item in json.loads(run(*words, "--json"))["missing"]] == ids[-1:]
    photos.add_labels([fc7.Label(ids[-1], "a", "positive" if truth[ids[-1]] == "a" else "negative", "ann")])
    assert json.loads(run(*words, "--json"))["estimate"] == from_file
    assert "95 % interval" in run(*words)
    photos.add_labels([fc7.Label(ids[-1], "a", "unsure", "ann")])  # counts as not drawn
    assert json.loads(run(*words, "--json"))["estimate"]["low"] <= from_file["low"] + 1
    file.write_text("id,answer\np1,perhaps\n")
    assert "line 2: answer must be yes or no" in run(*words, "--answers", str(file), code=2)
    file.write_text("name\np1\n")
    run(*words, "--answers", str(file), code=2)
    with pytest.raises(NotFound, match="has no class"):
        client.sample_items("photos", "zebra", head="kind")
    photos.undo_labels(ids)


def test_a_head_labels_what_it_is_sure_of(client: fc7.Client, run: Any) -> None:
    photos = client.collection("photos")
    photos.add_labels([fc7.Label("p0", "b", by="ann")])
    expected = [item for item in client.classify_items("photos", head="kind") if item.probability >= 0.6]
    ids = [item.id for item in expected if item.id != "p0"]
    assert ids
    words = ("label", "photos", "--from-head", "kind", "--above", "0.6")
    assert f"would label {len(ids)} item" in run(*words, "--dry-run")
    assert [json.loads(line)["id"] for line in run(*words, "--dry-run", "--json").splitlines()] == ids
    assert {record.by for record in photos.labels(by="kind")} == set()
    assert f"labelled {len(ids)} item" in run(*words)
    records = list(photos.labels(by="kind"))
    assert [record.id for record in records] == ids
    assert {record.head_version for record in records} == {1}
    assert [record.label for record in records] == [item.label for item in expected if item.id != "p0"]
    run(*words)  # a second time, nothing is added
    assert len(list(photos.labels(by="kind"))) == len(ids)
    assert client.label_items("photos", head="kind", above=1.0) == []
    for bad in (("--from-head", "kind"), ("--above", "0.5"), ("p1", "--from-head", "kind", "--above", "0.5")):
        run("label", "photos", *bad, code=2)
    with pytest.raises(InvalidArgument, match="above must be"):
        client.label_items("photos", head="kind", above=1.5)
    client.train_head("draft", images=pictures()[:12], labels=KINDS[:12])
    with pytest.raises(FailedPrecondition, match="not published"):
        client.label_items("photos", head="draft", above=0.9)
