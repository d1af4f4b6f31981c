"""`fc7 add`: images into a collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, as_text, find_items, finish, paths_argument
from fc7.cli.options import exclude_option, json_option
from fc7.cli.output import item_outcome, print_json, print_note, print_text, progress_bar
from fc7.errors import AlreadyExists, NotFound

if TYPE_CHECKING:
    from fc7 import Added, Client, Collection

STATUSES = ("added", "replaced", "skipped", "failed")


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
    scan: FolderScan,
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
    from fc7.cli.folder_labels import folder_labels

    images = find_items(paths, "two runs with an --id-prefix each", scan)
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

        try:
            _collection(client, name).add(
                [image.source for image in images],
                ids=[item_id or id_prefix + image.id for image in images],
                payloads=[_payload(image, label) for image, label in zip(images, labels, strict=True)],
                replace=replace,
                report=report,
            )
        except KeyboardInterrupt:
            print_text(f"{_summary(name, counts)} of {len(images)}; run the command again to go on", err=True)
            raise
    if as_json:
        print_json({"collection": name, **counts, "passed_over": scan.to_dict()})
    else:
        print_text(_summary(name, counts))
    finish(scan, counts["failed"], as_json=as_json)


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


def _payload(image: FoundImage, label: str | None) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if isinstance(image.source, Path):
        payload["path"] = as_text(Path(os.path.abspath(image.source)))
    elif isinstance(image.source, str):
        payload["url"] = image.source
    return payload if label is None else payload | {"label": label}


def _check_id(images: Sequence[FoundImage], item_id: str | None, id_prefix: str) -> None:
    if item_id is not None and (id_prefix or len(images) != 1 or images[0].root is not None):
        raise click.UsageError("--id goes with one image, not with a folder, several images or --id-prefix")
    if item_id is None and any(isinstance(image.source, bytes) for image in images):
        raise click.UsageError("an image from standard input has no name: give it an id with --id ID")
