"""`fc7 collection update`: change the payloads of items."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, where_option
from fc7.cli.output import exit_if_failed, item_outcome, print_json, print_note, print_text

if TYPE_CHECKING:
    from fc7 import Updated


def _read_pairs(context: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any]:
    return dict(_read_pair(pair) for pair in pairs)


def _read_pair(pair: str) -> tuple[str, Any]:
    key, is_pair, text = pair.partition("=")
    if not key or not is_pair:
        raise click.BadParameter(f"{pair!r} is not KEY=VALUE. Write for example year=2020 or label=cat")
    if "." in key:
        inner = key.partition(".")[0]
        raise click.BadParameter(
            f"{key!r} has a dot, by which filters name keys of nested objects. Set the whole object: {inner}='{{...}}'"
        )
    return key, _read_value(text)


def _read_value(text: str) -> Any:
    """Return the JSON value that a text stands for, or the text itself."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and Infinity are text

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


@example("fc7 collection update photos beach/a.jpg --set stars=5")
@click.command()
@click.argument("name")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@where_option
@click.option(
    "--set",
    "new",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_read_pairs,
    help="Set a key of the payload. VALUE is JSON such as 5, true or [1, 2]; anything else is text. Repeatable.",
)
@click.option("--remove", multiple=True, metavar="KEY", help="Remove a key of the payload. Repeatable.")
@click.option("--replace", is_flag=True, help="Remove all keys that --set does not name.")
@json_option
@connected
def update(
    connection: Connection,
    name: str,
    ids: tuple[str, ...],
    where: str | None,
    new: dict[str, Any],
    remove: tuple[str, ...],
    replace: bool,
    as_json: bool,
) -> None:
    """Change the payloads of items; their features stay as they are.

    Name the items by their ids or by a filter. Each item that matches the filter is changed once.
    An id that is not stored is reported, and the exit code is 1.
    """
    if bool(ids) == (where is not None):
        raise click.UsageError("give either ids or --where FILTER, not both or neither")
    if not (new or remove or replace):
        raise click.UsageError("give at least one of --set KEY=VALUE, --remove KEY and --replace")
    counts = {"updated": 0, "skipped": 0, "failed": 0}

    def report(item: Updated) -> None:
        counts[item.status] += 1
        if item.error is not None:
            print_note(item.id, item.error)
        if as_json:
            print_json(item_outcome(item.id, item.status, item.error))

    with connection.open() as client:
        collection = client.collection(name, check=False)
        collection.update(ids or None, where=where, set=new, remove=remove, replace=replace, report=report)
    if not as_json:
        skipped = f", {counts['skipped']} already so" if counts["skipped"] else ""
        print_text(f"{name}: {counts['updated']} updated{skipped}")
    exit_if_failed(counts["failed"])
