"""A folder that may not be read, also where the tests run as root, whom no permission stops."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def refuse_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the listing of one folder fail."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
