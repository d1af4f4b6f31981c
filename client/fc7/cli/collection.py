"""`fc7 collection`, `add`, `remove`, `search`: named sets of items and their neighbours."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.collection_items import items
from fc7.cli.connection import Connection, connected
from fc7.cli.options import json_option, model_option, yes_option
from fc7.cli.output import confirm, print_json, print_table, print_text
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from fc7 import Collection
    from fc7.results import Metric

STATUSES = ("added", "replaced", "skipped", "failed")
_COLUMNS = ("name", "count", "model", "layer", "metric", "dim", "index", "fault")


@click.group()
def collection() -> None:
    """Create, list, show and delete collections; list and export their items."""


collection.add_command(items)


@collection.command()
@click.argument("name")
@click.option("--layer", default="", help="Layer whose features it holds; without: the model's default.")
@model_option
@click.option(
    "--metric", type=click.Choice(["cosine", "l2", "dot"]), default="cosine", show_default=True, help="Comparison."
)
@json_option
@connected
def create(connection: Connection, name: str, layer: str, model: str, metric: Metric, as_json: bool) -> None:
    """Create an empty collection."""
    with connection.open() as client:
        _print([client.create_collection(name, layer=layer, model=model, metric=metric)], as_json)


@collection.command(name="list")
@json_option
@connected
def list_(connection: Connection, as_json: bool) -> None:
    """List the collections."""
    with connection.open() as client:
        _print(client.collections(), as_json)


@collection.command()
@click.argument("name")
@json_option
@connected
def show(connection: Connection, name: str, as_json: bool) -> None:
    """Show one collection: its size and what made its features."""
    with connection.open() as client:
        facts = _facts(client.collection(name))
    if as_json:
        print_json(facts)
    else:
        provenance = {f"provenance {key}": value for key, value in facts.pop("provenance").items()}
        print_table(("", ""), (facts | provenance).items())


@collection.command()
@click.argument("name")
@yes_option
@json_option
@connected
def delete(connection: Connection, name: str, is_sure: bool, as_json: bool) -> None:
    """Delete a collection and all its items. Asks first; without a terminal, --yes is needed."""
    with connection.open() as client:
        with contextlib.suppress(DataLoss):  # a damaged one may go too; one that is missing is NotFound
            client.collection(name)
        confirm(f"Delete collection {name!r} and all its items?", is_sure=is_sure)
        client.delete_collection(name)
    if as_json:
        print_json({"name": name, "status": "deleted"})
    else:
        print_text(f"collection {name} deleted")


def _facts(found: Collection) -> dict[str, Any]:
    return {
        "name": found.name,
        "count": found.count,
        "provenance": found.provenance.to_dict(),
        "metric": found.metric,
        "dim": found.dim,
        "index": found.index,
        "fault": found.fault,
    }


def _print(found: Sequence[Collection], as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(_facts(one))
        return
    rows = [_facts(one) | {"model": one.provenance.model, "layer": one.provenance.layer} for one in found]
    print_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])
