"""Every setting that a command reads is honoured or refused: real commands, with and without a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fc7
from fc7.errors import FailedPrecondition
from servers import WAIT_S, Served, clean_environment, jpeg, serving
from tiny import make_tiny_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a picture and two bundles, of which `mine` is another's name than its folder's."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "one.jpg").write_bytes(jpeg(1))
    made = make_tiny_bundle(folder / "other").path
    manifest = json.loads((made / "manifest.json").read_text())
    shutil.copytree(made, folder / "my-bundle")
    (folder / "my-bundle" / "manifest.json").write_text(json.dumps(manifest | {"name": "mine"}))
    return folder


def run(folder: Path, *words: object, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fc7", *map(str, words)]
    env = clean_environment() | {"FC7_DATA": str(folder / "data")} | env
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=WAIT_S, check=False)
    assert done.returncode == code, f"{done.returncode}, not {code}: {done.stderr}"
    return done


def models(folder: Path, *words: object, **env: str) -> list[str]:
    return [
        json.loads(line)["name"] for line in run(folder, "model", "list", "--json", *words, **env).stdout.splitlines()
    ]


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), "--model", str(folder / "other"), "--threads", "1") as served:
        yield served


def test_models_are_honoured_without_a_server(folder: Path) -> None:
    assert models(folder, FC7_MODELS="./my-bundle ./other") == ["mine", "tiny"]
    assert models(folder, FC7_MODELS="alexnet-64") == ["alexnet-64"]
    (folder / "fc7.toml").write_text('models = ["./my-bundle"]\nthreads = 1\ndevice = "cpu"\n')
    try:
        assert models(folder) == ["mine"]
        found = {
            row["check"]: row["value"] for row in map(json.loads, run(folder, "doctor", "--json").stdout.splitlines())
        }
        assert found["device"].startswith("cpu, ")
        assert found["device"].endswith(" 1 threads")
    finally:
        (folder / "fc7.toml").unlink()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"FC7_DEVICE": "gpu"}, "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        ({"FC7_THREADS": "0"}, "0 is not in the range 1<=x<=1024"),
        ({"FC7_THREADS": "two"}, "'two' is not a valid integer"),
    ],
)
def test_a_setting_that_breaks_its_rule_is_refused_without_a_server_too(
    folder: Path, env: dict[str, str], said: str
) -> None:
    assert said in run(folder, "model", "list", code=2, **env).stderr


def test_a_model_that_is_set_and_is_not_there_is_refused(folder: Path) -> None:
    assert "'./missing'" in run(folder, "model", "list", code=3, FC7_MODELS="./missing").stderr


def test_options_of_a_server_elsewhere_are_refused_without_one(folder: Path) -> None:
    assert "Name one with --server" in run(folder, "model", "list", "--token-file", "one.jpg", code=2).stderr
    assert "Name one with --server" in run(folder, "model", "list", "--tls-ca", "one.jpg", code=2).stderr


COMMANDS = [
    ("classify", "one.jpg", "--json"),
    ("extract", "one.jpg", "--output", "f.npz", "--json"),
    ("collection", "create", "made", "--json"),
    ("explain", "occlude", "one.jpg", "--grid", "2", "--json"),
]


def test_a_bundle_is_a_model_in_every_command_without_a_server(folder: Path, tmp_path: Path) -> None:
    for words in COMMANDS:
        run(folder, *words, "--model", "./my-bundle", FC7_DATA=str(tmp_path))
    run(folder, "model", "verify", "./my-bundle")
    shown: dict[str, Any] = json.loads(run(folder, "model", "show", folder / "my-bundle", "--json").stdout)
    assert shown["name"] == "mine"
    run(folder, "extract", "one.jpg", "--output", "e.npz", "--ensemble", "./my-bundle,other")
    said = run(folder, "classify", "one.jpg", "--model", "./no-bundle", code=3).stderr
    assert "'./no-bundle' is not a bundle" in said


def test_a_bundle_is_a_model_where_a_server_serves_it(folder: Path, served: Served) -> None:
    there = {"FC7_SERVER": served.address}
    for words in COMMANDS[:2]:
        run(folder, *words, "--model", "./other", **there)
        said = run(folder, *words, "--model", "./my-bundle", code=4, **there).stderr
        assert "does not serve the bundle './my-bundle'; it serves tiny" in said
        assert "fc7 serve --model ./my-bundle" in said
    said = run(folder, "classify", "one.jpg", "--model", "my-bundle", code=3, **there).stderr
    assert "fc7 serve --model BUNDLE" in said


def test_models_that_are_set_are_those_of_a_server_elsewhere_or_refused(folder: Path, served: Served) -> None:
    there = {"FC7_SERVER": served.address}
    assert models(folder, FC7_MODELS="./other", **there) == ["tiny"]
    said = run(folder, "classify", "one.jpg", code=4, FC7_MODELS="./my-bundle", **there).stderr
    assert "does not serve the bundle './my-bundle'" in said
    run(folder, "health", FC7_MODELS="./my-bundle", **there)


def test_settings_hold_for_the_process_that_has_the_data_folder(folder: Path, tmp_path: Path) -> None:
    models_ = ("--model", str(folder / "other"), "--model", str(folder / "my-bundle"))
    with serving(tmp_path / "data", *models_, "--threads", "1", "--device", "cpu"):
        held = {"FC7_DATA": str(tmp_path / "data")}
        run(folder, "classify", "one.jpg", FC7_MODELS="./other", FC7_THREADS="1", FC7_DEVICE="cpu", **held)
        run(folder, "classify", "one.jpg", "--model", "./my-bundle", **held)
        said = run(folder, "classify", "one.jpg", code=4, FC7_MODELS="./my-bundle", **held).stderr
        assert "uses model 'tiny' by default, not './my-bundle'" in said
        assert "not on device 'cuda'" in run(folder, "classify", "one.jpg", code=4, FC7_DEVICE="cuda", **held).stderr
        assert "1 threads, not 2" in run(folder, "classify", "one.jpg", code=4, FC7_THREADS="2", **held).stderr
        with pytest.raises(FailedPrecondition, match="uses model 'tiny'"):
            fc7.connect(data=tmp_path / "data", models=[str(folder / "my-bundle")])


def test_a_damaged_bundle_is_named(folder: Path) -> None:
    (folder / "cut").mkdir()
    (folder / "cut" / "manifest.json").write_text('{"name": "cut"')
    said = run(folder, "classify", "one.jpg", "--model", "./cut", code=8).stderr
    assert "manifest of bundle './cut' is damaged" in said


@pytest.mark.parametrize("name", ["invariance", "check"])
def test_a_study_takes_the_first_model_that_is_set(name: str, folder: Path) -> None:
    said = run(folder, "explain", name, os.curdir, "--count", 1, code=3, FC7_MODELS="./missing").stderr
    assert "'./missing'" in said
