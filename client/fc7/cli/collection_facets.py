"""`fc7 collection facets`: how often each value of payload fields occurs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, where_option
from fc7.cli.output import counted, print_json, print_table, print_text


@example("fc7 collection facets photos label")
@click.command()
@click.argument("name")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD...")
@where_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Values per field.")
@click.option("--records", is_flag=True, help="Count classes: label records, which outrank the field.")
@json_option
@connected
def facets(
    connection: Connection,
    name: str,
    fields: tuple[str, ...],
    where: str | None,
    limit: int,
    records: bool,
    as_json: bool,
) -> None:
    """Count how often each value of payload fields occurs, the most frequent first.

    Of a list, every element counts, once per item. The command says how many values it left out.
    """
    with connection.open() as client:
        found = client.collection(name, check=False).facets(fields, where=where, limit=limit, records=records)
    if as_json:
        for facet in found:
            values = [{"value": value, "count": count} for value, count in facet.values]
            print_json(asdict(facet) | {"values": values})
        return
    rows = [
        (facet.field, value if isinstance(value, str) else json.dumps(value), count)
        for facet in found
        for value, count in facet.values
    ]
    print_table(("field", "value", "items"), rows)
    for facet in found:
        if facet.left_out:
            print_text(f"{facet.field}: {counted(facet.left_out, 'further value')}. --limit N shows more", err=True)
        if facet.uncounted:
            what = f"{counted(facet.uncounted, 'item')} with an object or a long text"
            print_text(f"{facet.field}: {what}, which is not counted by value", err=True)
