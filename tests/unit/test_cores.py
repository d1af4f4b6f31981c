"""How many cores are used: the affinity mask and the limits of the container decide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fc7.contract import cores
from fc7.contract.cores import usable_cores

V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 64),
        ({f"{V2}/cpu.max": "max 100000\n"}, 64),
        ({f"{V2}/cpu.max": "200000 100000\n"}, 2),
        ({f"{V2}/cpu.max": "150000 100000\n"}, 2),
        ({f"{V2}/cpu.max": "50000 100000\n"}, 1),
        ({f"{V2}/cpu.max": "9900000 100000\n"}, 64),
        ({f"{V2}/cpu.max": "nonsense\n"}, 64),
        ({f"{V2}/cpu.max": "1 0\n"}, 64),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "300000 100000\n"}, 3),
        # The group itself is not limited, but one that it is in.
        (
            {
                "proc/self/cgroup": "0::/kube/pod/web\n",
                f"{V2}/kube/cpu.max": "800000 100000\n",
                f"{V2}/kube/pod/cpu.max": "400000 100000\n",
                f"{V2}/kube/pod/web/cpu.max": "max 100000\n",
            },
            4,
        ),
        ({"proc/self/cgroup": "0::/../../other\n", f"{V2}/other/cpu.max": "100000 100000\n"}, 1),
        ({f"{V1}/cpu.cfs_quota_us": "200000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 2),
        ({f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], wanted: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert usable_cores() == wanted


def test_the_affinity_mask_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert usable_cores() == 3
