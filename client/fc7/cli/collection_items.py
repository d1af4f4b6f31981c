"""`fc7 collection items`: what a collection holds, listed or exported."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import json_option, positive
from fc7.cli.output import check_writable, print_json, print_table, print_text, progress_bar, write_csv

if TYPE_CHECKING:
    from fc7 import Item

_SHOWN = 100  # rows of a table, where --limit says nothing
_COLUMNS = ("id", "label", "content_sha256", "payload")
_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json"}


@click.command()
@click.argument("name")
@click.option("--limit", type=positive, help="Items at most. Defaults to all, in a table to 100.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write: F.csv or F.jsonl.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with the columns id, label, content_sha256, payload.")
@json_option
@connected
def items(
    connection: Connection, name: str, limit: int | None, output: Path | None, as_csv: bool, as_json: bool
) -> None:
    """List or export the items of a collection, in the order of their first insertion.

    They are fetched page by page and printed as they come. `payload` is a JSON object.
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    if output is not None:
        _check(output, as_csv=as_csv, as_json=as_json)
    with connection.open() as client:
        found = client.collection(name)
        listed = islice(found.items(), limit)
        if output is not None:
            total = found.count if limit is None else min(limit, found.count)
            written = _export(output, listed, total, as_json=as_json)
            print_text(f"{written} items of {name} in {output}", err=as_json)
        elif as_json:
            for item in listed:
                print_json(_facts(item))
        elif as_csv:
            write_csv(_lines(listed))
        else:
            rows = [_row(item) for item in islice(listed, limit or _SHOWN)]
            print_table(("id", "label", "payload"), [(own, label, payload) for own, label, _, payload in rows])
            if limit is None and found.count > len(rows):
                print_text(f"{len(rows)} of {found.count} items: --limit N shows more, --csv and --json all", err=True)


def _check(output: Path, *, as_csv: bool, as_json: bool) -> None:
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise click.UsageError(f"--output {str(output)!r} ends in none of {', '.join(_FORMATS)}")
    if (as_csv and kind != "csv") or (as_json and kind != "json"):
        raise click.UsageError(f"--output {str(output)!r} and the format asked for differ: leave --csv or --json out")
    check_writable(output)


def _export(output: Path, listed: Iterator[Item], total: int, *, as_json: bool) -> int:
    """Write the items whole or not at all; return their number."""
    part, count = output.with_name(f".{output.name}.part"), 0
    is_csv = _FORMATS[output.suffix.lower()] == "csv"
    try:
        with (
            part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
            progress_bar("export", total, as_json=as_json) as report,
        ):

            def counted() -> Iterator[Item]:
                nonlocal count
                for item in listed:
                    yield item
                    count += 1
                    report(count)

            for line in _lines(counted()) if is_csv else (json.dumps(_facts(item)) + "\n" for item in counted()):
                file.write(line)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    return count


def _lines(listed: Iterator[Item]) -> Iterator[str]:
    """Yield the lines of a CSV file, the heading first."""
    yield _line(_COLUMNS)
    for item in listed:
        yield _line(_row(item))


def _line(row: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _row(item: Item) -> tuple[str, str, str, str]:
    label = item.payload.get("label", "")
    return (
        item.id,
        label if isinstance(label, str) else json.dumps(label),
        item.content_sha256,
        json.dumps(item.payload),
    )


def _facts(item: Item) -> dict[str, Any]:
    return {"id": item.id, "payload": item.payload, "content_sha256": item.content_sha256}
