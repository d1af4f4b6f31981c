"""What `import fc7` offers, and that both clients offer the same."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7.errors import FAMILY
from fc7.local_server import default_data


def test_all_is_sorted_and_complete() -> None:
    assert list(fc7.__all__) == sorted(fc7.__all__)
    assert {kind.__name__ for kind in FAMILY} < set(fc7.__all__)
    for name in fc7.__all__:
        assert getattr(fc7, name) is not None
        assert name in dir(fc7)
    tree = ast.parse(Path(fc7.__file__).read_text())
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fc7.")
        for alias in node.names
    }
    assert typed == set(fc7.__all__)  # what a type checker sees


def test_every_result_of_a_method_has_a_public_name() -> None:
    for client in (fc7.Client, fc7.Collection, fc7.AsyncClient, fc7.AsyncCollection):
        for name, method in public(client).items():
            words = re.findall(r"[A-Z]\w+", str(inspect.signature(method).return_annotation))
            known = {*fc7.__all__, "None", "NDArray", "Iterator", "AsyncIterator", "Table", "RecordBatch", "Any"}
            assert set(words) <= known, name


def test_the_version_is_that_of_the_distribution() -> None:
    assert fc7.__version__ == importlib.metadata.version("fc7")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fc7.nonsense


def public(kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}


@pytest.mark.parametrize(
    ("one", "other"),
    [(fc7.Client, fc7.AsyncClient), (fc7.Collection, fc7.AsyncCollection)],
    ids=["client", "collection"],
)
def test_both_clients_have_the_same_methods(one: type[Any], other: type[Any]) -> None:
    ours, theirs = public(one), public(other)
    assert sorted(ours) == sorted(theirs)
    for name, method in ours.items():
        mine, its = inspect.signature(method), inspect.signature(theirs[name])
        assert list(mine.parameters.values()) == list(its.parameters.values()), name
        assert str(its.return_annotation).replace("Async", "") == mine.return_annotation, name
        assert inspect.iscoroutinefunction(theirs[name]) is not mine.return_annotation.startswith(
            ("Iterator", "FeatureStream")
        ), name
        assert method.__doc__, name
        assert theirs[name].__doc__, name


def test_results_show_themselves_in_a_line() -> None:
    provenance = fc7.Provenance("0123456789abcdef" * 4, "m", "g", "r", "fc7", "none", "fp32")
    features = fc7.Features(np.zeros((3, 4), np.float32), provenance, [0, 2, 5], [], fc7.Timing())
    assert repr(provenance) == "Provenance(m fc7, 0123456789ab)"
    assert repr(features) == "Features((3, 4), m fc7)"
    assert repr(fc7.Classification([("cat", 0.5)])) == "Classification(cat 0.500)"
    assert "gone" in repr(fc7.Classification([], fc7.NotFound("gone")))


def test_the_users_data_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_DATA_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    assert default_data().name == "fc7"
    assert default_data().is_relative_to(tmp_path)
