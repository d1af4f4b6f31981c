"""`fc7 explain` and `client.explain` against a real server: numbers, drawings, arrays, bad input."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import fc7
from explained import WHITE, make_explained_bundle
from fc7.cli import main
from fc7.v1 import common_pb2
from fc7.v1 import explain_pb2 as pb
from fc7.v1.explain_pb2_grpc import ExplainServiceStub
from servers import jpeg, serving, write_jpegs
from site_of_pictures import running
from tiny import PX

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("explained")
    tiny = make_explained_bundle(folder / "tiny")
    bare = make_explained_bundle(folder / "bare", name="bare", has_deconv=False)
    models = ["--model", str(tiny.path), "--model", str(bare.path)]
    with serving(folder / "data", *models, "--threads", "1", "--device", "cpu") as served:
        yield served.address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_jpegs(folder, [f"{kind}/{i}.jpg" for kind in ("one", "two") for i in range(6)])
    return folder


@pytest.fixture
def run(address: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    def go(*words: object, code: int = 0, said: str = "", given: bytes = b"") -> list[dict[str, Any]]:
        monkeypatch.setenv("FC7_SERVER", address)
        done: Result = CliRunner().invoke(main, ["explain", *map(str, words)], input=given)
        assert done.exit_code == code, done.stderr
        assert said in done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()] if "--json" in words else []

    return go


def is_drawn(file: Path, width: int, height: int) -> bool:
    """Whether a file holds a drawing of more than that size, in colours."""
    with Image.open(file) as image:
        return image.width > width and image.height > height and len(image.getcolors(10**7) or ()) > 50


def test_unit(run: Run, images: Path, tmp_path: Path) -> None:
    image = images / "one/0.jpg"
    found = run("unit", image, "--strongest", 3, "--output", tmp_path / "unit.png", "--json")
    values = [row["value"] for row in found]
    assert values == sorted(values, reverse=True)
    assert set(found[0]) == {"unit", "value", "row", "column", "box"}
    assert is_drawn(tmp_path / "unit.png", 500, 600)
    named = run(
        "unit", image, "--unit", 2, "--position", 9, "--rule", "guided", "--output", tmp_path / "u.npz", "--json"
    )
    assert (named[0]["unit"], named[0]["row"], named[0]["column"]) == (2, 1, 1)
    with np.load(tmp_path / "u.npz") as arrays:
        assert arrays["projections"].shape == (1, PX, PX, 3)
        assert arrays["view"].shape == (PX, PX, 3)
        assert json.loads(str(arrays["provenance"]))["layer"] == "conv5"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_top_of_a_folder_and_of_a_collection(run: Run, address: str, images: Path, tmp_path: Path) -> None:
    found = run("top", images, "--units", "0,1,2,3", "--output", tmp_path / "top.png", "--json")
    assert {row["unit"] for row in found} <= {0, 1, 2, 3}
    assert all(sum(row["unit"] == unit for row in found) <= 9 for unit in range(4))
    assert is_drawn(tmp_path / "top.png", 500, 300)
    with fc7.connect(address) as client:
        ids = [f"{kind}/{i}.jpg" for kind in ("one", "two") for i in range(6)]
        paths = [images / name for name in ids]
        photos = client.create_collection("photos")
        photos.add(paths, ids=ids, payloads=[{"path": str(path)} for path in paths])
        photos.add([jpeg(99)], ids=["nowhere"])
    words = ("top", "--collection", "photos", "--units", "0,1,2,3", "--json")
    assert run(*words, code=1, said="nowhere: left out, because it has no payload.path") == found
    other = ("--units", "0", "--model", "bare")
    run("top", "--collection", "photos", *other, code=4, said="model 'bare' has no deconvnet")
    drawn = run("top", images, "--units", "random:2", "--output", tmp_path / "top.npz", "--json")
    assert len({row["unit"] for row in drawn}) <= 2
    with np.load(tmp_path / "top.npz") as arrays:
        assert list(arrays["ids"]) == [row["id"] for row in drawn]
        assert len(arrays["projections"]) == len(drawn)


def test_top_of_a_collection_takes_its_model(run: Run, address: str, images: Path) -> None:
    path = images / "one/0.jpg"
    with fc7.connect(address) as client:
        client.create_collection("bare", model="bare").add([path], ids=["it"], payloads=[{"path": str(path)}])
    run("top", "--collection", "bare", "--units", "0", code=4, said="model 'bare' has no deconvnet")
    assert len(run("top", "--collection", "bare", "--units", "0,1,2,3", "--model", "tiny", "--json")) > 0


def test_a_picture_is_sent_once_for_its_units(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Path] = []
    unit = fc7.Explain.unit

    def counted(self: fc7.Explain, image: Path, **options: Any) -> fc7.Projections:
        sent.append(image)
        return unit(self, image, **options)

    monkeypatch.setattr(fc7.Explain, "unit", counted)
    found = run("top", images, "--units", "0,1,2,3", "--output", tmp_path / "top.npz", "--json")
    assert sorted(sent) == sorted({images / row["id"] for row in found})
    with np.load(tmp_path / "top.npz") as arrays:
        assert [(unit, value) for unit, value in zip(arrays["units"], arrays["projections_values"], strict=True)] == [
            (row["unit"], pytest.approx(row["value"], rel=1e-5)) for row in found
        ]
    assert len(found) > len(sent)


def test_a_second_unit_sends_no_picture(address: str, images: Path) -> None:
    paths = sorted(images.rglob("*.jpg"))
    with fc7.connect(address) as client:
        first: list[int] = []
        second: list[int] = []
        one = client.explain.top(paths, layer="fc6", units=[1], report=first.append)
        other = client.explain.top(paths, layer="fc6", units=[2], report=second.append)
        every = client.explain.top(paths, layer="fc6")
    assert (first[-1], second) == (12, [])
    assert one.units | other.units == {unit: every.units[unit] for unit in (1, 2)}
    assert len(every.units) == 16


def test_unreadable_pictures_are_said_and_the_rest_is_done(run: Run, address: str, tmp_path: Path) -> None:
    write_jpegs(tmp_path, ["good.jpg"])
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    found = run("top", tmp_path, "--units", "0,1,2,3", "--json", code=1, said="bad.jpg: the bytes are not an image")
    assert {row["id"] for row in found} <= {"good.jpg"}
    with fc7.connect(address) as client:  # a pass and a pass that is known tell the same
        files = [tmp_path / "good.jpg", tmp_path / "absent.jpg"]
        first, second = (client.explain.top(files, units=[0]).failed for _ in range(2))
    assert [repr(failure) for failure in first] == [repr(failure) for failure in second]
    assert isinstance(second[0].error, fc7.NotFound)


@pytest.mark.parametrize(
    "words",
    [
        ("unit", "IMAGE", "--unit", 1),
        ("match", "IMAGE", "OTHER"),
        ("class", "IMAGE"),
        ("occlude", "IMAGE", "--grid", 3),
    ],
)
def test_a_picture_by_its_url_and_on_standard_input(
    words: tuple[object, ...], run: Run, images: Path, tmp_path: Path
) -> None:
    def explain(image: object, *options: object, **more: Any) -> list[dict[str, Any]]:
        pictures = {"IMAGE": image, "OTHER": images / "two/1.jpg"}
        return run(*(pictures.get(str(word), word) for word in words), "--json", *options, **more)

    picture = (images / "one/0.jpg").read_bytes()
    wanted = explain(images / "one/0.jpg")
    with running() as site:
        site.picture = picture
        assert explain(f"{site.url}/picture.jpg", "--output", tmp_path / "url.png") == wanted
        assert len(site.asked) == 1
        explain(f"{site.url}/gone.jpg", code=3, said="its server answers 404")
    assert explain("-", "--output", tmp_path / "stdin.png", given=picture) == wanted
    explain("-", code=2, said="standard input is empty")
    assert is_drawn(tmp_path / "url.png", 300, 200)
    assert is_drawn(tmp_path / "stdin.png", 300, 200)


@pytest.mark.parametrize("layer", ["conv5", "fc7", WHITE])
def test_match(run: Run, images: Path, tmp_path: Path, layer: str) -> None:
    words = ("match", images / "one/0.jpg", images / "two/1.jpg", "--layer", layer, "--strongest", 3)
    (found,) = run(*words, "--output", tmp_path / "match.png", "--json")
    assert len(found["units"]) == 3
    assert is_drawn(tmp_path / "match.png", 500, 500)
    run(*words, "--output", tmp_path / "match.npz")
    with np.load(tmp_path / "match.npz") as arrays:
        assert arrays["contributions"].sum() + found["rest"] == pytest.approx(found["score"], abs=1e-5)
        assert ("query_positions" in arrays) == (layer != "fc7")
        assert arrays["query"].shape == arrays["neighbour"].shape == (3, PX, PX, 3)


def test_a_network_without_a_deconvnet_says_what_is_not_drawn(run: Run, images: Path, tmp_path: Path) -> None:
    pair, drawn = (images / "one/0.jpg", images / "two/0.jpg"), tmp_path / "drawn.png"
    said = "nothing was drawn: model 'bare' has no deconvnet for layer 'fc7'"
    for words in (("match", *pair, "--layer", "fc7"), ("class", pair[0])):
        found = run(*words, "--model", "bare", "--output", drawn, "--json", code=4, said=said)
        assert found[0]["units"]
        assert not drawn.exists()
        run(*words, "--model", "bare", "--output", tmp_path / "kept.npz", "--json")
        assert np.load(tmp_path / "kept.npz")["contributions"].size
    said = "the drawing shows no units: model 'bare' has no deconvnet for layer 'conv5'"
    run("match", *pair, "--layer", "conv5", "--model", "bare", "--output", drawn, said=said)
    assert is_drawn(drawn, 500, 200)


def test_match_within_a_collection(run: Run, address: str, images: Path) -> None:
    image = images / "one/0.jpg"
    with fc7.connect(address) as client:
        pairs = client.create_collection("pairs", layer="pool5")
        pairs.add([images / "two/1.jpg"], ids=["it"], payloads=[{"path": str(images / "two/1.jpg")}])
        (hit,) = pairs.search(image, k=1)
    (found,) = run("match", image, "it", "--collection", "pairs", "--json")
    assert found["score"] == pytest.approx(hit.score, abs=1e-3)  # stored as fp16
    with running() as site, fc7.connect(address) as client:
        site.picture = (images / "two/1.jpg").read_bytes()
        payloads = [{"url": f"{site.url}/picture.jpg"}, {}]
        client.collection("pairs").add([site.picture] * 2, ids=["from the web", "bytes"], payloads=payloads)
        assert run("match", image, "from the web", "--collection", "pairs", "--json") == [found]
    run("match", image, "bytes", "--collection", "pairs", code=2, said="neither payload.path nor payload.url")
    run("match", image, "gone", "--collection", "pairs", code=3, said="neither a file nor an item")
    run("match", image, image, "--collection", "pairs", "--layer", "fc7", code=2)


def test_class_of_the_network_and_of_a_head(run: Run, address: str, images: Path, tmp_path: Path) -> None:
    image = images / "one/0.jpg"
    (own,) = run("class", image, "--class", "red thing", "--output", tmp_path / "class.png", "--json")
    assert own["label"] == "red thing"
    assert is_drawn(tmp_path / "class.png", 500, 300)
    paths = sorted(images.rglob("*.jpg"))
    with fc7.connect(address) as client:
        client.train_head("kinds", images=paths, labels=[path.parent.name for path in paths], layer=WHITE)
        client.publish_head("kinds")
        wanted = client.classify(image, head="kinds")[0]
        reason = client.explain.label(image, head="kinds")
    assert (reason.label, reason.probability) == (wanted.label, pytest.approx(wanted.probability, abs=1e-5))
    assert reason.positions is not None
    assert reason.positions.sum() + reason.positions_rest == pytest.approx(reason.logit, abs=1e-4)
    (found,) = run("class", image, "--head", "kinds", "--class", "two", "--output", tmp_path / "c.npz", "--json")
    assert found["unit_layer"] == "conv5"
    run(
        "class",
        image,
        "--head",
        "kinds",
        "--class",
        "three",
        code=3,
        said="no class 'three'. The 2 classes are: one, two",
    )
    run("class", image, "--head", "kinds", "--model", "tiny", code=2, said="cannot be combined with a head")
    run("class", image, "--head", "absent", code=3)


def test_occlude(run: Run, images: Path, tmp_path: Path) -> None:
    words = ("occlude", images / "one/0.jpg", "--model", "bare", "--grid", 6)
    (found,) = run(*words, "--output", tmp_path / "occlusion.png", "--json")
    assert found["lowest"] <= found["probability"]
    assert is_drawn(tmp_path / "occlusion.png", 800, 200)
    run(*words, "--square", 3, "--output", tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as arrays:
        assert arrays["probabilities"].shape == arrays["best"].shape == arrays["activities"].shape == (6, 6)
        assert arrays["best"].max() < len(arrays["labels"])


def test_bad_input(run: Run, images: Path, tmp_path: Path) -> None:
    image = images / "one/0.jpg"
    run("unit", image, "--model", "bare", code=4, said="model 'bare' has no deconvnet")
    run("unit", image, "--layer", "conv9", code=3, said="Choose one of conv5, pool5")
    run("unit", image, "--unit", 99, code=2, said="units of layer 'conv5' are 0 to 3 (got 99)")
    run("unit", image, "--unit", 1, "--position", 64, code=2, said="positions of layer 'conv5' are 0 to 63")
    run("unit", image, "--unit", 1, "--strongest", 3, code=2)
    run("unit", image, "--position", 3, code=2)
    run("unit", images / "absent.jpg", code=3, said="does not exist")
    run("unit", image, "--output", tmp_path / "unit.txt", code=2, said="no format has that suffix")
    run("unit", image, "--output", tmp_path / "no" / "unit.png", code=4)
    for units in ("a,b", "", "random:0", "random:1,2", "-1"):
        run("top", images, "--units", units, code=2, said="--units must be N,N,... or random:N")
    run("top", images, "--units", "77", code=2, said="(got 77)")
    run(
        "top",
        images,
        "--units",
        "random:65",
        "--output",
        tmp_path / "top.png",
        code=2,
        said="may name at most 64 units with --output (got 65)",
    )
    run("top", images, "--collection", "photos", code=2)
    run("top", "--collection", "absent", code=3)
    run("match", image, image, "--model", "nobody", code=3)
    run("occlude", image, "--square", 99, code=2, said="square_px must be 1 to 16")


async def test_both_clients_answer_alike(address: str, images: Path) -> None:
    image, other = images / "one/0.jpg", images / "two/0.jpg"

    def calls(explain: Any) -> list[Any]:
        return [
            explain.unit(image, strongest=2),
            explain.top([image, other], units=[0]),
            explain.match(image, other),
            explain.label(image),
            explain.occlude(image, grid=3),
        ]

    with fc7.connect(address) as client:
        waited = await asyncio.to_thread(calls, client.explain)
    async with fc7.AsyncClient(address) as client:
        awaited = [await call for call in calls(client.explain)]
    assert [repr(one) for one in awaited] == [repr(one) for one in waited]
    np.testing.assert_array_equal(awaited[0].projections[0].pixels, waited[0].projections[0].pixels)
    assert waited[1].units == awaited[1].units
    assert sum(waited[2].timing.__getstate__()) > 0


def test_both_have_the_same_methods() -> None:
    def public(kind: type[Any]) -> dict[str, Any]:
        return {name: value for name, value in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}

    ours, theirs = public(fc7.Explain), public(fc7.AsyncExplain)
    assert list(ours) == list(theirs) == ["label", "match", "occlude", "top", "unit"]
    for name, method in ours.items():
        assert inspect.signature(method) == inspect.signature(theirs[name]), name


def test_photographs_and_the_shipped_network(photographs: Path, tmp_path: Path) -> None:
    """Shares add up on real pictures too, and what is projected lies where the unit looks."""
    one, other, *_ = sorted((photographs / "photos").glob("*.jpg"))
    with fc7.connect(data=tmp_path, models=["alexnet-64"], device="cpu") as client:
        for layer in ("conv5", "fc7"):
            match = client.explain.match(one, other, layer=layer)
            a, b = client.extract([one, other], layer=layer).values.astype(float)
            assert match.score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
            assert abs(match.contributions.sum() + match.rest - match.score) < 1e-5
        for projection in client.explain.unit(one, layer="conv2", strongest=5).projections:
            left, top, right, bottom = projection.place.box
            inside = np.abs(projection.pixels[top:bottom, left:right]).sum()
            assert inside == pytest.approx(np.abs(projection.pixels).sum(), rel=1e-5)
            assert inside > 0
        reason = client.explain.label(one)
        best = client.classify(one)[0]
    assert (reason.label, reason.probability) == (best.label, pytest.approx(best.probability, abs=1e-5))
    assert reason.contributions.sum() + reason.rest == pytest.approx(reason.logit, abs=1e-4)


def test_a_sweep_whose_deadline_is_over_ends_and_holds_up_nobody(address: str) -> None:
    request = pb.OccludeRequest(image=common_pb2.Image(encoded=jpeg(1)), grid=64)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(ExplainServiceStub(channel).Occlude(request, timeout=0.02))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with fc7.connect(address) as client:
        assert len(client.explain.unit(jpeg(1), strongest=2).projections) == 2
