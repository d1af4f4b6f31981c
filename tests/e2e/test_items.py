"""Items from end to end, embedded and remote, waited for and awaited, and by the command."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from test_cli import fc7 as command
from test_cli import rows, serving

import fc7
from doors import private_door
from fc7._operations import tables
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc
from fc7_service.rpc.cursor import write_cursor
from servers import WAIT_S, jpeg, write_jpegs

N = 12


@pytest.fixture(scope="module", params=["embedded", "remote"])
def env(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    data = tmp_path_factory.mktemp("data")
    if request.param == "embedded":
        yield {"FC7_DATA": str(data), "FC7_MODEL": str(tiny_bundle)}, {"data": data, "models": [str(tiny_bundle)]}
    else:
        with serving("--model", tiny_bundle, "--data", data) as (address, _):
            yield {"FC7_SERVER": address}, {"address": address}


@pytest.fixture
def photos(env: Any, request: pytest.FixtureRequest) -> Any:
    with fc7.connect(**env[1]) as client:
        name = request.node.name.partition("[")[0]
        collection = client.create_collection(name)
        payloads = [{"year": 1990 + i, "label": ("even", "odd")[i % 2]} for i in range(N)]
        collection.add([jpeg(i) for i in range(N)], ids=list(map(str, range(N))), payloads=payloads)
        yield collection
        client.delete_collection(name)


def stub_of(env: Any, stack: contextlib.ExitStack) -> Any:
    address = env[1].get("address")
    channel = stack.enter_context(grpc.insecure_channel(address)) if address else private_door(env[1]["data"])
    return collection_pb2_grpc.CollectionServiceStub(channel)


async def test_payloads_are_updated(env: Any, photos: Any) -> None:
    told: list[str] = []
    done = photos.update(["1", "nobody", "1"], set={"stars": 5}, report=lambda one: told.append(one.id))
    assert [(one.id, one.status) for one in done] == [("1", "updated"), ("nobody", "failed")]
    assert told == ["1", "nobody"]
    assert isinstance(done[1].error, fc7.NotFound)
    assert [one.status for one in photos.update({"1": {"stars": 5}, "2": {"stars": 4}})] == ["skipped", "updated"]
    assert [item.id for item in photos.items(where="stars >= 4")] == ["1", "2"]
    done = photos.update(where='label = "odd"', set={"label": "uneven"}, remove=["year"])
    assert [(one.id, one.status) for one in done] == [(str(i), "updated") for i in range(1, N, 2)]
    assert photos.get(["1"])[0].payload == {"label": "uneven", "stars": 5}
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        assert (await same.update(["1"], set={"a": 1}, replace=True))[0].status == "updated"
        assert (await same.get(["1"]))[0].payload == {"a": 1}
    failed, good = photos.update({"1": {"bad": float("nan")}, "2": {"good": 1}})
    assert isinstance(failed.error, fc7.InvalidArgument)
    assert good.status == "updated"
    for wrong in ({}, {"ids": ["1"]}, {"ids": ["1"], "where": "a = 1", "set": {"a": 1}}, {"ids": "1", "set": {"a": 1}},
                  {"ids": {"1": {}}, "set": {"a": 1}}, {"ids": ["1"], "remove": "a"}):  # fmt: skip
        with pytest.raises(fc7.InvalidArgument):
            photos.update(**wrong)


async def test_records_outrank_the_field_in_counts_and_in_training(env: Any, photos: Any) -> None:
    photos.add_labels([fc7.Label("0", "odd"), fc7.Label("1", "third"), fc7.Label("2", "even", "negative")])
    (classes,) = photos.facets("label", records=True)
    assert classes.values == [("odd", 6), ("even", 4), ("third", 1)]
    async with fc7.AsyncClient(**env[1]) as client:
        assert await (await client.collection(photos.name)).facets("label", records=True) == [classes]
        photos.add_labels([fc7.Label("3", "third")])
        plan = {"collection": photos.name, "label": "label", "records": True}
        assert (await client.train_head("merged", **plan)).count == 11
        with fc7.connect(**env[1]) as same:
            head = same.train_head("merged", **plan)
    assert (head.classes, head.count) == (["even", "odd", "third"], 11)
    train = ("head", "train", "merged", "--collection", photos.name, "--records", "--json")
    assert rows(command(*train, "--label", "label", env=env[0]))[0]["count"] == 11
    assert "'odd' (1 of 2 classes)" in command(*train, code=2, env=env[0]).stderr  # records alone
    (counted,) = rows(command("collection", "facets", photos.name, "label", "--records", "--json", env=env[0]))
    assert counted["values"][0] == {"value": "odd", "count": 5}


async def test_thumbnails_are_kept(env: Any, photos: Any, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i, (600, 300)))
    files = [tmp_path / f"{i}.jpg" for i in range(3)]
    photos.add(files)

    def drawn() -> list[Any]:
        return [
            found.thumbnail and Image.open(io.BytesIO(found.thumbnail))
            for found in photos.get([file.name for file in files], with_thumbnails=True)
        ]

    assert drawn() == [None] * 3
    assert photos.get(["0.jpg"])[0].thumbnail is None
    keep = ("add", photos.name, tmp_path / "0.jpg", "--keep-thumbnails", "--json")
    assert rows(command(*keep, env=env[0]))[0]["status"] == "skipped"  # stored before, without one
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        await same.add(files[1], keep_thumbnails=True)
        assert (await same.get(["1.jpg"], with_thumbnails=True))[0].thumbnail
    first, second, third = drawn()
    assert [(one.format, one.size) for one in (first, second)] == [("WEBP", (256, 128))] * 2
    assert third is None
    files[0].write_bytes(jpeg(7, (300, 600)))
    photos.add(files[0])  # a new picture, of which nobody asked for a thumbnail
    assert drawn()[0].size == (128, 256)
    assert photos.get(["1.jpg"])[0].thumbnail is None


def test_the_command_updates(env: Any, photos: Any) -> None:
    change = ("--set", "stars=5", "--set", "note=a = b", "--set", 'tags=["x"]', "--remove", "year")
    assert command("collection", "update", photos.name, "1", "2", *change, env=env[0]).stdout.endswith(": 2 updated\n")
    assert photos.get(["1"])[0].payload == {"label": "odd", "stars": 5, "note": "a = b", "tags": ["x"]}
    where = ("--where", "stars = 5")
    done = rows(command("collection", "update", photos.name, *where, "--set", "stars=5", "--json", env=env[0]))
    assert done == [{"id": "1", "status": "skipped"}, {"id": "2", "status": "skipped"}]
    failed = command("collection", "update", photos.name, "x", "--set", "a=NaN", code=1, env=env[0])
    assert "has no item" in failed.stderr
    for wrong in (
        ("1",),
        ("--set", "a=1"),
        ("1", *where, "--set", "a=1"),
        ("1", "--set", "a"),
        ("1", "--set", "a.b=1"),
    ):
        command("collection", "update", photos.name, *wrong, code=2, env=env[0])


async def test_values_are_counted(env: Any, photos: Any) -> None:
    (label,) = photos.facets("label")
    assert label == fc7.Facet("label", [("even", N // 2), ("odd", N // 2)], N, 0, 0)
    label, year = photos.facets(["label", "year"], where="year < 1993", limit=1)
    assert label.values == [("even", 2)]
    assert (label.left_out, year.values, year.left_out) == (1, [(1990, 1)], 2)
    async with fc7.AsyncClient(**env[1]) as client:
        assert await (await client.collection(photos.name)).facets(["label"]) == photos.facets("label")
    for wrong in ({"fields": []}, {"fields": ["a"] * 33}, {"fields": "a", "limit": 1001}, {"fields": ["a."]}):
        with pytest.raises(fc7.InvalidArgument):
            photos.facets(**wrong)
    facets = ("collection", "facets", photos.name, "label", "year", "--limit", "1")
    first, second = rows(command(*facets, "--json", env=env[0]))
    assert first == {"field": "label", "values": [{"value": "even", "count": N // 2}], "count": N, "left_out": 1,
                     "uncounted": 0}  # fmt: skip
    assert second["values"] == [{"value": 1990, "count": 1}]
    shown = command(*facets, "--where", "year = 1991", env=env[0])
    assert "odd" in shown.stdout
    assert shown.stderr == ""
    assert "year: 11 further values. --limit N shows more" in command(*facets, env=env[0]).stderr


async def test_items_come_in_an_order(env: Any, photos: Any) -> None:
    photos.update(["3"], set={"year": "late"})
    photos.update(["4"], remove=["year"])
    falling = ["3", *(str(i) for i in range(N - 1, -1, -1) if i not in (3, 4)), "4"]
    assert [item.id for item in photos.items(order_by="year", descending=True)] == falling
    odd = [str(i) for i in (1, 5, 7, 9, 11, 3)]
    assert [item.id for item in photos.items(order_by="year", where='label = "odd"')] == odd
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        assert [item.id async for item in same.items(order_by="id")] == sorted(map(str, range(N)))
    with pytest.raises(fc7.InvalidArgument, match="needs order_by"):
        list(photos.items(descending=True))
    ordered = ("--order-by", "year", "--descending", "--limit", "2", "--json")
    assert [one["id"] for one in rows(command("collection", "items", photos.name, *ordered, env=env[0]))] == falling[:2]
    command("collection", "items", photos.name, "--descending", code=2, env=env[0])


def test_the_cursor_of_a_page_is_of_one_list(env: Any, photos: Any) -> None:
    with contextlib.ExitStack() as stack:
        stub = stub_of(env, stack)
        where = '{"field":"year","op":">","value":0}'

        def ask(**fields: Any) -> Any:
            return stub.ListItems(
                pb.ListItemsRequest(**{"collection": photos.name, "page_size": 5} | fields), timeout=WAIT_S
            )

        for fields in ({}, {"filter_json": where}, {"order_by": "year"}, {"order_by": "id", "descending": True}):
            first = ask(**fields)
            second = ask(page_token=first.next_page_token, **fields)
            third = ask(page_token=second.next_page_token, **fields)
            assert len({item.id for page in (first, second, third) for item in page.items}) == N
            assert first.ordered == ("order_by" in fields)
            for other in (
                {"filter_json": where.replace("year", "label")},
                {"order_by": "label"},
                {"collection": "else"},
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    ask(page_token=first.next_page_token, **{**fields, **other})
                assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        about = ("items", photos.name, "", "year", "False")
        for place in ([1, "x", 1], [2, 1, 1], [1, 1], [1, True, 1], [[], 1, 1]):
            with pytest.raises(grpc.RpcError, match="must be one that this server returned"):
                ask(order_by="year", page_token=write_cursor(place, *about))


async def test_duplicates_are_found(env: Any, photos: Any) -> None:
    photos.add([jpeg(3), jpeg(3), jpeg(7)], ids=["three", "3 again", "seven"])
    groups = [group for group in photos.duplicates(min_score=0.999999) if group.same_content]
    assert [group.ids for group in groups] == [["3", "three", "3 again"], ["7", "seven"]]
    assert groups[0].score == pytest.approx(1.0)
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        assert [group async for group in same.duplicates(min_score=0.999999) if group.same_content] == groups
    assert list(photos.duplicates(min_score=0.999999, where="year < 1990")) == []
    assert any("3" in group.ids for group in photos.duplicates(max_rarity=0.5))
    for wrong in ({"min_score": 1.5}, {"max_rarity": 2.0}, {"min_score": 0.9, "max_rarity": 0.5}):
        with pytest.raises(fc7.InvalidArgument):
            list(photos.duplicates(**wrong))
    listed = rows(command("duplicates", photos.name, "--score", "0.999999", "--json", env=env[0]))
    assert {"ids": ["7", "seven"], "score": groups[1].score, "same_content": True} in listed
    shown = command("duplicates", photos.name, "--rarity", "0.5", env=env[0]).stdout
    assert shown.splitlines()[-1].startswith(f"{photos.name}: ")
    command("duplicates", photos.name, "--score", "0.9", "--rarity", "0.5", code=2, env=env[0])
    command("duplicates", photos.name, "--score", "2", code=2, env=env[0])


async def test_all_items_in_one_go(env: Any, photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(photos.items(with_features=True))
    ids, features = photos.to_numpy()
    assert ids == [item.id for item in items]
    np.testing.assert_array_equal(features, [item.feature for item in items])
    assert photos.to_numpy(where="year < 1990")[1].shape == (0, photos.dim)
    arrow = pytest.importorskip("pyarrow")
    table = photos.to_arrow(where='label = "odd"')
    assert table.column_names == ["id", "content_sha256", "payload", "feature"]
    assert table["id"].to_pylist() == [str(i) for i in range(1, N, 2)]
    assert json.loads(table["payload"][0].as_py()) == {"year": 1991, "label": "odd"}
    np.testing.assert_array_equal(table["feature"].to_pylist(), features[1::2])
    monkeypatch.setattr(tables, "_BATCH_ROWS", 5)
    batches = list(photos.arrow_batches())
    assert [batch.num_rows for batch in batches] == [5, 5, 2]
    assert arrow.Table.from_batches(batches)["id"].to_pylist() == ids
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name, check=False)
        assert (await same.to_numpy())[0] == ids
        assert [batch.num_rows async for batch in same.arrow_batches()] == [5, 5, 2]
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=dict))
    frame = photos.to_pandas()
    assert list(frame) == ["id", "content_sha256", "payload", "feature"]
    assert frame["id"] == ids
    for library, method in (("pyarrow", photos.to_arrow), ("pandas", photos.to_pandas)):
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, library, None)
            with pytest.raises(fc7.FailedPrecondition, match=f"pip install {library}"):
                method()


async def test_labels_are_recorded_listed_and_undone(env: Any, photos: Any) -> None:
    told: list[str] = []
    labels = [
        fc7.Label("1", "cat", by="ann"),
        fc7.Label("1", "cat", "negative", by="bob", time="2026-05-01T12:00:00+02:00"),
        fc7.Label("nobody", "cat"),
        fc7.Label("2", "x" * 300),
        fc7.Label("2", "cat", "maybe"),  # type: ignore[arg-type]
        fc7.Label("2", "cat", head_version=2**40),
        fc7.Label("2", "cat", by="places", head_version=3),
    ]
    done = photos.add_labels(labels, report=lambda one: told.append(one.status))
    assert told == [one.status for one in done] == ["labelled", "labelled", *["failed"] * 4, "labelled"]
    assert [type(one.error) for one in done[2:6]] == [fc7.NotFound, *[fc7.InvalidArgument] * 3]
    assert photos.add_labels(labels[:1])[0].status == "skipped"
    first, second, third = photos.labels()
    assert (first.id, first.verdict, first.by, first.outdated) == ("1", "positive", "ann", False)
    assert second.time == "2026-05-01T10:00:00.000+00:00"
    assert (third.by, third.head_version) == ("places", 3)
    assert list(photos.labels(["2", "nobody"])) == [third]
    assert list(photos.labels(label="cat", by="bob")) == [second]
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        assert [one async for one in same.labels()] == [first, second, third]
        gone, missing = await same.undo_labels(["1", "3"])
        assert gone == second
        assert isinstance(missing, fc7.NotFound)
        assert (await same.add_labels([fc7.Label("1", "dog")]))[0].status == "labelled"
    photos.add([jpeg(99)], ids=["1"])
    assert [one.outdated for one in photos.labels(["1"])] == [True, True]
    photos.remove(["1"])
    assert list(photos.labels()) == [third]
    with pytest.raises(fc7.InvalidArgument, match="got one Label"):
        photos.add_labels(fc7.Label("1", "cat"))


def test_the_command_labels(env: Any, photos: Any, tmp_path: Path) -> None:
    label = ("label", photos.name)
    assert command(*label, "1", "cat", "--by", "ann", env=env[0]).stdout == "1: cat (positive) by ann\n"
    assert "recorded before" in command(*label, "1", "cat", "--by", "ann", env=env[0]).stdout
    assert rows(command(*label, "2", "cat", "--negative", "--json", env=env[0])) == [{"id": "2", "status": "labelled"}]
    assert rows(command(*label, "2", "dog", "--unsure", "--json", env=env[0])) == [{"id": "2", "status": "labelled"}]
    listed = rows(command(*label, "--json", env=env[0]))
    assert [(one["id"], one["label"], one["verdict"]) for one in listed] == [
        ("1", "cat", "positive"), ("2", "cat", "negative"), ("2", "dog", "unsure")
    ]  # fmt: skip
    assert listed[1]["by"] not in ("", "ann")  # the login name
    assert rows(command(*label, "1", "--json", env=env[0])) == listed[:1]
    file = tmp_path / "labels.csv"
    assert "wrote 3 records" in command(*label, "--export", file, env=env[0]).stdout
    assert command(*label, "--import", file, env=env[0]).stdout.endswith("0 records added, 3 were recorded before\n")
    assert rows(command(*label, "2", "--undo", "--json", env=env[0]))[0]["label"] == "dog"
    assert "took back cat (negative)" in command(*label, "2", "cat", "--undo", env=env[0]).stdout
    assert "has no label" in command(*label, "2", "--undo", code=3, env=env[0]).stderr
    assert command(*label, "--import", file, env=env[0]).stdout.endswith("2 records added, 1 were recorded before\n")
    assert rows(command(*label, "--json", env=env[0])) == listed
    file.write_text("id,label\n3,cat\nnobody,cat\n")
    failed = command(*label, "--import", file, "--by", "ann", code=1, env=env[0])
    assert failed.stdout.endswith("1 record added\n")
    assert "fc7: nobody: " in failed.stderr
    command(*label, "nobody", "cat", code=3, env=env[0])
    for wrong in (("1", "--negative"), ("--undo",), ("1", "--export", file), ("1", "cat", "--undo", "--unsure"),
                  ("--export", tmp_path / "labels.txt"), ("--import", tmp_path / "labels")):  # fmt: skip
        command(*label, *wrong, code=2, env=env[0])


async def test_labels_go_to_other_programs_and_back(env: Any, photos: Any, tmp_path: Path) -> None:
    write_jpegs(tmp_path, ["x.jpg", "y.jpg"])
    photos.add([tmp_path / "x.jpg", tmp_path / "y.jpg"])
    said = [fc7.Label("x.jpg", "cat", by="ann"), fc7.Label("y.jpg", "dog"), fc7.Label("y.jpg", "cat", "negative")]
    photos.add_labels(said)
    held = [("x.jpg", "cat"), ("y.jpg", "dog")]
    async with fc7.AsyncClient(**env[1]) as client:
        same = await client.collection(photos.name)
        for name, form in {"a.csv": None, "a.json": "coco", "b.json": "label-studio", "tree": "folders"}.items():
            written = await same.export_labels(tmp_path / name, format=form)
            assert written == fc7.LabelsWritten(3 if name == "a.csv" else 2, [])
            assert {one.status for one in await same.import_labels(tmp_path / name, by="")} <= {"labelled", "skipped"}
            photos.undo_labels(["x.jpg", "y.jpg", "y.jpg", "y.jpg"])
            photos.undo_labels(["x.jpg", "x.jpg"])
            assert [one.status for one in photos.import_labels(tmp_path / name)] == ["labelled"] * written.count
            found = [(one.id, one.label) for one in photos.labels() if one.verdict == "positive"]
            assert found == held
            photos.add_labels(said)
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"id,label\nx.jpg,caf\xe9\nnobody,cat\ny.jpg,bird\n")
    told: list[str] = []
    done = photos.import_labels(bad, by="eve", report=lambda one: told.append(one.status))
    assert told == [one.status for one in done] == ["failed", "failed", "labelled"]
    assert [type(one.error) for one in done[:2]] == [fc7.InvalidArgument, fc7.NotFound]
    with pytest.raises(fc7.InvalidArgument, match=r"format of 'a\.txt' is not known"):
        photos.export_labels("a.txt")
    with pytest.raises(fc7.InvalidArgument, match="format must be one of csv, folders, coco, label-studio"):
        photos.import_labels(bad, format="xml")  # type: ignore[arg-type]


def test_the_command_moves_labels(env: Any, photos: Any, tmp_path: Path) -> None:
    label = ("label", photos.name)
    write_jpegs(tmp_path, ["x.jpg"])
    photos.add(tmp_path / "x.jpg")
    photos.add_labels([fc7.Label("x.jpg", "cat"), fc7.Label("1", "dog")])
    coco = command(*label, "--export", tmp_path / "a.json", "--format", "coco", "--json", env=env[0])
    assert rows(coco) == [{"name": photos.name, "records": 2, "output": str(tmp_path / "a.json")}]
    done = command(*label, "--import", tmp_path / "a.json", "--by", "eve", "--json", env=env[0])
    assert rows(done) == [{"id": "x.jpg", "status": "labelled"}, {"id": "1", "status": "labelled"}]
    tree = tmp_path / "tree"
    failed = command(*label, "--export", tree, "--format", "folders", code=1, env=env[0])
    assert failed.stdout.endswith(f"wrote 1 label of {photos.name} to {tree}\n")
    assert "fc7: 1: its payload has no path" in failed.stderr
    assert command(*label, "--import", tree, "--by", "eve", env=env[0]).stdout.endswith("1 were recorded before\n")
    for wrong in (("--format", "csv"), ("--export", tmp_path / "b.json"), ("--import", tmp_path / "no.csv")):
        command(*label, *wrong, code=3 if "--import" in wrong else 2, env=env[0])


def test_a_page_token_belongs_to_one_request(env: Any, photos: Any) -> None:
    with contextlib.ExitStack() as stack:
        stub = stub_of(env, stack)
        where = '{"field":"year","op":">=","value":1990}'
        change = pb.PayloadChange(set_json='{"a": 1}')
        token = write_cursor([3, N], "update", photos.name, where)
        good = pb.UpdatePayloadsRequest(collection=photos.name, filter_json=where, change=change, page_token=token)
        assert [one.id for one in stub.UpdatePayloads(good, timeout=WAIT_S).results] == [str(i) for i in range(3, N)]
        other = '{"field":"year","op":"<=","value":1990}'
        for wrong, text in [
            (pb.DeleteItemsRequest(filter_json=where, page_token=token), "belongs to another"),
            (pb.DeleteItemsRequest(filter_json=where, page_token="5"), "must be one that"),
            (pb.UpdatePayloadsRequest(filter_json=other, change=change, page_token=token), "belongs to another"),
            (pb.UpdatePayloadsRequest(filter_json=where, change=change, page_token="%%"), "must be one that"),
            (pb.UpdatePayloadsRequest(), "updates is empty"),
            (pb.UpdatePayloadsRequest(updates=[pb.PayloadUpdate(id="1")] * 2), "occurs twice"),
            (pb.UpdatePayloadsRequest(updates=[pb.PayloadUpdate(id="1")], filter_json=where), "exclude each other"),
        ]:
            wrong.collection = photos.name
            call = stub.DeleteItems if isinstance(wrong, pb.DeleteItemsRequest) else stub.UpdatePayloads
            with pytest.raises(grpc.RpcError, match=text) as caught:
                call(wrong, timeout=WAIT_S)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        labels = [pb.Label(id=str(i), label="x") for i in range(3)]
        assert all(one.written for one in stub.AddLabels(
            pb.AddLabelsRequest(collection=photos.name, labels=labels), timeout=WAIT_S).results)  # fmt: skip
        page = stub.ListLabels(pb.ListLabelsRequest(collection=photos.name, page_size=2), timeout=WAIT_S)
        assert [one.id for one in page.labels] == ["0", "1"]
        following = pb.ListLabelsRequest(collection=photos.name, page_token=page.next_page_token)
        assert [one.id for one in stub.ListLabels(following, timeout=WAIT_S).labels] == ["2"]
        for refused, text in [
            (pb.ListLabelsRequest(page_token=page.next_page_token, label="x"), "belongs to another"),
            (pb.ListLabelsRequest(page_size=10_001), "page_size must be"),
            (pb.ListLabelsRequest(ids=["x"] * 501), "the limit is 500"),
            (pb.AddLabelsRequest(), "labels is empty"),
        ]:
            refused.collection = photos.name
            ask = stub.AddLabels if isinstance(refused, pb.AddLabelsRequest) else stub.ListLabels
            with pytest.raises(grpc.RpcError, match=text):
                ask(refused, timeout=WAIT_S)
        odd = pb.AddLabelsRequest(collection=photos.name, labels=[pb.Label(id="1", label="x", verdict=9)])  # type: ignore[arg-type]
        assert stub.AddLabels(odd, timeout=WAIT_S).results[0].error.reason == "UNKNOWN_ENUM_VALUE"
        updates = [
            pb.PayloadUpdate(id="1", change=pb.PayloadChange(set_json="[1]")),
            pb.PayloadUpdate(id="2", change=pb.PayloadChange(remove=["k"] * 1001)),
            pb.PayloadUpdate(id="3", change=change),
        ]
        answer = stub.UpdatePayloads(pb.UpdatePayloadsRequest(collection=photos.name, updates=updates), timeout=WAIT_S)
        assert [one.error.reason for one in answer.results] == ["INVALID_PAYLOAD", "INVALID_PAYLOAD", ""]
