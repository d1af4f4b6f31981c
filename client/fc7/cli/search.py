"""`fc7 search`: find the nearest items of a collection, and draw them on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.image_arguments import ImageLocation, as_text, read_query
from fc7.cli.options import example, file_type, json_option, positive, where_option
from fc7.cli.output import check_writable, print_json, print_table
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Collection, Hit


@example("fc7 search photos query.jpg")
@click.command()
@click.argument("name")
@click.argument("image", required=False, type=ImageLocation())
@click.option(
    "--id", "item_id", help="Search with this stored item instead of an image. It is left out of the results."
)
@click.option("-k", "k", type=positive, default=10, show_default=True, help="Number of neighbours to print.")
@where_option
@click.option(
    "--sheet",
    type=file_type,
    metavar="FILE",
    help="Image file to draw the query and its neighbours into (.png, .jpg, ...).",
)
@json_option
@connected
def search(
    connection: Connection,
    name: str,
    image: Path | str | None,
    item_id: str | None,
    k: int,
    where: str | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Find the items nearest to an image or to a stored item.

    IMAGE is an image file, a URL (http or https), or - for an image on standard input.

    The nearest item comes first. Scores depend on the metric of the collection, and a larger
    score is always nearer. The sheet takes pictures from `payload.path`, and draws a grey tile
    for a picture that is not there.

    --where narrows the search to items whose payload matches. A filter can use =, !=, <, <=, >, >=, in,
    between, prefix, contains and exists, and combines them with and, or, not and brackets.
    """
    if (image is None) == (item_id is None):
        raise click.UsageError("give either IMAGE or --id ID, not both or neither")
    if sheet is not None:
        _check_sheet(sheet)
    with connection.open() as client:
        collection = client.collection(name, check=False)
        query_image = None if image is None else read_query(image)
        hits = collection.search(query_image, id=item_id, k=k, where=where)
        if sheet is not None:
            given = {"path": str(image)} if isinstance(image, Path) else {}
            query = given if item_id is None else _stored_payload(collection, item_id)
            _draw(sheet, item_id or as_text(Path(str(image))), query, hits)
    if as_json:
        for hit in hits:
            print_json({"id": hit.id, "score": hit.score, "payload": hit.payload})
    else:
        print_table(("id", "score", "label"), [(hit.id, hit.score, hit.payload.get("label")) for hit in hits])


def _stored_payload(collection: Collection, item_id: str) -> dict[str, Any]:
    item = collection.get([item_id])[0]
    if isinstance(item, Fc7Error):
        raise item
    return item.payload


def _check_sheet(sheet: Path) -> None:
    from fc7.drawing.page import check_format

    check_format(sheet)
    check_writable(sheet)


def _draw(sheet: Path, title: str, query: dict[str, Any], hits: Sequence[Hit]) -> None:
    from fc7.drawing.contact_sheet import QueryRow, Tile, draw_contact_sheet

    tiles = [Tile(_path(hit.payload), (hit.id, f"{hit.score:.4f}", _label(hit.payload))) for hit in hits]
    draw_contact_sheet([QueryRow(Tile(_path(query), ("query", title, _label(query))), tiles)], sheet)


def _path(payload: dict[str, Any]) -> Path | None:
    path = payload.get("path")
    return Path(path) if isinstance(path, str) else None


def _label(payload: dict[str, Any]) -> str:
    return str(payload.get("label", ""))
