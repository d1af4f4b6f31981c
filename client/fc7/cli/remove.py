"""`fc7 remove`: remove items from a collection."""

from __future__ import annotations

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, where_option, yes_option
from fc7.cli.output import confirm, counted, exit_if_failed, item_outcome, print_json, print_note, print_text


@example("fc7 remove photos beach/1.jpg")
@click.command()
@click.argument("name")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@where_option
@yes_option
@json_option
@connected
def remove(
    connection: Connection, name: str, ids: tuple[str, ...], where: str | None, is_sure: bool, as_json: bool
) -> None:
    """Remove items from a collection.

    Name the items by their ids or by a filter.

    `fc7 collection items NAME` lists the ids. An id that is not stored is reported, and the exit
    code is 1. With --where, the command counts the items and asks for confirmation. Without a
    terminal to ask on, it then needs --yes.
    """
    if bool(ids) == (where is not None):
        raise click.UsageError("give either ids or --where FILTER, not both or neither")
    with connection.open() as client:
        collection = client.collection(name, check=False)
        if where is not None:
            n_items = collection.count_items(where=where)
            confirm(f"Remove {counted(n_items, 'item')} from collection {name!r}?", is_sure=is_sure or n_items == 0)
        removed = collection.remove(ids or None, where=where)
    for item in removed:
        if item.error is not None:
            print_note(item.id, item.error)
        if as_json:
            print_json(item_outcome(item.id, "removed" if item.error is None else "failed", item.error))
    n_failed = sum(item.error is not None for item in removed)
    if not as_json:
        print_text(f"{name}: {len(removed) - n_failed} removed")
    exit_if_failed(n_failed)
