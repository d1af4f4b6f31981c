"""`fc7 remove`: remove items from a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, where_option, yes_option
from fc7.cli.output import confirm, counted, exit_if_failed, item_outcome, print_json, print_note, print_text
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Removed


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
    n_removed = n_failed = 0

    def report(item: Removed) -> None:  # at once: what is removed is told even if a later part fails
        nonlocal n_removed, n_failed
        n_removed, n_failed = n_removed + (item.error is None), n_failed + (item.error is not None)
        if item.error is not None:
            print_note(item.id, item.error)
        if as_json:
            print_json(item_outcome(item.id, "removed" if item.error is None else "failed", item.error))

    with connection.open() as client:
        collection = client.collection(name, check=False)
        if where is not None:
            n_items = collection.count_items(where=where)
            confirm(f"Remove {counted(n_items, 'item')} from collection {name!r}?", is_sure=is_sure or n_items == 0)
        try:
            collection.remove(ids or None, where=where, report=report)
        except Fc7Error:
            if n_removed and not as_json:
                print_text(f"{name}: {n_removed} removed, then an error")
            raise
    if not as_json:
        print_text(f"{name}: {n_removed} removed")
    exit_if_failed(n_failed)
