"""What the README shows works as shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

from fc7.v1 import feature_pb2
from fc7_service.bundle.folder import shipped_bundles
from servers import WAIT_S, clean_environment, jpeg, write_jpegs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str, document: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the pictures that the README speaks of."""
    assert shipped_bundles(), "the README speaks of a shipped bundle"
    write_jpegs(tmp_path / "holiday", [f"{place}/{i}.jpg" for place in ("beach", "city") for i in "abcdef"])
    (tmp_path / "query.jpg").write_bytes(jpeg(5))
    return tmp_path


def run(folder: Path, *command: str) -> str:
    environment = clean_environment() | {"XDG_DATA_HOME": str(folder / "home")}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert result.returncode == 0, (command, result.stderr)
    return result.stdout


def test_every_command_of_the_tour(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("fc7 ")]
    done = set()
    for command in commands:
        if command[1] != "serve":
            run(folder, sys.executable, "-m", *command)
        done.add(command[1])
    assert done >= {"add", "search", "head", "classify", "explain", "serve", "doctor"}
    for drawn in ("hits", "why", "class", "unit", "top", "occlusion"):
        assert (folder / f"{drawn}.png").stat().st_size > 1000


def test_the_python_of_the_tour(folder: Path) -> None:
    (code,) = blocks("python")
    lines = run(folder, sys.executable, "-c", code).splitlines()
    assert len(lines) == 3
    assert all("holiday" in line for line in lines)


def test_the_call_over_grpc_takes_a_photograph_of_usual_size(folder: Path) -> None:
    (block,) = [block for block in blocks("sh") if "grpcurl" in block]
    (folder / "grpcurl").write_text('#!/bin/sh\necho "$@" > words\ncat > message\n')
    (folder / "grpcurl").chmod(0o755)
    (folder / "query.jpg").write_bytes(bytes(range(256)) * 1000)  # more than one argument of a command may hold
    command = ["sh", "-c", block]
    subprocess.run(command, cwd=folder, env=clean_environment() | {"PATH": f"{folder}:/usr/bin:/bin"}, check=True)
    message = json_format.Parse((folder / "message").read_text(), feature_pb2.ExtractRequest())
    assert (folder / "words").read_text().split()[-1] == "fc7.v1.FeatureService/Extract"
    assert message.images[0].encoded == (folder / "query.jpg").read_bytes()


def test_the_page_for_python_runs_from_connect_to_close(folder: Path) -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    lines = run(folder, sys.executable, "-c", "\n".join(blocks("python", page))).splitlines()
    assert lines[0].startswith("(2, 1536) Provenance(alexnet-64 conv5_pooled")
    assert "12 12 True" in lines
    assert "FILE_NOT_FOUND 0" in lines or "NOT_FOUND 0" in lines
    assert (folder / "features.npz").exists()
