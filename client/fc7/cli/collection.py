"""`fc7 collection`: create, list, show, count and delete collections."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.collection_facets import facets
from fc7.cli.collection_items import items
from fc7.cli.collection_map import map_collection
from fc7.cli.collection_update import update
from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, layer_option, model_option, where_option, yes_option
from fc7.cli.output import confirm, counted, print_json, print_table, print_text
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from fc7 import Collection
    from fc7.results import Metric, Recall

STATUSES = ("added", "replaced", "skipped", "failed")
_COLUMNS = ("name", "count", "model", "layer", "metric", "dim", "index", "fault")
_SHOWN_IDS = 20  # of damaged items, without --json


@click.group()
def collection() -> None:
    """Create, list, show and delete collections; list, count, change and export their items."""


collection.add_command(items)
collection.add_command(facets)
collection.add_command(map_collection)
collection.add_command(update)


@example("fc7 collection create photos")
@collection.command()
@click.argument("name")
@layer_option
@model_option
@click.option(
    "--metric",
    type=click.Choice(["cosine", "l2", "dot"]),
    default="cosine",
    show_default=True,
    help="How to compare features: by angle, by distance or by inner product.",
)
@click.option(
    "--recall",
    type=float,
    metavar="SHARE",
    help="Share of the true neighbours that the index of a large collection is to find, such as 0.99.",
)
@json_option
@connected
def create(
    connection: Connection, name: str, layer: str, model: str, metric: Metric, recall: float | None, as_json: bool
) -> None:
    """Create an empty collection.

    Its model, layer and metric stay the same for good. `fc7 add` creates a missing collection
    with the defaults.
    """
    with connection.open() as client:
        _print([client.create_collection(name, layer=layer, model=model, metric=metric, recall=recall)], as_json)


@example("fc7 collection list")
@collection.command(name="list")
@json_option
@connected
def list_(connection: Connection, as_json: bool) -> None:
    """List the collections with size, model, layer and index."""
    with connection.open() as client:
        _print(client.collections(), as_json)


@example("fc7 collection show photos")
@collection.command()
@click.argument("name")
@click.option("--check", is_flag=True, help="Read all items first, and name all that are damaged.")
@json_option
@connected
def show(connection: Connection, name: str, check: bool, as_json: bool) -> None:
    """Show the size of a collection and how its features were made.

    It names the items that the server found damaged since it opened the collection. Searches and
    lists leave them out. `fc7 add` of the same pictures repairs them.
    """
    with connection.open() as client:
        shown = client.collection(name)
        if check:
            shown.refresh(find_damage=True)
    recall = None if shown.recall is None else asdict(shown.recall)
    facts = _facts(shown) | {"damaged_ids": shown.damaged_ids, "versions": shown.versions}
    facts |= {"recall": recall, "recall_target": shown.recall_target}
    if as_json:
        print_json(facts)
    else:
        nested = {
            f"{group} {key}": value for group in ("provenance", "versions") for key, value in facts.pop(group).items()
        }
        facts["damaged_ids"] = _shortened(shown.damaged_ids)
        facts["recall"] = _recall_in_words(shown.recall)
        print_table(("", ""), (facts | nested).items())


@example("fc7 collection count photos --where 'year >= 2020'")
@collection.command()
@click.argument("name")
@where_option
@json_option
@connected
def count(connection: Connection, name: str, where: str | None, as_json: bool) -> None:
    """Count the items of a collection, or those that match a filter."""
    with connection.open() as client:
        n_items = client.collection(name, check=False).count_items(where=where)
    if as_json:
        print_json({"name": name, "count": n_items})
    else:
        print_text(str(n_items))


@example("fc7 collection tune photos --recall 0.995")
@collection.command()
@click.argument("name")
@click.option(
    "--recall",
    type=float,
    required=True,
    metavar="SHARE",
    help="Share of the ten nearest items that the index is to find, 0.5 to 0.999.",
)
@json_option
@connected
def tune(connection: Connection, name: str, recall: float, as_json: bool) -> None:
    """Let the index of a collection search just as hard as a recall needs.

    The server searches for stored items with growing effort, until it is certain that the index finds
    the share. The share stays the target: when recent queries find less, the effort rises.
    """
    with connection.open() as client:
        found = client.collection(name, check=False).tune(recall)
    if as_json:
        print_json({"name": name, "recall_target": recall, "recall": asdict(found)})
    else:
        print_text(f"recall: {_recall_in_words(found)}")
    if found.low < recall:
        print_text(f"fc7: this does not prove a recall of {recall:g}. The index searches as hard as it can", err=True)


@example("fc7 collection threshold photos --false-matches 1e-3")
@collection.command()
@click.argument("name")
@click.option(
    "--false-matches",
    type=float,
    required=True,
    metavar="SHARE",
    help="Share of random pairs of items that may reach the score, such as 1e-4.",
)
@json_option
@connected
def threshold(connection: Connection, name: str, false_matches: float, as_json: bool) -> None:
    """Turn a rate of false matches into a score, for `fc7 search --min-score`.

    The server compares random pairs of the collection's items. With N pairs, it cannot tell a rate
    below 1/N, and refuses it.
    """
    with connection.open() as client:
        found = client.collection(name, check=False).threshold(false_matches)
    if as_json:
        print_json({"name": name, "false_matches": false_matches} | asdict(found))
    else:
        which = f"all {found.pairs}" if found.complete else f"{found.pairs} random"
        print_text(f"--min-score {found.min_score:.6g}   ({which} pairs of {counted(found.count, 'item')})")


@example("fc7 collection delete photos")
@collection.command()
@click.argument("name")
@yes_option
@json_option
@connected
def delete(connection: Connection, name: str, is_sure: bool, as_json: bool) -> None:
    """Delete a collection and all its items.

    The command asks for confirmation. If there is no terminal, it needs --yes.
    """
    with connection.open() as client:
        with contextlib.suppress(DataLoss):  # a damaged collection can be deleted too; a missing one raises NotFound
            client.collection(name)
        confirm(f"Delete collection {name!r} and all its items?", is_sure=is_sure)
        client.delete_collection(name)
    if as_json:
        print_json({"name": name, "status": "deleted"})
    else:
        print_text(f"deleted collection {name}")


def _facts(collection: Collection) -> dict[str, Any]:
    return {
        "name": collection.name,
        "count": collection.count,
        "provenance": collection.provenance.to_dict(),
        "metric": collection.metric,
        "dim": collection.dim,
        "index": collection.index,
        "fault": collection.fault,
        "damaged": collection.damaged,
    }


def _recall_in_words(recall: Recall | None) -> str:
    if recall is None:
        return "not measured yet"
    if not recall.queries:
        return "1 (every item is compared)"
    return f"{recall.value:.4f} ({recall.low:.4f} to {recall.high:.4f}, {recall.queries} queries)"


def _shortened(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN_IDS]) + (f", and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else "")


def _print(collections: Sequence[Collection], as_json: bool) -> None:
    facts = [_facts(collection) for collection in collections]
    if as_json:
        for row in facts:
            print_json(row)
        return
    rows = [row | {"model": row["provenance"]["model"], "layer": row["provenance"]["layer"]} for row in facts]
    print_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])
