"""The tables and drawings of the docs are those that the code gives now."""

from __future__ import annotations

import itertools
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import tables
from tables import DRAWINGS, PAGES, TABLES, rooms, tables_of, write_tables

ROOT = Path(__file__).parents[2]


def first_difference(page: Path) -> str:
    """Return the first line at which a page is not as `make docs-tables` writes it, or nothing."""
    before = page.read_text(encoding="utf-8")
    lines = itertools.zip_longest(before.splitlines(), write_tables(before).splitlines())
    for number, (is_now, should_be) in enumerate(lines, start=1):
        if is_now != should_be:
            place = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name
            return f"{place}:{number}: is {is_now!r} and should be {should_be!r}. Run: make docs-tables"
    return ""


@pytest.mark.parametrize("page", [page for page in PAGES if tables_of(page.read_text(encoding="utf-8"))], ids=os.fspath)
def test_tables_are_those_of_the_code(page: Path) -> None:
    assert first_difference(page) == ""


def test_drawings_are_those_of_the_code() -> None:
    for path, draw in DRAWINGS.items():
        ET.fromstring(text := draw())  # our own
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make docs-tables"


def test_every_table_stands_on_a_page() -> None:
    used = {name.split()[0] for page in PAGES for name in tables_of(page.read_text(encoding="utf-8"))}
    assert used == TABLES.keys()


def test_every_comment_that_begins_a_table_has_an_end() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- table: ") == text.count("<!-- end of table -->") == len(tables_of(text)), page


def test_every_command_is_in_the_reference() -> None:
    from fc7.cli import COMMANDS

    page = (ROOT / "docs/reference/command.md").read_text(encoding="utf-8")
    shown = [word for name in tables_of(page) if name.startswith("commands ") for word in name.split()[1:]]
    assert sorted(shown) == sorted(COMMANDS)


def test_a_stale_table_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.TABLES, "layers", lambda network: f"| layer of {network} |")
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n<!-- table: layers one -->\n\n| old |\n\n<!-- end of table -->\n\nother text\n")
    assert first_difference(page).startswith("page.md:5: is '| old |' and should be '| layer of one |'")
    page.write_text(write_tables(page.read_text()))
    assert first_difference(page) == ""
    assert page.read_text().endswith("\n\nother text\n")


def test_every_folder_of_code_is_in_the_drawing_of_the_rooms() -> None:
    drawn = {module for room in rooms.ROOMS.values() for module in room.modules.split()}
    for package in ("client/fc7", "service/fc7_service", "models/fc7_models"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").is_file() and not folder.name.startswith("_"):
                assert re.sub(r".*/", "", package) + f".{folder.name}" in drawn, folder
