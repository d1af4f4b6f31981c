"""Every link of every page leads to a file, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify, unique

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "client", "deploy", "docs", "models", "proto", "service", "tests")
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$")


def prose(page: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of a page that are not in a code block."""
    lines, is_code = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            lines.append((number, line))
    return lines


def anchors(page: Path) -> set[str]:
    """Return the names that the site gives to the headings of a page."""
    names: set[str] = set()
    for _, line in prose(page):
        if heading := HEADING.match(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            unique(slugify(re.sub(r"[`*]", "", text), "-"), names)
    return names


def broken_links(page: Path) -> list[str]:
    wrong = []
    for number, line in prose(page):
        for link in LINK.findall(re.sub(r"`[^`]*`", "", line)):
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", target):
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists():
                wrong.append(f"{page}:{number}: {link}: there is no such file")
            elif anchor and anchor not in anchors(file):
                wrong.append(f"{page}:{number}: {link}: no heading of {file.name} has this anchor")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert "\n".join(broken_links(page)) == ""


def test_a_broken_link_is_named_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title here\n\n[a](page.md#title-here) [b](#title-there)\n[c](missing.md)\n```\n[d](no-link)\n```\n"
    )
    assert [line.partition("page.md:")[2] for line in broken_links(page)] == [
        "3: #title-there: no heading of page.md has this anchor",
        "4: missing.md: there is no such file",
    ]


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/index.md", "service/fc7_service/bundles/alexnet-64/card.md"} <= names
    assert len(names) > 30
