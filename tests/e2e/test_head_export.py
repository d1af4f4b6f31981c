"""An exported head: one ONNX file that answers as the server does, without fc7."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fc7
from fc7.errors import AlreadyExists, NotFound
from tiny import PX, make_tiny_bundle

# Runs a program as a script would, and fails if it loads anything of fc7 or a library that it shall not need.
WATCH = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"fc7", "fc7_service", "onnx", "torch", "scipy", "safetensors", "grpc"}, loaded
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fc7.Client]:
    folder = tmp_path_factory.mktemp("export")
    make_tiny_bundle(folder / "tiny")
    random = np.random.default_rng(3)
    images = random.integers(0, 255, (24, PX, PX, 3), dtype=np.uint8)
    for i in range(24):
        images[i, :, :, i % 3] //= 4
    with fc7.connect(data=folder / "data", models=[str(folder / "tiny")]) as client:
        client.train_head("kind", images=list(images), labels=["abc"[i % 3] for i in range(24)])
        yield client


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WATCH, str(folder / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent)


def make_pictures(folder: Path) -> list[Path]:
    """Large and small, upright and turned, with transparency: what the recipe treats differently."""
    random = np.random.default_rng(4)
    smooth = Image.fromarray(random.integers(0, 255, (9, 7, 3), dtype=np.uint8)).resize((431, 517))
    turned = Image.Exif()
    turned[0x0112] = 6
    smooth.save(folder / "large.jpg", quality=92)
    smooth.save(folder / "turned.jpg", quality=92, exif=turned)
    smooth.resize((83, 41)).save(folder / "wide.png")
    smooth.resize((65, 70)).save(folder / "large.webp", lossless=True)
    half = smooth.resize((150, 140)).convert("RGBA")
    half.putalpha(Image.linear_gradient("L").resize(half.size))
    half.save(folder / "clear.png")
    smooth.convert("L").resize((31, 30)).save(folder / "grey.png")
    return sorted(folder.iterdir())


def test_the_folder_answers_as_the_server_does(client: fc7.Client, tmp_path: Path) -> None:
    exported = client.export_head("kind", tmp_path / "away")
    assert exported.version == 1
    names = {path.name for path in (tmp_path / "away").iterdir()}
    assert {"model.onnx", "recipe.json", "labels.json", "head.json", "golden.json", "run.py", "golden-0.png"} <= names
    assert json.loads((tmp_path / "away/labels.json").read_text()) == ["a", "b", "c"]
    checked = run(tmp_path / "away")
    assert checked.returncode == 0, checked.stderr
    assert float(checked.stdout.rpartition(":")[2]) < 1e-4

    (tmp_path / "pictures").mkdir()
    pictures = make_pictures(tmp_path / "pictures")
    answered = run(tmp_path / "away", *map(str, pictures))
    assert answered.returncode == 0, answered.stderr
    rows = [line.split("\t") for line in answered.stdout.splitlines()]
    for row, answer in zip(rows, client.classify(pictures, head="kind", head_version=1), strict=True):
        assert row[1] == answer.label
        assert float(row[2]) == pytest.approx(answer.probability, abs=2e-4)  # printed with four digits


def test_a_changed_model_fails_its_own_check(client: fc7.Client, tmp_path: Path) -> None:
    client.export_head("kind", tmp_path / "away")
    golden = tmp_path / "away/golden.json"
    wanted = json.loads(golden.read_text())
    golden.write_text(json.dumps({name: values[::-1] for name, values in wanted.items()}))
    assert run(tmp_path / "away").returncode == 1


def test_what_cannot_be_exported_leaves_nothing(client: fc7.Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'nobody' does not exist"):
        client.export_head("nobody", tmp_path / "away")
    with pytest.raises(NotFound, match="no version 9"):
        client.export_head("kind", tmp_path / "away", version=9)
    (tmp_path / "there").mkdir()
    with pytest.raises(AlreadyExists, match="there' exists"):
        client.export_head("kind", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
