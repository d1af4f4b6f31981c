"""Write every table and drawing into its page: `make docs-tables`."""

from __future__ import annotations

from tables import DRAWINGS, PAGES, write_tables

for page in PAGES:
    before = page.read_text(encoding="utf-8")
    if (after := write_tables(before)) != before:
        page.write_text(after, encoding="utf-8")
for path, draw in DRAWINGS.items():
    path.write_text(draw(), encoding="utf-8")
