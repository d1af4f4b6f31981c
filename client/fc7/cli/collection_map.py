"""`fc7 collection map`: where the items of a collection lie in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option
from fc7.cli.output import print_json, print_table, print_text

if TYPE_CHECKING:
    from fc7.results import MapMethod


@example("fc7 collection map photos --field label --json")
@click.command("map")
@click.argument("name")
@click.option("--field", default="", metavar="FIELD", help="Print this field of the payloads too.")
@click.option(
    "--method",
    type=click.Choice(["pca", "tsne"]),
    default="pca",
    show_default=True,
    help="pca: the two directions in which the features vary most. tsne: near items lie near; takes longer.",
)
@json_option
@connected
def map_collection(connection: Connection, name: str, field: str, method: MapMethod, as_json: bool) -> None:
    """Place the items of a collection in two dimensions.

    Similar items lie near each other. With pca, two directions show only a part of the differences:
    the last line says how large that part is. With tsne, the distance between groups means nothing.
    The server keeps the places of tsne until the items change.
    """
    with connection.open() as client:
        found = client.collection(name, check=False).map(field, method=method)
    rows = list(zip(found.ids, found.positions.tolist(), found.values, strict=True))
    if as_json:
        for own, (x, y), value in rows:
            print_json({"id": own, "x": x, "y": y, "value": value})
    else:
        table = [(own, f"{x:.4f}", f"{y:.4f}", value) for own, (x, y), value in rows]
        print_table(("id", "x", "y", field or "value"), table)
    if found.shares:
        print_text(f"the two directions hold {sum(found.shares):.1%} of the variance", err=as_json)
