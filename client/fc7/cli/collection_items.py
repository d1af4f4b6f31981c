"""`fc7 collection items`: list or export the items of a collection."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, file_type, json_option, positive, where_option
from fc7.cli.output import (
    check_writable,
    counted,
    print_json,
    print_table,
    print_text,
    progress_bar,
    tell_damage,
    whole_file,
    write_csv,
)

if TYPE_CHECKING:
    from fc7 import Collection, Item

_TABLE_ROWS = 100  # without --limit
_COLUMNS = ("id", "label", "content_sha256", "payload")
_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json"}


@example("fc7 collection items photos --limit 20")
@click.command()
@click.argument("name")
@click.option("--limit", type=positive, help="Maximum number of items. Defaults to all, or to 100 in a table.")
@where_option
@click.option("--order-by", default="", metavar="FIELD", help="Sort by a field of the payload, or by id.")
@click.option("--descending", is_flag=True, help="Reverse the order of --order-by.")
@click.option("--output", type=file_type, metavar="FILE", help="File to write (.csv or .jsonl).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with the columns id, label, content_sha256, payload.")
@json_option
@connected
def items(
    connection: Connection,
    name: str,
    limit: int | None,
    where: str | None,
    order_by: str,
    descending: bool,
    output: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List or export the items of a collection, oldest first or as --order-by says.

    Prints a table, or with --csv or --json all items as they arrive. The `payload` is a JSON
    object. A file given with --output appears when it is complete. Damaged items are left out; if
    there are any, a last line says how many: with --json {"damaged": N}, otherwise on standard error.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other. Give one of them")
    if descending and not order_by:
        raise click.UsageError("--descending needs --order-by FIELD")
    if output is not None:
        _check_format(output, as_csv=as_csv, as_json=as_json)
    with connection.open() as client:
        collection = client.collection(name)
        listed = islice(collection.items(where=where, order_by=order_by, descending=descending), limit)
        if output is not None:
            count = _count(collection, where)
            total = count if limit is None else min(limit, count)
            n_written = _export(output, listed, total, as_json=as_json)
            print_text(f"wrote {counted(n_written, 'item')} of {name} to {output}", err=as_json)
        elif as_json:
            for item in listed:
                print_json(_facts(item))
        elif as_csv:
            write_csv(_csv_lines(listed))
        else:
            rows = [_row(item) for item in islice(listed, limit or _TABLE_ROWS)]
            print_table(("id", "label", "payload"), [(own, label, payload) for own, label, _, payload in rows])
            is_full = limit is None and len(rows) == _TABLE_ROWS
            if is_full and (count := _count(collection, where)) > len(rows):
                shown = f"{len(rows)} of {count} items are shown"
                print_text(f"{shown}. --limit N shows more; --csv and --json print all", err=True)
        tell_damage(name, collection.damaged, as_json=as_json and output is None)


def _count(collection: Collection, where: str | None) -> int:
    return collection.count if where is None else collection.count_items(where=where)


def _check_format(output: Path, *, as_csv: bool, as_json: bool) -> None:
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise click.UsageError(f"--output {str(output)!r} must end in one of {', '.join(_FORMATS)}")
    if (as_csv and kind != "csv") or (as_json and kind != "json"):
        other = "--csv" if as_csv else "--json"
        raise click.UsageError(f"--output {str(output)!r} has another format than {other}. Leave {other} out")
    check_writable(output)


def _export(output: Path, listed: Iterator[Item], total: int, *, as_json: bool) -> int:
    """Write the items to the complete file or not at all; return their number."""
    count = 0
    is_csv = _FORMATS[output.suffix.lower()] == "csv"
    with (
        whole_file(output) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        progress_bar("export", total, as_json=as_json) as report,
    ):

        def counting() -> Iterator[Item]:
            nonlocal count
            for item in listed:
                yield item
                count += 1
                report(count)

        for line in _csv_lines(counting()) if is_csv else (json.dumps(_facts(item)) + "\n" for item in counting()):
            file.write(line)
    return count


def _csv_lines(listed: Iterator[Item]) -> Iterator[str]:
    """Yield the lines of a CSV file, first the heading."""
    yield _csv_line(_COLUMNS)
    for item in listed:
        yield _csv_line(_row(item))


def _csv_line(row: tuple[str, ...]) -> str:
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
