"""The modules of the page are typed: `tsc --checkJs` finds nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = "typescript@5.9.3"


def test_types_hold() -> None:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("Node is not installed. Debian has it: apt-get install npm")
    tsc = [npx, "--yes", "--package", COMPILER, "tsc"]
    if subprocess.run([*tsc, "--version"], capture_output=True).returncode:
        pytest.skip(f"{COMPILER} cannot be had from the npm registry")
    checked = subprocess.run([*tsc, "--project", str(ROOT / "jsconfig.json")], capture_output=True, text=True)
    assert checked.stdout + checked.stderr == ""
    assert checked.returncode == 0
