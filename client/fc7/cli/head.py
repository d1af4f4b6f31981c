"""`fc7 head`: softmax heads, trained in seconds, versioned and published."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.head_evaluate import evaluate
from fc7.cli.image_arguments import finish
from fc7.cli.options import exclude_option, json_option, model_option, positive, yes_option
from fc7.cli.output import confirm, print_json, print_note, print_table, print_text, progress_bar
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from fc7 import Head

_COLUMNS = ("name", "version", "published", "classes", "count", "accuracy", "majority", "method", "layer", "created")
_version = click.option("--version", type=positive, help="Version; without: the newest.")


@click.group()
def head() -> None:
    """Train, evaluate, publish, list, show and delete heads."""


head.add_command(evaluate)


@head.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--collection", help="Train on the features and labels of this collection.")
@click.option("--label", help="Payload field that holds the label in a collection; without: label.")
@click.option("--layer", help="Layer of a FOLDER's features; without: the model's default.")
@model_option
@exclude_option
@json_option
@connected
def train(
    connection: Connection,
    name: str,
    folder: Path | None,
    collection: str | None,
    label: str | None,
    layer: str | None,
    model: str,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Train the next version of a head on FOLDER, one sub-folder a class, or on a collection.

    Of a FOLDER that holds train/ and val/, train/ alone is taken. The accuracy is that of a
    fifth of the images, held out; the head is then fitted on all.
    """
    if (folder is None) == (collection is None):
        raise click.UsageError("give either FOLDER or --collection C")
    if collection is not None and (layer or model or scan.exclude):
        raise click.UsageError("--layer, --model and --exclude go with FOLDER: a collection has its own")
    if folder is not None and label:
        raise click.UsageError("--label goes with --collection: in FOLDER the sub-folder is the label")
    from fc7.cli.folder_labels import labelled_images

    images, labels = ([], []) if folder is None else labelled_images(folder, scan)
    with connection.open() as client, progress_bar("train", len(images) or None, as_json=as_json) as report:
        if collection is not None:
            trained = client.train_head(name, collection=collection, label=label or "label")
        else:
            trained = client.train_head(
                name,
                images=[image.path for image in images],
                labels=labels,
                layer=layer or "",
                model=model,
                report=report,
            )
    for failed in trained.failed:
        print_note(images[failed.index].name, failed.error)
    if as_json:
        print_json(_facts(trained) | {"passed_over": scan.to_dict()})
    else:
        _print([trained], as_json)
    if trained.majority_accuracy is not None and trained.accuracy <= trained.majority_accuracy:
        print_text(
            f"fc7: the head is no better than always answering the largest class: {trained.accuracy:.3f} against "
            f"{trained.majority_accuracy:.3f} of {trained.held_out} held-out pictures. Give more pictures of the "
            "other classes, and see `fc7 head evaluate`",
            err=True,
        )
    finish(scan, len(trained.failed), as_json=as_json)


@head.command()
@click.argument("name")
@_version
@json_option
@connected
def publish(connection: Connection, name: str, version: int | None, as_json: bool) -> None:
    """Make a version the one that `fc7 classify` uses; an older one is the way back."""
    with connection.open() as client:
        _print([client.publish_head(name, version or 0)], as_json)


@head.command(name="list")
@click.option("--all", "all_versions", is_flag=True, help="List all versions, oldest first.")
@json_option
@connected
def list_(connection: Connection, all_versions: bool, as_json: bool) -> None:
    """List the newest version of every head."""
    with connection.open() as client:
        _print(client.heads(all_versions=all_versions), as_json)


@head.command()
@click.argument("name")
@_version
@json_option
@connected
def show(connection: Connection, name: str, version: int | None, as_json: bool) -> None:
    """Show one version of a head and how it was trained."""
    with connection.open() as client:
        facts = _facts(client.head(name, version or 0))
    if as_json:
        print_json(facts)
    else:
        provenance = {f"provenance {key}": value for key, value in facts.pop("provenance").items()}
        print_table(("", ""), (facts | {"classes": ", ".join(facts["classes"])} | provenance).items())


@head.command()
@click.argument("name")
@click.option("--version", type=positive, help="Version to delete; the published one is refused.")
@click.option("--all", "is_all", is_flag=True, help="Delete the whole head, published or not.")
@yes_option
@json_option
@connected
def delete(connection: Connection, name: str, version: int | None, is_all: bool, is_sure: bool, as_json: bool) -> None:
    """Delete one version of a head, or with --all the whole head. Asks first; without a terminal, --yes is needed."""
    if is_all == (version is not None):
        raise click.UsageError("Name what to delete: one version with --version N, or the whole head with --all.")
    what = f"head {name!r} with all its versions" if version is None else f"version {version} of head {name!r}"
    with connection.open() as client:
        with contextlib.suppress(DataLoss):  # a damaged one may go too; one that is missing is NotFound
            client.head(name, version or 0)
        confirm(f"Delete {what}?", is_sure=is_sure)
        client.delete_head(name, version, all_versions=is_all)
    if as_json:
        print_json({"name": name, "version": version, "status": "deleted"})
    else:
        print_text(f"head {name} deleted" if version is None else f"version {version} of head {name} deleted")


def _facts(one: Head) -> dict[str, Any]:
    values = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "failed"}
    return values | {"provenance": one.provenance.to_dict()}


def _print(heads: Sequence[Head], as_json: bool) -> None:
    if as_json:
        for one in heads:
            print_json(_facts(one))
        return
    print_table(
        _COLUMNS,
        [
            (
                one.name,
                one.version,
                one.published_version or "-",
                len(one.classes),
                one.count,
                one.accuracy,
                one.majority_accuracy,
                one.method,
                one.provenance.layer,
                one.created,
            )
            for one in heads
        ],
    )
