"""`fc7 remove`: remove items from a collection."""

from __future__ import annotations

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option
from fc7.cli.output import exit_if_failed, item_outcome, print_json, print_note, print_text


@example("fc7 remove photos beach/1.jpg")
@click.command()
@click.argument("name")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@connected
def remove(connection: Connection, name: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Remove items from a collection.

    `fc7 collection items NAME` lists the ids. An id that is not stored is reported, and the exit
    code is 1.
    """
    with connection.open() as client:
        removed = client.collection(name, check=False).remove(ids)
    for item in removed:
        if item.error is not None:
            print_note(item.id, item.error)
        if as_json:
            print_json(item_outcome(item.id, "removed" if item.error is None else "failed", item.error))
    n_failed = sum(item.error is not None for item in removed)
    if not as_json:
        print_text(f"{name}: {len(removed) - n_failed} removed")
    exit_if_failed(n_failed)
