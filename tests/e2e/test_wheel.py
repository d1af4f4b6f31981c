"""The wheel holds what a user needs, and runs from a folder that knows nothing of this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fc7_service.bundle.folder import shipped_bundles
from servers import WAIT_S, clean_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    (built,) = folder.glob("fc7-*.whl")
    return built


def test_it_holds_the_packages_the_bundles_the_font_and_the_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"fc7/py.typed", "fc7_service/py.typed", "fc7_models/py.typed", "fc7/v1/feature_pb2.pyi"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/client/fc7/drawing/font/OFL.txt") for name in names)
    assert {"fc7/drawing/font/fc7-sans.ttf", "fc7/drawing/font/OFL.txt"} <= names
    for bundle in shipped_bundles():
        files = {f.name for f in shipped_bundles()[bundle].iterdir()}
        assert {f"fc7_service/bundles/{bundle}/{f}" for f in files} <= names
    assert not any(name.startswith(("tests/", "bench/")) for name in names)
    assert wheel.stat().st_size < 60e6


def test_it_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Unpacked, with this environment's dependencies but none of this repository's files."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = clean_environment() | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site")])}
    code = "import fc7, fc7_service, fc7_models; print(fc7.__file__, fc7_service.__file__, fc7_models.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert str(ROOT) not in where.stdout
    command = [sys.executable, "-m", "fc7", "model", "verify", "--json", "--data", str(tmp_path / "data")]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert all(json.loads(line)["ok"] for line in result.stdout.splitlines())
