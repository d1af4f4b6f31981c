"""The command as a user runs it: real processes, a server in another process and one in the command's own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fc7 as fc7_package
from fc7_service.bundle.folder import write_bundle
from fc7_service.bundle.golden import GoldenFile, write_golden_files
from fc7_service.features.preprocess import preprocess
from servers import WAIT_S
from tiny import LAYERS, make_tiny_bundle

FC7 = [sys.executable, "-m", "fc7"]
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def fc7(*words: object, code: int = 0, env: dict[str, str], cwd: Path | None = None) -> Done:
    done = subprocess.run(
        [*FC7, *map(str, words)], capture_output=True, text=True, env=os.environ | env, cwd=cwd, timeout=WAIT_S
    )
    assert done.returncode == code, f"{done.returncode}, not {code}: {done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def rows(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def serving(*words: object, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [*FC7, "serve", "--listen", f"127.0.0.1:{port}", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            _, said, address = process.stdout.readline().strip().partition("listening on ")
            assert said
            yield address, process
        finally:
            process.terminate()
            process.wait(30)


def paint(folder: Path, n: int = 8) -> Path:
    rng = np.random.default_rng(4)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(n):
            noise = rng.integers(-40, 40, (40, 40, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def bad(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    good = (images / "red" / "0.png").read_bytes()
    (folder / "good.png").write_bytes(good)
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def address(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("--model", tiny_bundle, "--data", tmp_path_factory.mktemp("data")) as (address, _):
        yield address


@pytest.fixture(params=["remote", "embedded"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run the command against a server of another process, or its own over an empty data folder."""
    if request.param == "remote":
        env = {"FC7_SERVER": request.getfixturevalue("address")}
    else:
        env = {"FC7_DATA": str(tmp_path / "data")}
    return lambda *words, code=0: fc7(*words, code=code, env=env, cwd=tmp_path)


def test_a_collection_from_beginning_to_end(run: Run, images: Path, bad: Path, tmp_path: Path) -> None:
    added = rows(run("add", "life", images, "--label-from-folder", "--json"))
    assert [row["id"] for row in added[:-1]] == sorted(f"{name}/{i}.png" for name in COLOURS for i in range(8))
    assert {row["status"] for row in added[:-1]} == {"added"}
    counts = {"collection": "life", "added": 24, "replaced": 0, "skipped": 0, "failed": 0, "passed_over": {}}
    model = rows(run("model", "list", "--json"))[0]
    assert added[-1] == counts | {"created": {"model": model["name"], "layer": model["default_layer"]}}
    again = rows(run("add", "life", images, "--label-from-folder", "--json"))[-1]
    assert again == counts | {"added": 0, "skipped": 24}

    query = images / "green" / "3.png"
    hits = rows(run("search", "life", query, "-k", 3, "--json", "--sheet", tmp_path / "sheet.png"))
    assert hits[0]["id"] == "green/3.png"
    assert hits[0]["payload"] == {"path": str(query), "label": "green"}
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 160

    hits = rows(run("search", "life", "--id", "green/3.png", "-k", 99, "--json", "--sheet", tmp_path / "id.png"))
    assert len(hits) == 23
    assert (tmp_path / "id.png").is_file()
    assert "green/" in run("search", "life", query).stdout

    removed = run("remove", "life", "green/3.png", "nope", "--json", code=1)
    assert rows(removed)[0] == {"id": "green/3.png", "status": "removed"}
    assert rows(removed)[1]["status"] == "failed"
    assert removed.stderr.startswith("fc7: nope: ")
    shown = rows(run("collection", "show", "life", "--json"))[0]
    layer = rows(run("model", "list", "--json"))[0]["default_layer"]
    assert (shown["count"], shown["metric"], shown["provenance"]["layer"]) == (23, "cosine", layer)
    assert "life" in run("collection", "list").stdout
    assert "life" in [row["name"] for row in rows(run("collection", "list", "--json"))]

    listed = rows(run("collection", "items", "life", "--json"))
    assert [row["id"] for row in listed] == [row["id"] for row in added[:-1] if row["id"] != "green/3.png"]
    assert listed[0]["payload"] == {"path": str(images / "blue" / "0.png"), "label": "blue"}
    table = list(csv.DictReader(run("collection", "items", "life", "--csv").stdout.splitlines()))
    assert [(row["id"], row["label"], json.loads(row["payload"])) for row in table] == [
        (row["id"], row["payload"]["label"], row["payload"]) for row in listed
    ]
    shown = run("collection", "items", "life", "--limit", 2).stdout
    assert "blue/1.png" in shown
    assert "blue/2.png" not in shown
    assert "23 items" in run("collection", "items", "life", "--output", "life.csv").stdout
    assert list(csv.DictReader((tmp_path / "life.csv").read_text().splitlines())) == table
    run("collection", "items", "life", "--output", "life.jsonl", "--limit", 3)
    assert [json.loads(line) for line in (tmp_path / "life.jsonl").read_text().splitlines()] == listed[:3]

    failed = run("add", "life", bad, "--json", "--id-prefix", "more-", code=1)
    assert {row["id"]: row["status"] for row in rows(failed)[:-1]} == {
        "more-cut.png": "failed", "more-empty.png": "failed", "more-good.png": "added", "more-text.png": "failed",
    }  # fmt: skip
    assert all(row["error"] for row in rows(failed)[:-1] if row["status"] == "failed")
    assert failed.stderr.count("\n") == 3
    assert "deleted" in run("collection", "delete", "life", "--yes").stdout
    run("collection", "show", "life", code=3)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_file_name_that_is_no_text(run: Run, images: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "names")
    os.mkdir(folder)
    for name in (b"caf\xe9.png", b"tea.png"):
        with open(folder + b"/" + name, "wb") as file:
            file.write((images / "red" / "0.png").read_bytes())
    added = rows(run("add", "names", tmp_path / "names", "--json"))
    assert [(row["id"], row["status"]) for row in added[:-1]] == [("caf\\xe9.png", "added"), ("tea.png", "added")]
    words = ("search", "names", "--id", "caf\\xe9.png", "--json", "--sheet", tmp_path / "names.png")
    assert rows(run(*words))[0]["id"] == "tea.png"
    shown = run("classify", tmp_path / "names").stdout
    assert "caf\\xe9.png" in shown
    run("search", "names", tmp_path / os.fsdecode(b"names/caf\xe9.png"), "--sheet", tmp_path / "names.png")
    run("remove", "names", os.fsdecode(b"caf\xe9.png"), code=1)
    run("collection", "delete", "names", "--yes")


def test_collections_that_cannot_be(run: Run, images: Path) -> None:
    run("collection", "create", "made", "--layer", "conv5", "--metric", "l2", "--json")
    run("collection", "create", "made", code=3)
    run("collection", "create", "../made", code=2)
    run("collection", "create", "other", "--layer", "fc99", code=3)
    run("search", "made", images / "red" / "0.png", "-k", 0, code=2)
    run("search", "nowhere", "--id", "x", code=3)
    run("search", "made", code=2)
    run("search", "made", images / "red" / "99.png", code=3)
    run("add", "made", images, images, code=2)
    run("extract", images, images, "--output", "f.npz", code=2)
    assert "no format" in run("search", "made", images / "red" / "0.png", "--sheet", "sheet.xyz", code=2).stderr
    run("collection", "delete", "made", "--yes")


def test_a_head_from_beginning_to_end(run: Run, images: Path, bad: Path, tmp_path: Path) -> None:
    run("classify", images, "--head", "colour", code=3)
    run("add", "colours", images, "--label-from-folder")
    report = rows(run("head", "train", "colour", "--collection", "colours", "--json"))[-1]
    assert (report["version"], report["count"], report["classes"]) == (1, 24, ["blue", "green", "red"])
    run("classify", images, "--head", "colour", code=4)
    assert rows(run("head", "train", "colour", images, "--json"))[-1]["version"] == 2
    run("head", "publish", "colour")
    run("head", "publish", "colour", "--version", 1)
    about = rows(run("head", "report", "colour", "--json", "--output", tmp_path / "report.html"))[0]
    assert (about["version"], about["published"]["version"]) == (2, 1)
    assert {row["id"] for row in about["rows"]} >= {"red/0.png", "blue/0.png"}
    page = (tmp_path / "report.html").read_text()
    assert "Head colour, version 2" in page
    assert "version 1, which is published" in page
    run("head", "report", "colour", "--output", tmp_path / "missing" / "report.html", code=4)
    run("head", "publish", "colour", "--version", 9, code=3)
    assert rows(run("head", "show", "colour", "--json"))[0]["published_version"] == 1
    assert "colour" in run("head", "list").stdout
    assert [row["version"] for row in rows(run("head", "list", "--all", "--json")) if row["name"] == "colour"] == [1, 2]

    answers = rows(run("classify", images, "--head", "colour", "--json"))
    assert all(Path(answer["path"]).parent.name == answer["label"] for answer in answers)
    for answer in answers:
        assert sorted(label for label, _ in answer["top"]) == ["blue", "green", "red"]
        assert sum(probability for _, probability in answer["top"]) == pytest.approx(1, abs=1e-4)
        assert answer["top"][0] == [answer["label"], answer["probability"]]

    for answer in rows(run("classify", images / "red", "--head", "colour", "--top", 2, "--json")):
        assert len(answer["top"]) == 2
    assert run("classify", images / "red" / "0.png", "--head", "colour", "--top", 3).stdout.count("0.png") == 3

    (tmp_path / "unseen" / "cat").mkdir(parents=True)
    shutil.copytree(images / "red", tmp_path / "unseen" / "red")
    shutil.copytree(images / "blue", tmp_path / "unseen" / "blue", ignore=shutil.ignore_patterns("[4-7].png"))
    shutil.copy(images / "green" / "0.png", tmp_path / "unseen" / "cat")
    shutil.copy(bad / "cut.png", tmp_path / "unseen" / "red")
    done = run("head", "evaluate", "colour", tmp_path / "unseen", "--version", 2, "--json", code=1)
    (found,) = rows(done)
    assert (found["version"], found["count"], found["failed"], found["unknown_classes"]) == (2, 12, 1, ["cat"])
    assert (found["majority_label"], found["majority_accuracy"]) == ("red", pytest.approx(8 / 12))
    assert [(one["label"], one["support"]) for one in found["classes"] if one["support"]] == [("blue", 4), ("red", 8)]
    assert found["accuracy"] == 1
    assert "1 picture left out, because the head does not know the class cat" in done.stderr
    assert "always answering 'blue'" in run("head", "evaluate", "colour", images).stdout
    (tmp_path / "strange" / "dog").mkdir(parents=True)
    shutil.copy(images / "green" / "0.png", tmp_path / "strange" / "dog")
    assert "knows no class" in run("head", "evaluate", "colour", tmp_path / "strange", code=2).stderr

    done = run("classify", bad, "--head", "colour", "--json", code=1)
    failed = sorted(Path(row["path"]).name for row in rows(done) if "error" in row)
    assert failed == ["cut.png", "empty.png", "text.png"]
    assert "label" in rows(run("classify", images / "red" / "0.png", "--json"))[0]
    run("head", "delete", "colour", "--version", 1, "--yes", code=4)
    assert "--all" in run("head", "delete", "colour", "--yes", code=2).stderr
    run("head", "delete", "colour", "--version", 2, "--yes")
    assert "deleted" in run("head", "delete", "colour", "--all", "--yes").stdout
    run("collection", "delete", "colours", "--yes")


def test_heads_that_cannot_be(run: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    run("head", "train", "h", tmp_path / "none", code=2)
    run("head", "train", "h", images / "red", code=2)
    run("head", "train", "h", tmp_path / "missing", code=3)
    run("head", "train", "h", images / "red" / "0.png", code=2)
    run("head", "train", "h", code=2)
    run("head", "train", "h", images, "--collection", "c", code=2)
    run("head", "train", "h", "--collection", "c", "--layer", "fc6", code=2)
    one = tmp_path / "single" / "red"
    one.mkdir(parents=True)
    (one / "0.png").write_bytes((images / "red" / "0.png").read_bytes())
    run("head", "train", "h", tmp_path / "single", code=2)


def test_features_in_a_file(run: Run, images: Path, bad: Path, tmp_path: Path) -> None:
    run("extract", images, "--output", "f.npz", "--layer", "fc6")
    stored = np.load(tmp_path / "f.npz", allow_pickle=False)
    assert stored["ids"].tolist() == sorted(f"{name}/{i}.png" for name in COLOURS for i in range(8))
    assert stored["features"].dtype == np.float32
    assert json.loads(str(stored["provenance"]))["layer"] == "fc6"

    facts = rows(run("extract", images, "--output", "f.parquet", "--layer", "fc6", "--json"))[0]
    dim = stored["features"].shape[1]
    assert facts == {"output": "f.parquet", "count": 24, "failed": 0, "layer": "fc6", "dim": dim, "passed_over": {}}
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["id"].to_pylist() == stored["ids"].tolist()
    np.testing.assert_allclose(np.array(table["features"].to_pylist()), stored["features"], atol=1e-5)
    assert json.loads(table.schema.metadata[b"provenance"]) == json.loads(str(stored["provenance"]))

    done = run("extract", bad, "--output", "b.npz", code=1)
    assert np.load(tmp_path / "b.npz")["ids"].tolist() == ["good.png"]
    assert done.stderr.count("\n") == 3
    run("extract", bad / "text.png", "--output", "none.npz", code=2)
    assert not (tmp_path / "none.npz").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_what_could_not_be_written_is_refused_before_any_work(images: Path, tmp_path: Path) -> None:
    nowhere = {"FC7_SERVER": "127.0.0.1:1"}  # work would end with 7
    assert "must end in .npz or .parquet" in fc7("extract", images, "--output", "f.csv", code=2, env=nowhere).stderr
    fc7("extract", images, "--output", tmp_path / "no" / "f.npz", code=4, env=nowhere)
    fc7("extract", tmp_path / "missing", "--output", tmp_path / "f.npz", code=3, env=nowhere)


def test_models(run: Run) -> None:
    name = rows(run("model", "list", "--json"))[0]["name"]
    assert name in run("model", "list").stdout
    shown = rows(run("model", "show", name, "--json"))[0]
    assert {"layers", "recipe", "card", "classes"} <= shown.keys()
    assert shown["card"] in run("model", "show").stdout
    checked = rows(run("model", "verify", name, "--json"))
    assert [row["layer"] for row in checked if not row["file"]] == [layer["name"] for layer in shown["layers"]]
    assert all(row["ok"] and row["max_difference"] <= row["limit"] for row in checked)
    assert "fc7" in run("model", "verify").stdout
    run("model", "show", "nope", code=3)


def test_a_network_that_computes_otherwise_is_found(tmp_path: Path) -> None:
    made = make_tiny_bundle(tmp_path / "wrong")
    golden = dict(np.load(made.path / "golden.npz"))
    golden["fc6"][0, 0] += 1e-3 * np.abs(golden["fc6"]).max()
    np.savez(made.path / "golden.npz", **golden)
    write_bundle(made.path, name="wrong", network="tiny", layers=LAYERS, recipe=made.recipe, versions=made.versions)
    with serving("--model", made.path, "--data", tmp_path / "data") as (address, _):
        done = fc7("model", "verify", "--json", code=8, env={"FC7_SERVER": address})
    assert [row["layer"] for row in rows(done) if not row["ok"]] == ["fc6"]
    assert "layers fc6 differ" in done.stderr


def test_a_server_that_decodes_otherwise_is_found(tmp_path: Path) -> None:
    """Each file has the logits that its network gives, but those of one were made from another picture."""
    made = make_tiny_bundle(tmp_path / "odd")
    session = onnxruntime.InferenceSession(made.graph(), providers=["CPUExecutionProvider"])
    tensors = np.stack([preprocess(data, made.recipe) for data in (png("red"), png("blue"))])
    (values,) = session.run(["logits"], {"image": tensors})
    named = zip(("right.png", "wrong.png"), (png("red"), png("green")), values, strict=True)
    write_golden_files(made.path, [GoldenFile(name, data, "logits", row) for name, data, row in named])
    write_bundle(made.path, name="odd", network="tiny", layers=LAYERS, recipe=made.recipe, versions=made.versions)
    with serving("--model", made.path, "--data", tmp_path / "data") as (address, _):
        done = fc7("model", "verify", "--json", code=8, env={"FC7_SERVER": address})
        with fc7_package.connect(address) as client:
            assert list(client.golden().files) == ["right.png", "wrong.png"]
    assert [(row["layer"], row["file"]) for row in rows(done) if not row["ok"]] == [("logits", "wrong.png")]
    assert "golden files wrong.png give features that differ" in done.stderr


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_doctor_finds_all_well(run: Run) -> None:
    found = {row["check"]: row for row in rows(run("doctor", "--json"))}
    assert {"fc7", "python", "platform", "sqlite", "onnxruntime", "server", "device", "data folder"} <= found.keys()
    assert not [row for row in found.values() if "problem" in row]
    assert found["telemetry"]["value"] == "off"
    assert "all well" in run("doctor").stdout


def test_doctor_names_the_fix_where_no_server_answers() -> None:
    done = fc7("doctor", code=1, env={"FC7_SERVER": "127.0.0.1:1"})
    assert "problem: server:" in done.stdout
    assert "fix:" in done.stdout
    assert done.stdout.endswith("\n1 problem\n")


def test_health(address: str) -> None:
    assert fc7("health", "--server", address, env={}).stdout == "ready\n"
    (found,) = rows(fc7("health", "--server", address, "--json", env={}))
    assert found.pop("device").endswith("ExecutionProvider")
    assert found == {"status": "ready"}
    assert "127.0.0.1:1" in fc7("health", "--server", "127.0.0.1:1", code=7, env={}).stderr
    fc7("health", "--server", "nonsense", code=2, env={})


def test_serving_begins_and_ends(tiny_bundle: Path, images: Path, tmp_path: Path) -> None:
    data = {"FC7_DATA": str(tmp_path / "data")}
    with serving("--model", tiny_bundle, "--data", tmp_path / "data") as (address, process):
        fc7("serve", "--listen", address, "--data", tmp_path / "other", "--model", tiny_bundle, code=4, env={})
        fc7("serve", "--listen", "127.0.0.1:0", "--model", tiny_bundle, code=4, env=data)
        fc7("serve", "--listen", "0.0.0.0:0", "--data", tmp_path / "other", "--model", tiny_bundle, code=2, env={})
        fc7("serve", "--data", tmp_path / "other", "--model", tmp_path, code=3, env={})
        fc7("add", "c", images, env=data)  # another shell, the same data folder
        assert fc7("health", env=data).stdout == "ready\n"
        assert rows(fc7("collection", "show", "c", "--json", env={"FC7_SERVER": address}))[0]["count"] == 24
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert "no server holds" in fc7("health", code=7, env=data).stderr


def test_what_add_printed_is_there_after_the_server_was_killed(tiny_bundle: Path, tmp_path: Path) -> None:
    images = paint(tmp_path / "images", n=200)
    words = ("--model", tiny_bundle, "--data", tmp_path / "data")
    with serving(*words) as (address, server):
        env = os.environ | {"FC7_SERVER": address}
        command = [*FC7, "add", "c", str(images), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as adding:
            assert adding.stdout is not None
            assert adding.stderr is not None
            first = adding.stdout.readline()
            server.kill()
            printed = [json.loads(line) for line in [first, *adding.stdout]]
            said = adding.stderr.read()
        assert adding.returncode == 7
        assert "fc7: error: there is no server at " in said
    assert 0 < len(printed) < 600
    with serving(*words) as (address, _):
        env = {"FC7_SERVER": address}
        assert rows(fc7("collection", "show", "c", "--json", env=env))[0]["count"] >= len(printed)
        for row in printed[:3] + printed[-3:]:
            fc7("search", "c", "--id", row["id"], "-k", 1, env=env)
        again = rows(fc7("add", "c", images, "--json", env=env))[-1]
        assert again["skipped"] >= len(printed)
        assert again["added"] + again["skipped"] == 600


def test_ctrl_c_ends_with_130(address: str, tmp_path: Path) -> None:
    images = paint(tmp_path / "images", n=200)
    env = os.environ | {"FC7_SERVER": address}
    command = [*FC7, "add", "interrupted", str(images), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as adding:
        assert adding.stdout is not None
        assert adding.stderr is not None
        adding.stdout.readline()
        adding.send_signal(signal.SIGINT)
        adding.stdout.read()
        said = adding.stderr.read()
    assert re.search(
        r"^interrupted: \d+ added of 600. To continue, run the command again\nfc7: interrupted\n\Z", said, re.MULTILINE
    ), said
    assert adding.returncode == 130


def test_the_demonstration_on_own_photographs(images: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("a", "b/c"):
        path = tmp_path / "mine" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((320, 240), Image.Resampling.BICUBIC).save(path)
    (tmp_path / "fc7.toml").write_text("nonsense = 1", encoding="utf-8")  # the demonstration is nobody's setting's
    settings = {"FC7_THREADS": "none", "FC7_MODELS": "nothing"}
    done = fc7("demo", "--data-from", "mine", "--output", "out", env=settings, cwd=tmp_path)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["photographs"], result["indexed"], result["queries"]) == (2, 66, 66)
    for name in ("accuracy", "precision_at_10", "raw_accuracy", "raw_precision_at_10", "faces_accuracy"):
        assert 0.4 < result[name] <= 1, name
    assert result["seconds"] == pytest.approx(sum(result["steps"].values()))
    assert "precision@10" in done.stdout
    with Image.open(tmp_path / "out" / "search.png") as sheet:
        assert sheet.width > 1600
    with Image.open(tmp_path / "out" / "why.png") as why:
        assert why.width > 800
    assert "why.png: why the first query's first hit is its neighbour" in done.stdout
    fc7("demo", "--data-from", tmp_path / "missing", "--output", tmp_path / "out", code=3, env={})


def test_a_network_is_trained_exported_and_evaluated(tmp_path: Path) -> None:
    images = paint(tmp_path / "images", n=50)
    train = ("model", "train", images, "--network", "alexnet-64", "--output", "made", "--epochs", 1, "--json")
    assert rows(fc7(*train, env={}, cwd=tmp_path)) == [{"name": "made", "bundle": "made"}]
    fc7(*train, code=3, env={}, cwd=tmp_path)
    nowhere = ("model", "train", tmp_path / "missing", "--network", "alexnet-64")  # work would end with 3
    assert "'my bundle'" in fc7(*nowhere, "--output", "my bundle", code=2, env={}, cwd=tmp_path).stderr
    fc7(*nowhere, "--output", "other", "--name", "../other", code=2, env={}, cwd=tmp_path)
    checkpoint = tmp_path / "made.checkpoints" / "trained.pt"
    export = ("model", "export", checkpoint, "--output", "again", "--name", "other", "--pictures", images)
    fc7(*export, env={}, cwd=tmp_path)
    fc7("model", "export", images / "red" / "0.png", "--output", "bad", code=8, env={}, cwd=tmp_path)
    fc7("model", "train", images, "--network", "nonsense", "--output", "bad", code=3, env={}, cwd=tmp_path)
    graphs = [(tmp_path / name / "model.onnx").read_bytes() for name in ("made", "again")]
    assert graphs[0] == graphs[1]
    result = rows(fc7("model", "evaluate", images, "--model", tmp_path / "again", "--json", env={}))[0]
    assert result["count"] == 150
    assert 0 <= result["top1"] <= result["top5"] <= 1
    fc7("model", "evaluate", images, "--model", "nonsense", code=3, env={})
