"""`fc7 duplicates`: groups of items that are the same or nearly so."""

from __future__ import annotations

from dataclasses import asdict

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, where_option
from fc7.cli.output import counted, print_json, print_text


@example("fc7 duplicates photos --score 0.97")
@click.command()
@click.argument("name")
@click.option("--score", type=float, help="Least score of a pair. Defaults to 0.97, which fits the metric cosine.")
@click.option(
    "--rarity",
    type=float,
    help="Instead of --score: largest share of random pairs that are at least as near as a pair.",
)
@where_option
@json_option
@connected
def duplicates(
    connection: Connection, name: str, score: float | None, rarity: float | None, where: str | None, as_json: bool
) -> None:
    """Find groups of items that are the same or nearly so.

    Within a group, every pair is near enough, and an item is in one group at most. To compare one
    new picture with all items, use `fc7 search --min-score`.
    """
    if score is not None and rarity is not None:
        raise click.UsageError("--score and --rarity exclude each other. Give one of them")
    n_groups = n_items = 0
    with connection.open() as client:
        collection = client.collection(name, check=False)
        for group in collection.duplicates(min_score=score, max_rarity=rarity, where=where):
            n_groups, n_items = n_groups + 1, n_items + len(group.ids)
            if as_json:
                print_json(asdict(group))
                continue
            what = "the same bytes" if group.same_content else f"score {group.score:.4f} or more"
            print_text("\n".join([f"{counted(len(group.ids), 'item')}, {what}:", *(f"  {own}" for own in group.ids)]))
    if not as_json:
        print_text(f"{name}: {counted(n_groups, 'group')} of {counted(n_items, 'item')}")
