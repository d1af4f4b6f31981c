"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Line breaks and bars in a cell do not end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """Return plain text for a page: options as code, no character taken for markup, indented examples as they are."""
    return "\n".join(line if line.startswith("    ") else _marked(line) for line in text.split("\n"))


def _marked(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [
        re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", re.sub(r"([*<])", r"\\\1", part)) for part in parts[::2]
    ]
    return "".join(parts)


def code(text: str) -> str:
    """Return the text as code, or nothing for no text."""
    return f"`{text}`" if text else ""
