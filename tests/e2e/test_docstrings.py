"""The examples in the docstrings of the public Python API run, against a real server in this process."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fc7
from servers import write_jpegs


def parts(value: Any) -> list[Any]:
    """Return a public value and the private classes whose methods it has."""
    return [value, *(base for base in getattr(value, "__mro__", ()) if base.__module__.startswith("fc7._"))]


EXAMPLES = [
    example
    for name in fc7.__all__
    for part in parts(getattr(fc7, name))
    for example in doctest.DocTestFinder().find(part, f"fc7.{name}", module=False)
    if example.examples
]
PICTURES = [f"{name}.jpg" for name in ("a", "b", "c", "query", "rose1", "rose2", "tulip1", "tulip2")]


@pytest.fixture(scope="module")
def known(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the examples take for granted: a client, a collection "album" of a, b and c, and pictures in the folder."""
    folder = tmp_path_factory.mktemp("examples")
    write_jpegs(folder, PICTURES)
    with (
        pytest.MonkeyPatch.context() as patch,
        fc7.connect(data=folder / "served", models=[str(tiny_bundle)]) as client,
    ):
        patch.chdir(folder)
        photos = client.create_collection("album")
        photos.add(["a.jpg", "b.jpg", "c.jpg"])
        yield {"fc7": fc7, "asyncio": asyncio, "client": client, "photos": photos}


def test_the_main_classes_have_examples() -> None:
    assert {"fc7.connect", "fc7.Client.extract", "fc7.Collection.search", "fc7.AsyncClient", "fc7.Fc7Error"} <= {
        example.name for example in EXAMPLES
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example: doctest.DocTest, known: dict[str, Any]) -> None:
    printed: list[str] = []
    example.globs = dict(known)
    result = doctest.DocTestRunner().run(example, out=printed.append)
    assert result.failed == 0, "".join(printed)
    assert result.attempted > 0
