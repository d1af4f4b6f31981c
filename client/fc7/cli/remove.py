"""`fc7 remove`: items out of a collection."""

from __future__ import annotations

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import json_option
from fc7.cli.output import complain, emit, end, item_outcome, say


@click.command()
@click.argument("name")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@connected
def remove(connection: Connection, name: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Remove items from a collection."""
    with connection.open() as client:
        removed = client.collection(name, check=False).remove(ids)
    for item in removed:
        if item.error is not None:
            complain(item.id, item.error)
        if as_json:
            emit(item_outcome(item.id, "removed" if item.error is None else "failed", item.error))
    n_failed = sum(item.error is not None for item in removed)
    if not as_json:
        say(f"{name}: {len(removed) - n_failed} removed")
    end(n_failed)
