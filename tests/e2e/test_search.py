"""Searches from end to end: embedded, remote and awaited clients, and the command."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from test_cli import fc7 as command
from test_cli import rows, serving

import fc7
from doors import private_door
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc
from servers import WAIT_S, jpeg

N = 12
PIXELS = np.random.default_rng(5).integers(0, 256, (64, 96, 3), dtype=np.uint8)
CORNER = (0.5, 0.25, 1.0, 0.75)  # of PIXELS: rows 16 to 48, columns 48 to 96


@pytest.fixture(scope="module", params=["embedded", "remote"])
def env(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    data = tmp_path_factory.mktemp("data")
    if request.param == "embedded":
        yield {"FC7_DATA": str(data), "FC7_MODEL": str(tiny_bundle)}, {"data": data, "models": [str(tiny_bundle)]}
    else:
        with serving("--model", tiny_bundle, "--data", data) as (address, _):
            yield {"FC7_SERVER": address}, {"address": address}


@pytest.fixture(scope="module")
def client(env: Any) -> Any:
    with fc7.connect(**env[1]) as client:
        photos = client.create_collection("c")
        payloads = [{"label": ("even", "odd")[i % 2], "camera": {"model": "X", "iso": i}} for i in range(N)]
        photos.add([jpeg(i) for i in range(N)], ids=list(map(str, range(N))), payloads=payloads)
        photos.add([PIXELS[16:48, 48:96]], ids=["corner"])
        yield client


def ids(hits: Any) -> list[str]:
    return [hit.id for hit in hits]


async def test_every_option(client: fc7.Client, env: Any) -> None:
    photos = client.collection("c")
    async with fc7.AsyncClient(**env[1]) as other:
        later = await other.collection("c")

        async def found(search: fc7.Search, **query: Any) -> fc7.Hits:
            hits = photos.search(**query, search=search)
            assert await later.search(**query, search=search) == hits
            return hits

        everything = await found(fc7.Search(k=100), image=jpeg(3))
        assert ids(everything)[0] == "3"
        assert len(everything) == N + 1
        assert ids(await found(fc7.Search(k=4, offset=3), image=jpeg(3))) == ids(everything)[3:7]
        assert await found(fc7.Search(offset=100), image=jpeg(3)) == []
        least = everything[4].score
        assert ids(await found(fc7.Search(k=100, min_score=least), image=jpeg(3))) == ids(everything)[:5]
        assert ids(await found(fc7.Search(k=3, exclude=["3", "none"]), image=jpeg(3))) == ids(everything)[1:4]
        assert ids(await found(fc7.Search(k=3, exact=True), image=jpeg(3))) == ids(everything)[:3]
        assert (await found(fc7.Search(k=1, payload_fields=["camera.iso", "x"]), image=jpeg(3)))[0].payload == {
            "camera": {"iso": 3}
        }
        assert (await found(fc7.Search(k=1, payload_fields=[]), image=jpeg(3)))[0].payload == {}
        (hit,) = await found(fc7.Search(k=1, with_features=True), image=jpeg(3))
        (stored,) = photos.get(["3"], with_features=True)
        assert isinstance(stored, fc7.Item)
        assert np.array_equal(hit.feature, stored.feature)
        assert hit.payload == stored.payload
        report = everything.report
        assert (report.index, report.vectors_compared, report.codes_compared) == ("exact", N + 1, 0)
        assert report.seconds.keys() == {"read", "filter", "search", "load"}
        assert report.extraction.compute_s > 0
        assert report.recall is None
        everywhere = fc7.Recall(1.0, 1.0, 1.0, 0)  # of an index that compares every vector
        assert (await found(fc7.Search(with_recall=True), image=jpeg(3))).report.recall == everywhere
        photos.refresh()
        await later.refresh()
        assert photos.recall == later.recall == everywhere
    shown = json.loads(command("collection", "show", "c", "--json", env=env[0]).stdout)
    assert shown["recall"] == {"value": 1.0, "low": 1.0, "high": 1.0, "queries": 0}
    assert "1 (every item is compared)" in command("collection", "show", "c", env=env[0]).stdout


async def test_examples(client: fc7.Client, env: Any) -> None:
    photos, features = client.collection("c"), client.extract([jpeg(1), jpeg(2)])
    E = fc7.Example
    liked = [E(jpeg(1)), E(id="2", weight=2), E(features=features[1], weight=-0.5)]
    hits = photos.search(examples=liked, k=100)
    assert "2" not in ids(hits)  # an example by id is left out
    items = photos.get(list(map(str, range(N))), with_features=True)
    units = {item.id: item.feature / np.linalg.norm(item.feature) for item in items if isinstance(item, fc7.Item)}
    wanted = features.values / np.linalg.norm(features.values, axis=1, keepdims=True)
    total = {own: unit @ (wanted[0] + 2 * units["2"] - 0.5 * wanted[1]) for own, unit in units.items()}
    ranked = [own for own in sorted(total, key=lambda own: -total[own]) if own != "2"]
    assert [own for own in ids(hits) if own != "corner"] == ranked
    assert photos.search(examples=[E(jpeg(3), weight=7)])[0].score == pytest.approx(1, abs=1e-4)

    (cropped, *_) = photos.search(examples=[E(PIXELS, crop=CORNER)], k=3)
    assert cropped.id == "corner"
    assert cropped.score == pytest.approx(1, abs=1e-4)  # stored as fp16
    assert photos.search(PIXELS, k=1)[0].score < cropped.score

    several = [[E(jpeg(3))], [E(PIXELS, crop=CORNER)], liked]
    found = photos.search_many(examples=several, k=2)
    assert [ids(one) for one in found] == [["3", ids(found[0])[1]], ids(found[1]), ids(hits)[:2]]
    async with fc7.AsyncClient(**env[1]) as other:
        later = await other.collection("c")
        assert await later.search_many(examples=several, k=2) == found
        assert await later.search(examples=liked, k=100) == hits


async def test_rarity(client: fc7.Client, env: Any, tmp_path: Path) -> None:
    photos = client.collection("c")
    hits = photos.search(jpeg(3), search=fc7.Search(k=100, with_rarity=True))
    n_pairs = N * (N + 1) // 2
    assert hits.report.rarity_pairs == n_pairs
    rarities = [hit.rarity for hit in hits]
    assert all(rarity is not None and 1 / n_pairs <= rarity <= 1 for rarity in rarities)
    assert rarities == sorted(rarities)
    rare = photos.search(jpeg(3), search=fc7.Search(k=100, max_rarity=0.2))
    assert ids(rare) == [hit.id for hit in hits if hit.rarity <= 0.2]
    assert photos.search(jpeg(3))[0].rarity is None
    threshold = photos.threshold(0.2)
    assert (threshold.pairs, threshold.complete, threshold.count) == (n_pairs, True, N + 1)
    assert photos.search(jpeg(3), search=fc7.Search(k=100, min_score=threshold.min_score)) == photos.search(
        jpeg(3), search=fc7.Search(k=len(rare))
    )
    async with fc7.AsyncClient(**env[1]) as other:
        later = await other.collection("c")
        assert await later.threshold(0.2) == threshold
        assert await later.search(jpeg(3), search=fc7.Search(k=100, max_rarity=0.2)) == rare
    for wrong in (0, 2, float("nan"), 1e-9):
        with pytest.raises(fc7.InvalidArgument, match="false_matches"):
            photos.threshold(wrong)
        with pytest.raises(fc7.InvalidArgument, match="max_rarity"):
            photos.search(jpeg(3), search=fc7.Search(max_rarity=wrong))
    client.create_collection("empty")
    with pytest.raises(fc7.FailedPrecondition, match="has 0"):
        client.collection("empty").threshold(0.1)
    client.delete_collection("empty")

    (tmp_path / "3.jpg").write_bytes(jpeg(3))
    found = rows(command("search", "c", "3.jpg", "--max-rarity", 0.2, "--json", env=env[0], cwd=tmp_path))
    assert [(hit["id"], hit["rarity"]) for hit in found] == [(hit.id, hit.rarity) for hit in rare][:10]
    shown = command("search", "c", "3.jpg", "--rarity", "--verbose", env=env[0], cwd=tmp_path)
    assert "rarity" in shown.stdout.splitlines()[0]
    assert f"rarity from {n_pairs} random pairs" in shown.stderr
    one = command("collection", "threshold", "c", "--false-matches", 0.2, "--json", env=env[0])
    assert json.loads(one.stdout)["min_score"] == threshold.min_score
    assert f"all {n_pairs} pairs of {N + 1} items" in command(
        "collection", "threshold", "c", "--false-matches", 0.2, env=env[0]
    ).stdout  # fmt: skip
    command("collection", "threshold", "c", "--false-matches", 1e-9, env=env[0], code=2)


async def test_a_recall_can_be_asked_for(client: fc7.Client, env: Any) -> None:
    everywhere = fc7.Recall(1.0, 1.0, 1.0, 0)
    asked = client.create_collection("asked", recall=0.9)
    asked.add([jpeg(1)], ids=["1"])
    asked.refresh()
    assert asked.recall_target == 0.9
    assert asked.tune(0.95) == everywhere
    async with fc7.AsyncClient(**env[1]) as other:
        later = await other.collection("asked")
        assert later.recall_target == 0.95
        assert await later.tune(0.97) == everywhere
        created = await other.create_collection("later", recall=0.8)
        await created.refresh()
        assert created.recall_target == 0.8
    done = command("collection", "tune", "asked", "--recall", 0.99, "--json", env=env[0])
    assert json.loads(done.stdout) == {
        "name": "asked", "recall_target": 0.99, "recall": {"value": 1.0, "low": 1.0, "high": 1.0, "queries": 0},
    }  # fmt: skip
    assert "every item is compared" in command("collection", "tune", "asked", "--recall", 0.99, env=env[0]).stdout
    command("collection", "create", "third", "--recall", 0.7, env=env[0])
    shown = json.loads(command("collection", "show", "third", "--json", env=env[0]).stdout)
    assert shown["recall_target"] == 0.7
    for wrong in (0.3, 1.0):
        with pytest.raises(fc7.InvalidArgument, match="recall must be"):
            asked.tune(wrong)
        with pytest.raises(fc7.InvalidArgument, match="recall must be"):
            client.create_collection("no", recall=wrong)
    command("collection", "tune", "asked", "--recall", 2, env=env[0], code=2)
    for name in ("asked", "later", "third"):
        client.delete_collection(name)


async def test_groups_and_diversity(client: fc7.Client, env: Any, tmp_path: Path) -> None:
    photos = client.collection("c")
    everything = photos.search(jpeg(3), k=100)
    labels = {hit.id: hit.payload.get("label") for hit in everything}
    grouped = photos.search(jpeg(3), search=fc7.Search(k=5, group_by="label", group_size=3))
    first = [[hit.id for hit in everything if labels[hit.id] == label][:3] for label in ("odd", "even")]
    assert ids(grouped) == [*first[0], *first[1]]
    assert [hit.group for hit in grouped] == ["odd"] * 3 + ["even"] * 3
    nested = photos.search(jpeg(3), search=fc7.Search(k=2, offset=1, group_by="camera.iso"))
    assert ids(nested) == [own for own in ids(everything) if own != "corner"][1:3]
    assert [hit.group for hit in nested] == [int(own) for own in ids(nested)]
    assert photos.search(jpeg(3), search=fc7.Search(group_by="camera")) == []
    diverse = photos.search(jpeg(3), search=fc7.Search(k=4, diversity=0.7))
    assert diverse[0] == everything[0]
    assert ids(diverse) != ids(everything)[:4]
    assert photos.search(jpeg(3), search=fc7.Search(k=4, diversity=1e-9)) == everything[:4]
    async with fc7.AsyncClient(**env[1]) as other:
        later = await other.collection("c")
        assert await later.search(jpeg(3), search=fc7.Search(k=5, group_by="label", group_size=3)) == grouped
        assert await later.search(jpeg(3), search=fc7.Search(k=4, diversity=0.7)) == diverse
    for wrong, text in [
        ({"group_by": "a..b"}, "field"),
        ({"group_by": "label", "group_size": 0}, "group_size"),
        ({"group_by": "label", "k": 1001}, "1000"),
        ({"group_by": "label", "diversity": 0.5}, "exclude each other"),
        ({"diversity": 1.1}, "0 to 1"),
        ({"diversity": float("nan")}, "0 to 1"),
        ({"diversity": 0.5, "k": 201}, "200"),
    ]:
        with pytest.raises(fc7.InvalidArgument, match=text):
            photos.search(jpeg(3), search=fc7.Search(**wrong))

    (tmp_path / "3.jpg").write_bytes(jpeg(3))
    options = ("--group-by", "label", "--group-size", 3, "-k", 5)
    found = rows(command("search", "c", "3.jpg", *options, "--json", env=env[0], cwd=tmp_path))
    assert [(hit["id"], hit["group"]) for hit in found] == [(hit.id, hit.group) for hit in grouped]
    assert "group" in command("search", "c", "3.jpg", *options, env=env[0], cwd=tmp_path).stdout.splitlines()[0]
    found = rows(command("search", "c", "3.jpg", "--diversity", 0.7, "-k", 4, "--json", env=env[0], cwd=tmp_path))
    assert [hit["id"] for hit in found] == ids(diverse)


def test_a_bad_query_fails_alone(client: fc7.Client) -> None:
    photos, features = client.collection("c"), client.extract([jpeg(1)] * 3)
    features.values[1, 2] = np.nan
    found = photos.search_many(features=features, k=1)
    assert [one[0].id if isinstance(one, list) else one.reason for one in found] == ["1", "INVALID_VECTOR", "1"]
    E = fc7.Example
    bad = [
        ([E(jpeg(1)), E(id="none")], "NOT_FOUND", "none"),
        ([E(jpeg(1)), E(b"no image")], "INVALID_ARGUMENT", "image"),
        ([E(jpeg(1)), E("gone.jpg")], "NOT_FOUND", "gone.jpg"),
        ([E(jpeg(1)), E(jpeg(1), weight=-1)], "INVALID_ARGUMENT", "cancel out"),
        ([E(jpeg(1), weight=0)], "INVALID_ARGUMENT", r"not 0 \(got 0"),
        ([E(jpeg(1), weight=float("nan"))], "INVALID_ARGUMENT", "finite"),
        ([E(jpeg(1), crop=(0.5, 0, 0.5, 1))], "INVALID_ARGUMENT", "left < right"),
        ([E(jpeg(1), crop=(0, 0, 1, 1.5))], "INVALID_ARGUMENT", "0 to 1"),
        ([E(jpeg(1), crop=(0, float("nan"), 1, 1))], "INVALID_ARGUMENT", "0 to 1"),
        ([E(id=str(i % N)) for i in range(257)], "INVALID_ARGUMENT", "256"),
    ]
    found = photos.search_many(examples=[[E(id="1")], *(examples for examples, _, _ in bad)], k=1)
    assert isinstance(found[0], fc7.Hits)
    for error, (examples, code, text) in zip(found[1:], bad, strict=True):
        assert isinstance(error, fc7.Fc7Error), examples
        assert error.code == code, error
        with pytest.raises(type(error), match=text):
            photos.search(examples=examples)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"k": 2**31}, "less than"),
        ({"offset": -1}, "offset must be at least 0"),
        ({"min_score": float("nan")}, "min_score"),
        ({"exclude": [str(i) for i in range(1001)]}, "1000"),
        ({"exclude": "abc"}, "list of names"),
        ({"payload_fields": "label"}, "list of names"),
        ({"where": "label ="}, "cannot be read"),
    ],
)
def test_a_search_that_breaks_a_rule_is_refused(client: fc7.Client, values: dict[str, Any], text: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=text):
        client.collection("c").search(jpeg(1), search=fc7.Search(**values))


def test_what_cannot_be_a_call_is_refused(client: fc7.Client) -> None:
    photos = client.collection("c")
    for wrong in (
        {"k": 3, "search": fc7.Search()},
        {"where": "label = 'x'", "search": fc7.Search()},
        {"id": "1", "examples": [fc7.Example(id="1")]},
        {"examples": []},
        {"examples": fc7.Example(id="1")},
        {"examples": ["1.jpg"]},
    ):
        with pytest.raises(fc7.InvalidArgument):
            photos.search(**wrong)
    for example in (
        {},
        {"image": jpeg(1), "id": "1"},
        {"id": "1", "crop": (0, 0, 1, 1)},
        {"image": "a", "crop": (0, 0)},
    ):
        with pytest.raises(fc7.InvalidArgument, match=r"exactly one|four numbers"):
            fc7.Example(**example)
    with pytest.raises(fc7.ResourceExhausted, match="offset"):
        photos.search(jpeg(1), search=fc7.Search(offset=10**6))


def test_the_server_refuses_what_no_client_of_ours_sends(client: fc7.Client, env: Any) -> None:
    with contextlib.ExitStack() as stack:
        address = env[1].get("address")
        door = grpc.insecure_channel(address) if address else private_door(env[1]["data"])
        channel = stack.enter_context(door) if address else door
        stub = collection_pb2_grpc.CollectionServiceStub(channel)
        whole = pb.Crop(right=1, bottom=1)
        for query in (
            pb.Query(examples=[pb.Example(id="1", crop=whole)]),
            pb.Query(examples=[pb.Example()]),
            pb.Query(),
            pb.Query(examples=[pb.Example(id="1", weight=float("inf"))]),
        ):
            queries = [query, pb.Query(id="1"), pb.Query(id="1", examples=[pb.Example(id="2", weight=0.5)])]
            answer = stub.QueryItems(pb.QueryItemsRequest(collection="c", k=100, queries=queries), timeout=WAIT_S)
            assert answer.results[0].error.code == "INVALID_ARGUMENT", query
            assert len(answer.results[1].hits) == N
            assert not {"1", "2"} & {hit.id for hit in answer.results[2].hits}
        many = [pb.Query(examples=[pb.Example(id="1")] * 256)] * 17
        with pytest.raises(grpc.RpcError) as caught:
            stub.QueryItems(pb.QueryItemsRequest(collection="c", k=1, queries=many), timeout=WAIT_S)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "4352 examples" in caught.value.details()


def test_the_command(client: fc7.Client, env: Any, tmp_path: Path) -> None:
    for i in (1, 3):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
        (tmp_path / "f").mkdir(exist_ok=True)
        (tmp_path / "f" / f"{i + 1}.jpg").write_bytes(jpeg(i + 1))
    command("extract", "f", "--output", "f.npz", env=env[0], cwd=tmp_path)
    photos = client.collection("c")

    def run(*args: Any, code: int = 0) -> Any:
        return command("search", "c", *args, env=env[0], code=code, cwd=tmp_path)

    one = rows(run("1.jpg", "-k", 2, "--json"))
    assert [hit["id"] for hit in one] == ids(photos.search(jpeg(1), k=2))
    assert all("query" not in hit for hit in one)
    several = rows(run("1.jpg", "3.jpg", "--id", 5, "--features", "f.npz", "-k", 1, "--json"))
    assert [(hit["query"], hit["id"]) for hit in several] == [
        ("1.jpg", "1"), ("3.jpg", "3"), ("5", ids(photos.search(id="5", k=1))[0]), ("2.jpg", "2"), ("4.jpg", "4"),
    ]  # fmt: skip
    examples = [fc7.Example(jpeg(1)), fc7.Example(jpeg(3), weight=-0.5), fc7.Example(id="5", weight=2)]
    liked = rows(run("1.jpg", "--example", -0.5, "3.jpg", "--example-id", 2, "5", "-k", 4, "--json"))
    assert [hit["id"] for hit in liked] == ids(photos.search(examples=examples, k=4))
    assert rows(run("--example", 1, "1.jpg", "-k", 2, "--json")) == one
    cropped = rows(run("1.jpg", "--crop", "0,0,0.5,1", "-k", 1, "--json"))
    part = photos.search(examples=[fc7.Example(jpeg(1), crop=(0, 0, 0.5, 1))], k=1)
    assert [(hit["id"], hit["score"]) for hit in cropped] == [(hit.id, hit.score) for hit in part]
    everything = rows(run("1.jpg", "-k", 100, "--json"))
    options = ("--offset", 1, "--min-score", everything[5]["score"], "--exclude-id", everything[2]["id"], "--exact")
    assert [hit["id"] for hit in rows(run("1.jpg", "-k", 100, *options, "--json"))] == [
        everything[i]["id"] for i in (1, 3, 4, 5)
    ]
    *hits, last = rows(run("1.jpg", "-k", 1, "--field", "label", "--with-features", "--verbose", "--json"))
    assert [hit["payload"] for hit in hits] == [{"label": "odd"}]
    assert len(hits[0]["feature"]) == photos.dim
    assert last["report"]["index"] == "exact"
    assert last["report"]["vectors_compared"] == N + 1
    assert last["report"]["seconds"].keys() == {"read", "filter", "search", "load", "decode", "queue", "compute"}
    assert f"index exact: compared {N + 1} vectors; read " in run("1.jpg", "--verbose").stderr
    assert "query" in run("1.jpg", "3.jpg").stdout

    failed = run("1.jpg", "--id", "none", "-k", 1, "--json", code=1)
    assert [json.loads(line)["id"] for line in failed.stdout.splitlines()] == ["1"]
    assert "none" in failed.stderr
    run("--id", "none", code=3)
    (tmp_path / "bad.npz").write_bytes((tmp_path / "f.npz").read_bytes()[:-30])
    np.savez(tmp_path / "other.npz", values=np.ones(3))
    np.savez(tmp_path / "pickle.npz", ids=np.array([{}]), features=np.ones((1, 3), np.float32), provenance="{}")
    for name, exit_code in (("bad.npz", 2), ("other.npz", 2), ("pickle.npz", 2), ("1.jpg", 2), ("gone.npz", 3)):
        assert name in run("--features", name, code=exit_code).stderr
    for wrong in ((), ("--id", 1, "--crop", "0,0,1,1"), ("1.jpg", "--crop", "0,0,1"), ("1.jpg", "--with-features")):
        run(*wrong, code=2)
    run("1.jpg", "3.jpg", "--sheet", "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
