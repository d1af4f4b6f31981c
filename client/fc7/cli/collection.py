"""`fc7 collection`, `add`, `remove`, `search`: named sets of items and their neighbours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.images import Found, Location, as_text, conclude, find_items, paths_argument, read_query
from fc7.cli.items import items
from fc7.cli.member import model_option
from fc7.cli.output import (
    check_output,
    complain,
    emit,
    end,
    json_option,
    make_sure,
    progress,
    say,
    table,
    yes_option,
)
from fc7.cli.selection import Selection, exclude_option
from fc7.cli.setting import Connection, connected, positive
from fc7.errors import AlreadyExists, DataLoss, Fc7Error, NotFound

if TYPE_CHECKING:
    from fc7 import Added, Client, Collection, Hit
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
        emit(facts)
    else:
        provenance = {f"provenance {key}": value for key, value in facts.pop("provenance").items()}
        table(("", ""), (facts | provenance).items())


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
        make_sure(f"Delete collection {name!r} and all its items?", is_sure=is_sure)
        client.delete_collection(name)
    if as_json:
        emit({"name": name, "status": "deleted"})
    else:
        say(f"collection {name} deleted")


@click.command()
@click.argument("name")
@paths_argument
@click.option(
    "--label-from-folder",
    is_flag=True,
    help="Store an image's first folder below PATH, or below its train/ and val/, as payload.label.",
)
@click.option("--id-prefix", default="", help="Text put before every id.")
@click.option("--id", "item_id", help="Id of the one image given; an image from standard input needs it.")
@click.option("--replace", is_flag=True, help="Replace items of the same id as a whole, whatever path they came from.")
@exclude_option
@json_option
@connected
def add(
    connection: Connection,
    name: str,
    paths: tuple[Path | str, ...],
    label_from_folder: bool,
    id_prefix: str,
    item_id: str | None,
    replace: bool,
    selection: Selection,
    as_json: bool,
) -> None:
    """Add images to a collection, which is created where missing.

    PATH is a file, a folder, a URL (http, https) or - for standard input. An id is the path
    below PATH (a lone file: its name; a URL: itself). An id that is there with the same
    bytes is skipped, so a run that was cut off is simply run again. A file that has changed is
    replaced. Labels and other keys of its payload stay. An id that is there with other bytes
    from another path is refused. `payload.path` is the image's absolute path. What is printed
    as added or replaced is on disk.
    """
    from fc7.cli.classes import folder_labels

    images = find_items(paths, "two runs with an --id-prefix each", selection)
    _check_id(images, item_id, id_prefix)
    labels = folder_labels(images) if label_from_folder else [None] * len(images)
    counts = dict.fromkeys(STATUSES, 0)
    with connection.open() as client, progress("add", len(images), as_json=as_json) as advance:

        def report(item: Added) -> None:
            counts[item.status] += 1
            advance(sum(counts.values()))
            if item.error is not None:
                complain(item.id, item.error)
            if as_json:
                emit(_outcome(item.id, item.status, item.error))

        try:
            _collection(client, name).add(
                [image.source for image in images],
                ids=[item_id or id_prefix + image.id for image in images],
                payloads=[_payload(image, label) for image, label in zip(images, labels, strict=True)],
                replace=replace,
                report=report,
            )
        except KeyboardInterrupt:
            say(f"{_summary(name, counts)} of {len(images)}; run the command again to go on", err=True)
            raise
    if as_json:
        emit({"collection": name, **counts, "passed_over": selection.to_dict()})
    else:
        say(_summary(name, counts))
    conclude(selection, counts["failed"], as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@connected
def remove(connection: Connection, name: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Remove items from a collection."""
    with connection.open() as client:
        removed = client.collection(name, check=False).remove(ids)
    for item in removed:
        if item.error is not None:
            complain(item.id, item.error)
        if as_json:
            emit(_outcome(item.id, "removed" if item.error is None else "failed", item.error))
    n_failed = sum(item.error is not None for item in removed)
    if not as_json:
        say(f"{name}: {len(removed) - n_failed} removed")
    end(n_failed)


@click.command()
@click.argument("name")
@click.argument("image", required=False, type=Location())
@click.option("--id", "item_id", help="Ask for the neighbours of a stored item, itself left out.")
@click.option("-k", "k", type=positive, default=10, show_default=True, help="Number of neighbours.")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Draw query and neighbours here.")
@json_option
@connected
def search(
    connection: Connection,
    name: str,
    image: Path | str | None,
    item_id: str | None,
    k: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Find the nearest items of an image or of a stored item.

    IMAGE is a file, a URL (http, https) or - for standard input. The sheet finds pictures by
    `payload.path` and draws a grey tile where one is absent.
    """
    if (image is None) == (item_id is None):
        raise click.UsageError("give either IMAGE or --id ID")
    if sheet is not None:
        _check_sheet(sheet)
    with connection.open() as client:
        found = client.collection(name, check=False)
        hits = found.search(id=item_id, k=k) if image is None else found.search(read_query(image), k=k)
        if sheet is not None:
            shown = {"path": str(image)} if isinstance(image, Path) else {}
            query = shown if item_id is None else _stored_payload(found, item_id)
            _draw(sheet, item_id or as_text(Path(str(image))), query, hits)
    if as_json:
        for hit in hits:
            emit({"id": hit.id, "score": hit.score, "payload": hit.payload})
    else:
        table(("id", "score", "label"), [(hit.id, hit.score, hit.payload.get("label")) for hit in hits])


def _collection(client: Client, name: str) -> Collection:
    try:
        return client.collection(name)
    except NotFound:
        pass
    try:
        return client.create_collection(name)
    except AlreadyExists:  # another run was quicker
        return client.collection(name)


def _summary(name: str, counts: dict[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{n} {status}" for status, n in counts.items() if n or status == "added")


def _outcome(item_id: str, status: str, error: Fc7Error | None) -> dict[str, str]:
    return {"id": item_id, "status": status} | ({} if error is None else {"error": str(error)})


def _payload(image: Found, label: str | None) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if isinstance(image.source, Path):
        payload["path"] = as_text(Path(os.path.abspath(image.source)))
    elif isinstance(image.source, str):
        payload["url"] = image.source
    return payload if label is None else payload | {"label": label}


def _check_id(images: Sequence[Found], item_id: str | None, id_prefix: str) -> None:
    if item_id is not None and (id_prefix or len(images) != 1 or images[0].root is not None):
        raise click.UsageError("--id goes with one image, not with a folder, several images or --id-prefix")
    if item_id is None and any(isinstance(image.source, bytes) for image in images):
        raise click.UsageError("an image from standard input has no name: give it an id with --id ID")


def _stored_payload(found: Collection, item_id: str) -> dict[str, Any]:
    item = found.get([item_id])[0]
    if isinstance(item, Fc7Error):
        raise item
    return item.payload


def _check_sheet(sheet: Path) -> None:
    from fc7.drawing.contact_sheet import check_format

    check_format(sheet)
    check_output(sheet)


def _draw(sheet: Path, title: str, query: dict[str, Any], hits: Sequence[Hit]) -> None:
    from fc7.drawing.contact_sheet import Row, Tile, draw

    tiles = [Tile(_path(hit.payload), (hit.id, f"{hit.score:.4f}", _label(hit.payload))) for hit in hits]
    draw([Row(Tile(_path(query), ("query", title, _label(query))), tiles)], sheet)


def _path(payload: dict[str, Any]) -> Path | None:
    path = payload.get("path")
    return Path(path) if isinstance(path, str) else None


def _label(payload: dict[str, Any]) -> str:
    return str(payload.get("label", ""))


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
            emit(_facts(one))
        return
    rows = [_facts(one) | {"model": one.provenance.model, "layer": one.provenance.layer} for one in found]
    table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])
