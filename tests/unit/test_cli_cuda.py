"""Which CUDA the GPU libraries need, and what `fc7 doctor` says about it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from fc7.cli import cuda, doctor


@pytest.mark.parametrize(
    ("requirements", "generation"),
    [
        (["numpy", 'nvidia-cuda-nvrtc-cu12~=12.0; extra == "cuda"', 'nvidia-cudnn-cu12~=9.0; extra == "cudnn"'], 12),
        (['nvidia-cuda-runtime~=13.0; extra == "cuda"', 'nvidia-cudnn-cu13~=9.0; extra == "cudnn"'], 13),
        (["nvidia-cuda-runtime-cu12<13,>=12.6", "nvidia-curand-cu12<11,>=10.3.7"], 12),
        (["nvidia-cuda-runtime<14,>=13.2", "nvidia-curand<11,>=10.3.7"], 13),
        (["numpy>=1.25"], None),
    ],
)
def test_the_generation_is_what_the_requirements_name(requirements: list[str], generation: int | None) -> None:
    assert cuda.read_generation(requirements) == generation


def test_only_what_is_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str] | None:
        if name == "faiss-gpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return ["nvidia-cudnn-cu12~=9.0"]

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert cuda.generations() == {"onnxruntime-gpu": 12}


def test_the_driver_is_read_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_DRIVER_FILE", tmp_path / "version")
    assert cuda.driver_version() == ""
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)\n"
    (tmp_path / "version").write_text(text)
    assert cuda.driver_version() == "580.95.05"


@pytest.mark.parametrize(
    ("found", "driver", "value", "problem"),
    [
        ({"onnxruntime-gpu": 12, "faiss-gpu": 12}, "580.95", "needs driver 525 or newer, found 580.95", ""),
        ({"onnxruntime-gpu": 12, "faiss-gpu": 12}, "", "needs driver 525 or newer, found none", ""),
        ({"onnxruntime-gpu": 13, "faiss-gpu": 12}, "580.95", "onnxruntime-gpu for CUDA 13, faiss-gpu for", "two gen"),
        ({"onnxruntime-gpu": 13}, "570.1", "needs driver 580 or newer, found 570.1", "the driver is too old"),
    ],
)
def test_doctor_names_both_and_the_driver(found: dict[str, int], driver: str, value: str, problem: str) -> None:
    (finding,) = doctor._cuda(found, driver)
    assert value in finding.value
    assert finding.problem.startswith(problem)
    assert bool(finding.fix) is bool(problem)


def test_doctor_is_silent_without_gpu_libraries() -> None:
    assert list(doctor._cuda({}, "580.95")) == []
