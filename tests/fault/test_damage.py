"""Damaged bundles and databases: that one is set aside and named, the others serve."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fc7
from fc7.cli import main
from servers import WAIT_S, clean_environment, jpeg, serve_command, serving


@pytest.fixture
def data(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A data folder with collections and heads `good` and `bad`."""
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        for name in ("good", "bad"):
            images, labels = [jpeg(i) for i in range(8)], ["ab"[i % 2] for i in range(8)]
            client.create_collection(name).add(images, ids=[str(i) for i in range(8)])
            client.train_head(name, images=images, labels=labels)
            client.publish_head(name)
    return tmp_path / "data"


def damage(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            size = file.stat().st_size
            file.write_bytes(b"\xde\xad" * (size // 2))


@pytest.mark.parametrize("door", ["embedded", "remote"])
def test_a_damaged_database_or_head_is_set_aside(data: Path, tiny_bundle: Path, door: str) -> None:
    damage(data / "collections" / "bad")
    damage(data / "heads" / "bad")
    before = {f: f.read_bytes() for f in data.rglob("bad/**/*") if f.is_file()}

    def look(client: fc7.Client, *options: str) -> None:
        assert [h.id for h in client.collection("good").search(jpeg(3), k=1)] == ["3"]
        assert client.classify(jpeg(3), head="good")[0].label in "ab"
        faults = {c.name: c.fault for c in client.collections()}
        assert faults["good"] == ""
        assert faults["bad"]
        with pytest.raises(fc7.DataLoss, match="bad"):
            client.collection("bad").search(jpeg(3))
        with pytest.raises(fc7.DataLoss, match="bad"):
            client.classify(jpeg(3), head="bad")
        assert "good" in [h.name for h in client.heads()]
        for args in (["search", "bad", "--id", "3"], ["collection", "show", "bad"]):
            result = CliRunner().invoke(main, [*args, *options])
            assert result.exit_code == 8, result.output
            assert "bad" in result.stderr

    if door == "embedded":
        with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
            look(client, "--data", str(data))
    else:
        with serving(data, "--model", str(tiny_bundle)) as served, fc7.connect(served.address) as client:
            look(client, "--server", served.address)
            assert served.stop() == 0
    assert all(f.read_bytes() == content for f, content in before.items())  # evidence is left alone


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx", "labels.tsv"])
def test_a_damaged_bundle_is_not_served(tiny_bundle: Path, tmp_path: Path, file: str) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (bundle / file).write_bytes(content)
    command = serve_command(tmp_path / "data", "--model", str(bundle))
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=WAIT_S)
    assert result.returncode == 8, result.stderr
    assert "bundle" in result.stderr
    assert "Traceback" not in result.stderr
    with pytest.raises(fc7.DataLoss, match="bundle"), fc7.connect(data=tmp_path / "d", models=[str(bundle)]) as client:
        client.extract(jpeg(1))
    with fc7.connect(data=tmp_path / "d", models=[str(tiny_bundle)]) as client:  # the folder was given back
        assert client.extract(jpeg(1)).values.shape == (1, 8)


@pytest.mark.parametrize("n", [4, 16, 5])
def test_a_shape_that_the_graph_does_not_keep_is_never_another_pictures_feature(
    tiny_bundle: Path, tmp_path: Path, n: int
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    edit_manifest(bundle, lambda manifest: manifest["layers"]["fc7"].update(shape=[n]))
    with fc7.connect(data=tmp_path / "d", models=[str(bundle)]) as client:
        with pytest.raises(fc7.DataLoss, match=rf"fc7.*\(\d, 8\).*manifest says \({n},\)"):
            client.extract([jpeg(1), jpeg(2)], layer="fc7")
        assert client.extract([jpeg(1)], layer="fc6").values.shape == (1, 16)


def test_a_picture_size_that_the_graph_does_not_take_is_damage(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    edit_manifest(bundle, lambda manifest: manifest["recipe"].update(resize_px=32, crop_px=32))
    with fc7.connect(data=tmp_path / "d", models=[str(bundle)]) as client:
        with pytest.raises(fc7.DataLoss, match=r"takes .*16, 16.*its recipe gives \(N, 3, 32, 32\)"):
            client.extract(jpeg(1))


def edit_manifest(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    edit(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_a_truncated_bundle_and_one_that_is_none(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1])
    with pytest.raises(fc7.DataLoss, match=r"has not|missing"):
        fc7.connect(data=tmp_path / "d", models=[str(bundle)])
    with pytest.raises(fc7.NotFound, match="nope"):
        fc7.connect(data=tmp_path / "d", models=["nope"])


@pytest.mark.parametrize("door", ["embedded", "remote"])
def test_damaged_items_are_said_named_and_repaired(data: Path, tiny_bundle: Path, door: str, tmp_path: Path) -> None:
    with sqlite3.connect(data / "collections" / "good" / "collection.db") as database:
        database.execute("UPDATE items SET payload = '[]' WHERE id = '2'")
        database.execute("UPDATE vectors SET crc = crc + 1 WHERE rid = (SELECT rid FROM items WHERE id = '5')")
    database.close()

    def run(*args: str) -> tuple[list[dict[str, Any]], str]:
        result = CliRunner().invoke(main, [*args, *options])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")], result.stderr

    def look(client: fc7.Client) -> None:
        good = client.collection("good")
        assert good.damaged == 0  # nobody looked
        assert [item.id for item in good.items(with_features=True)] == list("013467")
        assert good.damaged == 2
        lines, _ = run("collection", "items", "good", "--json")
        assert lines[-1] == {"damaged": 2}
        assert "2 items of good" in run("collection", "items", "good")[1]
        assert good.search(jpeg(1), k=9).report.damaged == 2
        lines, _ = run("search", "good", "--id", "1", "--json")
        assert len(lines) == 6
        assert lines[-1] == {"damaged": 2}
        assert "2 items of good" in run("search", "good", "--id", "1")[1]
        assert run("collection", "list", "--json")[0][1]["damaged"] == 2
        (shown,), _ = run("collection", "show", "good", "--check", "--json")
        assert (shown["damaged"], sorted(shown["damaged_ids"])) == (2, ["2", "5"])
        assert shown["versions"]["numpy"]
        assert "2, 5" in CliRunner().invoke(main, ["collection", "show", "good", *options]).stdout
        added = good.add([jpeg(2), jpeg(5)], ids=["2", "5"])
        assert [one.status for one in added] == ["replaced", "replaced"]
        good.refresh(find_damage=True)
        assert (good.damaged, good.damaged_ids, good.count) == (0, [], 8)
        assert [hit.id for hit in good.search(jpeg(5), k=1)] == ["5"]
        assert run("collection", "items", "good", "--json")[0][-1]["id"]

    if door == "embedded":
        options = ["--data", str(data)]
        with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
            look(client)
    else:
        with serving(data, "--model", str(tiny_bundle)) as served, fc7.connect(served.address) as client:
            options = ["--server", served.address]
            look(client)
