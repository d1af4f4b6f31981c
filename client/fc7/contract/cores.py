"""How many CPU cores there are to use."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")  # a test puts another tree in its place


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use.

    The affinity mask says on which cores it may run. The limit of a container (``cpu.max`` of cgroup v2,
    ``cpu.cfs_quota_us`` of v1) says how much of them it may use; part of a core counts as one.
    """
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([mask, *_limits()]))


def _limits() -> Iterator[int]:
    """Yield the limit of each control group that this process is in, rounded up to whole cores."""
    group, cgroups = "", _ROOT / "sys/fs/cgroup"
    with contextlib.suppress(OSError):  # no Linux
        lines = (_ROOT / "proc/self/cgroup").read_text().splitlines()
        group = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
    folders = [cgroups, *(cgroups / part for part in _paths(group))]
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            yield math.ceil(quota / period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (int((cgroups / f"cpu/cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        if quota > 0:  # -1: no limit
            yield math.ceil(quota / period)


def _paths(group: str) -> Iterator[str]:
    """Yield the control group and those that it is in, as paths below the mount."""
    parts = [part for part in group.split("/") if part not in ("", "..")]  # ".." leads out of a container
    return ("/".join(parts[: i + 1]) for i in range(len(parts)))
