"""The table of reasons, `docs/reference/errors.md` and every error that the code makes agree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc7.errors import FAMILY, Fc7Error, Reason
from fc7.grpc_errors import read_item_error
from fc7.v1 import common_pb2

ROOT = Path(__file__).parents[2]
KINDS = {kind.__name__: kind for kind in FAMILY}
SOURCES = [path for room in ("client", "service", "models") for path in sorted((ROOT / room).rglob("*.py"))]


def errors(path: Path) -> Iterator[tuple[str, str | None, int]]:
    """Yield the class, the reason and the line of each error that a file makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            yield node.func.id, ast.unparse(given[0]) if given else None, node.lineno


def test_every_error_of_the_code_carries_a_reason_of_its_class() -> None:
    found = [(path, *error) for path in SOURCES for error in errors(path)]
    assert len(found) > 300, "the walk sees the code"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {kind} with {reason}"
        for path, kind, reason, line in found
        if reason is not None
        and not (
            reason.startswith("Reason.")
            and reason.removeprefix("Reason.") in Reason.__members__
            and Reason[reason.removeprefix("Reason.")].value.error_class == kind
        )
    ]
    assert wrong == []


def test_every_reason_is_used() -> None:
    given = {reason for path in SOURCES for _, reason, _ in errors(path)}
    defaults = {kind.default_reason for kind in FAMILY}
    assert [reason.name for reason in Reason if reason not in defaults and f"Reason.{reason.name}" not in given] == []


@pytest.mark.parametrize("kind", FAMILY)
def test_every_class_has_a_reason_of_its_own(kind: type[Fc7Error]) -> None:
    assert kind("").reason == kind.default_reason.name
    assert kind.default_reason.value.error_class == kind.__name__


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_comes_back_as_its_class(reason: Reason) -> None:
    kind = KINDS[reason.value.error_class]
    made = kind("text", reason=reason)
    error = read_item_error(common_pb2.ItemError(code=kind.code, reason=made.reason, message="text"))
    assert (type(error), error.reason) == (kind, reason.name)


def test_a_reason_of_a_newer_server_is_kept() -> None:
    error = read_item_error(common_pb2.ItemError(code="NOT_FOUND", reason="MOON_NOT_FOUND", message="text"))
    assert (type(error).__name__, error.reason) == ("NotFound", "MOON_NOT_FOUND")
