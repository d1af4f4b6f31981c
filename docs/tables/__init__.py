"""The tables of the docs that are written from the code: `make docs-tables`.

A page holds each table between two comments, and the text around it is anybody's:

    <!-- table: scopes -->
    ...
    <!-- end of table -->

The word after `table:` is a key of `TABLES`. Words behind it are arguments, for example `commands collection add`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tables import calls, commands, errors, metrics, networks, rooms, settings

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DRAWINGS = {ROOT / "docs/how/rooms.svg": rooms.drawing}
TABLES: dict[str, Callable[..., str]] = {
    "calls": calls.calls,
    "commands": commands.commands,
    "error-classes": errors.classes,
    "error-reasons": errors.reasons,
    "layers": networks.layers,
    "metrics": metrics.metrics,
    "recipes": networks.recipes,
    "rooms": rooms.table,
    "scopes": calls.scopes,
    "settings-of-client": settings.of_client,
    "settings-of-server": settings.of_server,
    "shared-options": commands.shared_options,
}
_REGION = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def write_tables(text: str) -> str:
    """Return the text of a page with every table as the code has it now."""
    return _REGION.sub(lambda region: f"{region[1]}\n{_table(region[2])}\n\n{region[3]}", text)


def tables_of(text: str) -> list[str]:
    """Return the names of the tables of a page, with their arguments."""
    return [region[1] for region in _REGION.findall(text)]


def _table(words: str) -> str:
    name, *arguments = words.split()
    return TABLES[name](*arguments).strip()
