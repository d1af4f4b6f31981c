"""The site of the documentation builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Attributes that a browser follows by itself. `href` counts for `link` alone: a reader clicks the `a`.
LOADED = {"src", "srcset", "data", "poster", "action", "background"}
# What a style sheet loads. Names of XML namespaces inside `data:` pictures are not addresses.
IN_STYLE = re.compile(r"""(?:url\(\s*["']?|@import\s+["']?)((?:https?:)?//[^"')\s]+)""")


class Assets(HTMLParser):
    """Collects what a page loads from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            is_loaded = name in LOADED or (name == "href" and tag in ("link", "use", "image"))
            if is_loaded and re.match(r"(https?:)?//", value or ""):
                self.found.append((self.getpos()[0], f"<{tag} {name}={value}>"))
            if name == "style":
                self.found += [(self.getpos()[0], address) for address in IN_STYLE.findall(value or "")]


def external_assets(page: Path) -> list[str]:
    assets = Assets()
    assets.feed(text := page.read_text(encoding="utf-8"))
    styles = [
        style
        for block in re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
        for style in IN_STYLE.findall(block)
    ]
    return [f"{page.name}:{line}: {what}" for line, what in assets.found] + styles


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    assert [asset for page in pages for asset in external_assets(page)] == []
    styles = sorted(site.rglob("*.css"))
    assert styles
    assert [f"{style.name}: {asset}" for style in styles for asset in IN_STYLE.findall(style.read_text())] == []


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<img src="http://example.org/a.png">',
        '<p style="background: url(https://example.org/a.png)">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>@font-face { src: url('https://example.org/a.woff2') }</style>",
    ],
)
def test_an_asset_from_elsewhere_is_seen(tmp_path: Path, html: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<a href="https://example.org">a link is no asset</a>\n{html}\n')
    assert len(external_assets(page)) == 1


def test_the_search_works_where_pages_are_opened_as_files(site: Path) -> None:
    """No worker runs there, and no page reads JSON: a script of ours and the index as a script stand in."""
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = {")
    assert 'src="../assets/iframe-worker.js"' in (site / "reference" / "grpc.html").read_text(encoding="utf-8")


def test_python_reference_shows_every_public_name(site: Path) -> None:
    import fc7

    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [name for name in fc7.__all__ if f'id="fc7.{name}"' not in page] == []
