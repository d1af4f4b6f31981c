"""`fc7 add`: add images to a collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, as_text, find_items, finish, paths_argument
from fc7.cli.options import example, exclude_option, json_option
from fc7.cli.output import item_outcome, print_json, print_note, print_text, progress_bar
from fc7.errors import AlreadyExists, NotFound

if TYPE_CHECKING:
    from fc7 import Added, Client, Collection

STATUSES = ("added", "replaced", "skipped", "failed")


@example("fc7 add photos holiday")
@click.command()
@click.argument("name")
@paths_argument
@click.option(
    "--label-from-folder",
    is_flag=True,
    help="Store the name of the first folder below PATH as payload.label. If PATH is a data set, that is the first "
    "folder below its train/ or val/.",
)
@click.option("--id-prefix", default="", help="Text to put before every id.")
@click.option("--id", "item_id", help="Id of a single image. An image from standard input needs one.")
@click.option(
    "--replace",
    is_flag=True,
    help="Replace stored items of the same id together with their payload, whatever path they came from.",
)
@click.option(
    "--keep-thumbnails",
    is_flag=True,
    help="Keep a small copy of each image in the collection, for the page: WebP of at most 256 pixels.",
)
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
    keep_thumbnails: bool,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Add images to a collection, and create it if it does not exist.

    Each PATH is an image file, a folder (searched at any depth), a URL (http or https), or - for
    an image on standard input.

    The id of an image is its path below PATH. The id of a single file is its name, and the id of a URL is the URL.

    You can run the command again at any time. Images that are stored already are skipped, so an
    interrupted run continues where it stopped. A file that has changed replaces the stored item,
    whose label and other payload keys stay. If an id belongs to a different picture from another
    path, the image is refused.

    The payload holds the absolute path of the image as `path`, or its URL as `url`. Items that
    are reported as added or replaced are on disk.
    """
    from fc7.cli.folder_labels import folder_labels

    images = find_items(paths, "add them in two runs, each with its own --id-prefix", scan)
    _check_id(images, item_id, id_prefix)
    labels = folder_labels(images) if label_from_folder else [None] * len(images)
    counts = dict.fromkeys(STATUSES, 0)
    with connection.open() as client, progress_bar("add", len(images), as_json=as_json) as advance:

        def report(item: Added) -> None:
            counts[item.status] += 1
            advance(sum(counts.values()))
            if item.error is not None:
                print_note(item.id, item.error)
            if as_json:
                print_json(item_outcome(item.id, item.status, item.error))

        collection, is_new = open_collection(client, name)
        if is_new:
            print_note(name, _created(client, collection))
        try:
            collection.add(
                [image.source for image in images],
                ids=[item_id or id_prefix + image.id for image in images],
                payloads=[_payload(image, label) for image, label in zip(images, labels, strict=True)],
                replace=replace,
                keep_thumbnails=keep_thumbnails,
                report=report,
            )
        except KeyboardInterrupt:
            print_text(f"{_summary(name, counts)} of {len(images)}. To continue, run the command again", err=True)
            raise
    if as_json:
        created = {"created": {"model": collection.provenance.model, "layer": collection.provenance.layer}}
        print_json({"collection": name, **counts, "passed_over": scan.to_dict(), **(created if is_new else {})})
    else:
        print_text(_summary(name, counts))
    finish(scan, counts["failed"], as_json=as_json)


def open_collection(client: Client, name: str) -> tuple[Collection, bool]:
    """Return the collection, which is created if it does not exist, and whether it is new."""
    try:
        return client.collection(name), False
    except NotFound:
        pass
    try:
        return client.create_collection(name), True
    except AlreadyExists:  # another run created it in between
        return client.collection(name), False


def _created(client: Client, collection: Collection) -> str:
    """Return what a new collection holds, and the layer for altered copies if its model recommends another one."""
    model, layer = collection.provenance.model, collection.provenance.layer
    text = f"created with the layer {layer} of {model}"
    other = client.model(model).recommended_layers.get("views", layer)
    if other == layer:
        return text
    return (
        f"{text}. To find altered copies of a picture, {other} is recommended: "
        f"fc7 collection create NAME --layer {other}"
    )


def _summary(name: str, counts: dict[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{n} {status}" for status, n in counts.items() if n or status == "added")


def _payload(image: FoundImage, label: str | None) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if isinstance(image.source, Path):
        payload["path"] = as_text(Path(os.path.abspath(image.source)))
    elif isinstance(image.source, str):
        payload["url"] = image.source
    return payload if label is None else payload | {"label": label}


def _check_id(images: Sequence[FoundImage], item_id: str | None, id_prefix: str) -> None:
    if item_id is not None and (id_prefix or len(images) != 1 or images[0].root is not None):
        raise click.UsageError(
            "--id is for one image. It cannot be combined with a folder, several images or --id-prefix"
        )
    if item_id is None and any(isinstance(image.source, bytes) for image in images):
        raise click.UsageError("an image from standard input has no name. Give it an id with --id ID")
