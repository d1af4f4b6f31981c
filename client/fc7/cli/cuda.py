"""Which generation of CUDA the GPU libraries were built for, and the driver that it needs."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

LIBRARIES = ("onnxruntime-gpu", "faiss-gpu")
# CUDA generation -> the oldest driver that runs all of its releases (NVIDIA, "CUDA Compatibility").
DRIVERS = {12: 525, 13: 580}
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


def generations() -> dict[str, int]:
    """Return the CUDA generation of each GPU library that is installed, as its requirements name it."""
    found = {}
    for library in LIBRARIES:
        try:
            requirements = importlib.metadata.requires(library) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if (generation := read_generation(requirements)) is not None:
            found[library] = generation
    return found


def read_generation(requirements: list[str]) -> int | None:
    """Return the generation of CUDA that a library's requirements name; None if they name none."""
    for requirement in requirements:
        # nvidia-cudnn-cu12~=9.0, or nvidia-cuda-runtime~=13.0, or nvidia-cuda-runtime<14,>=13.2
        named = re.match(r"nvidia-[a-z-]+-cu(\d+)", requirement) or re.match(
            r"nvidia-cuda-runtime\b[^;]*?[>~]=(\d+)", requirement
        )
        if named:
            return int(named[1])
    return None


def driver_version() -> str:
    """Return the version of the NVIDIA driver of this machine; empty if there is none (Linux)."""
    try:
        text = _DRIVER_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    named = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return named[1] if named else ""
