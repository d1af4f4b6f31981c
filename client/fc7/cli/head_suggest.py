"""`fc7 head suggest`: which items to label next."""

from __future__ import annotations

from dataclasses import asdict

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, version_option, where_option
from fc7.cli.output import print_json, print_table, print_text


@example("fc7 head suggest places --collection photos -n 5")
@click.command()
@click.argument("name")
@click.option("--collection", required=True, metavar="NAME", help="Collection whose items to label.")
@version_option
@click.option("-n", "n", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of items.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "margin", "typical", "diverse"]),
    default="auto",
    show_default=True,
    help="margin: the two best classes are close. typical: the middle of large groups without a label. diverse: far "
    "from all that is labelled. auto: typical until there are ten labels per class on average, then margin.",
)
@click.option(
    "--label", default="label", metavar="FIELD", help="Payload field that holds the label. Defaults to label."
)
@where_option
@json_option
@connected
def suggest(
    connection: Connection,
    name: str,
    collection: str,
    version: int | None,
    n: int,
    strategy: str,
    label: str,
    where: str | None,
    as_json: bool,
) -> None:
    """Say which items of a collection to label next, most useful first.

    Items with a label in the payload, or with one that `fc7 label` recorded, are left out. The head
    need not exist yet. A tenth of the items is drawn at random, so that an unbiased test set grows
    too. No two of them are almost the same picture.
    """
    with connection.open() as client:
        found = client.suggest_items(
            collection, head=name, head_version=version or 0, n=n, strategy=strategy, label=label, where=where
        )
    if as_json:
        for one in found:
            print_json(asdict(one))
    elif found:
        print_table(
            ("id", "reason", "answer", "probability"), [(o.id, o.reason, o.label, o.probability) for o in found]
        )
    else:
        print_text("every item has a label, or is almost the same picture as one that has")
