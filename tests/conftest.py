"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

import fc7_service  # noqa: F401  # first of all: it turns off ONNX Runtime's telemetry
from tiny import make_tiny_bundle

# A shell that starts the tests in the background has them ignore Ctrl-C, and every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, and none of them is too slow: a busy machine decides no test.
hypothesis.settings.register_profile(
    "fc7", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fc7")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the caller's shell decides a test."""
    for name in [n for n in os.environ if n.startswith("FC7_") and n != "FC7_TEST_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training computes in fp32: no test depends on which precision this machine is faster at just now."""
    if loop := sys.modules.get("fc7_models.training.loop"):
        monkeypatch.setattr(loop, "choose_precision", lambda processes, time_step: "fp32")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with random weights, named "tiny"."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real pictures, or a skip that says how to get them."""
    folder = os.environ.get("FC7_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FC7_TEST_DATA names no folder of test pictures")
    return Path(folder)
