"""`fc7 head`: train, publish, list, show and delete heads."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.head_compare import compare
from fc7.cli.head_count import count
from fc7.cli.head_evaluate import evaluate
from fc7.cli.head_report import describe_rule, report
from fc7.cli.head_shadow import describe, shadow, shadow_facts
from fc7.cli.head_suggest import suggest
from fc7.cli.image_arguments import FoundImage, finish
from fc7.cli.options import (
    example,
    exclude_option,
    file_type,
    json_option,
    layer_option,
    model_option,
    path_type,
    positive,
    version_option,
    yes_option,
)
from fc7.cli.output import confirm, counted, print_json, print_note, print_table, print_text, progress_bar
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from fc7 import Head

_COLUMNS = ("name", "version", "published", "classes", "count", "accuracy", "majority", "method", "layer", "created")


@click.group()
def head() -> None:
    """Train, evaluate, compare, report on, publish, list, show and delete heads."""


head.add_command(compare)
head.add_command(count)
head.add_command(evaluate)
head.add_command(report)
head.add_command(shadow)
head.add_command(suggest)


@example("fc7 head train places holiday")
@head.command()
@click.argument("name")
@click.argument("folder", required=False, type=path_type)
@click.option("--collection", help="Train on the features and labels of this collection instead of FOLDER.")
@click.option("--label", metavar="FIELD", help="Payload field that holds the label in a collection. Defaults to label.")
@click.option(
    "--records",
    is_flag=True,
    help="Take the label records of the collection, which `fc7 label` writes. With --label, they outrank that field.",
)
@click.option(
    "--group",
    metavar="FIELD",
    help="Payload field whose equal values keep items on one side of the split, such as a video or a person.",
)
@click.option(
    "--instant",
    is_flag=True,
    help="Train on --collection in one step, from sums that the server keeps up to date. 500 items judge the head.",
)
@click.option(
    "--balanced", is_flag=True, help="Let every class count as much as any other, however many pictures it has."
)
@click.option(
    "--manifest",
    type=file_type,
    metavar="FILE",
    help="CSV or Parquet file with the columns path and label, and perhaps group and weight, instead of FOLDER.",
)
@layer_option
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
    records: bool,
    group: str | None,
    instant: bool,
    balanced: bool,
    manifest: Path | None,
    layer: str,
    model: str,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Train the next version of a head on a folder or on a collection.

    FOLDER holds one sub-folder per class. --manifest names a table instead; relative paths start at
    its folder. If FOLDER is a data set with train/ and val/, only
    train/ is used.

    The accuracy is measured on a fifth of the images, which are held out. The head is then fitted
    on all of them. Publish it with `fc7 head publish` to use it.
    """
    if sum(source is not None for source in (folder, collection, manifest)) != 1:
        raise click.UsageError("give either FOLDER, --manifest FILE or --collection NAME, and only one of them")
    if collection is not None and (layer or model or scan.exclude):
        raise click.UsageError(
            "--layer, --model and --exclude are not for --collection, which has its own model and layer"
        )
    if collection is None and (label or records or group or instant):
        raise click.UsageError("--label, --records, --group and --instant are for --collection")
    if instant and (group or balanced):
        raise click.UsageError(
            "--instant splits nothing and weighs all items the same: leave out --group and --balanced"
        )
    if manifest is not None and scan.exclude:
        raise click.UsageError("--exclude is for FOLDER")
    data = _read_training_data(folder, manifest, scan)
    images, labels = data.images, data.labels
    with connection.open() as client, progress_bar("train", len(images) or None, as_json=as_json) as bar:
        if collection is not None:
            trained = client.train_head(
                name,
                collection=collection,
                label=label or (None if records else "label"),
                records=records,
                group=group,
                instant=instant,
                balanced=balanced,
            )
        else:
            trained = client.train_head(
                name,
                images=[image.path for image in images],
                labels=labels,
                layer=layer,
                model=model,
                ids=[image.id for image in images],
                groups=data.groups,
                weights=data.weights,
                balanced=balanced,
                source=data.source,
                report=bar,
            )
    for failed in trained.failed:
        print_note(images[failed.index].name, failed.error)
    if as_json:
        print_json(_facts(trained) | {"passed_over": scan.to_dict()})
    else:
        print_heads([trained], as_json)
        if trained.measures is not None:
            print_text(f"\njudged on all {trained.measures.count} pictures: accuracy {trained.measures.accuracy}")
    for warning in trained.warnings or _warnings_of_older_server(trained):
        print_text(f"fc7: {warning}. See `fc7 head report`", err=True)
    finish(scan, len(trained.failed), as_json=as_json)


class _TrainingData(NamedTuple):
    images: list[FoundImage]
    labels: list[str]
    groups: list[str] | None
    weights: list[float] | None
    source: str


def _read_training_data(folder: Path | None, manifest: Path | None, scan: FolderScan) -> _TrainingData:
    """Return the labelled images of a folder or of a table; none for a collection."""
    if manifest is not None:
        from fc7.cli.manifest import read_manifest

        rows = read_manifest(manifest)
        images = [FoundImage(row.name, row.path) for row in rows]
        return _TrainingData(
            images,
            [row.label for row in rows],
            [row.group for row in rows],
            [row.weight for row in rows],
            str(manifest.parent.resolve()),
        )
    if folder is None:
        return _TrainingData([], [], None, None, "")
    from fc7.cli.folder_labels import labelled_images

    return _TrainingData(*labelled_images(folder, scan), None, None, str(folder.resolve()))


@example("fc7 head publish places")
@head.command()
@click.argument("name")
@version_option
@click.option(
    "--refuse-unknown", is_flag=True, help="Give no label to pictures of none of the classes. The price is printed."
)
@json_option
@connected
def publish(connection: Connection, name: str, version: int | None, refuse_unknown: bool, as_json: bool) -> None:
    """Choose the version of a head that `fc7 classify` uses.

    To go back, publish an older version.
    """
    with connection.open() as client:
        published = client.publish_head(name, version or 0, refuse_unknown=refuse_unknown)
    print_heads([published], as_json)
    if refuse_unknown and published.unknown is not None and not as_json:
        print_text(f"\n{describe_rule(published.unknown)}")


@example("fc7 head export places --output places-head")
@head.command()
@click.argument("name")
@version_option
@click.option("--output", required=True, type=path_type, metavar="DIR", help="New folder to write.")
@json_option
@connected
def export(connection: Connection, name: str, version: int | None, output: Path, as_json: bool) -> None:
    """Write a head and its network to a folder that classifies without fc7.

    model.onnx holds both. run.py shows how to use it. It needs onnxruntime, NumPy and Pillow alone,
    and checks itself with the reference pictures in the folder.
    """
    with connection.open() as client:
        exported = client.export_head(name, output, version=version or 0)
    if as_json:
        print_json({"name": name, "version": exported.version, "folder": str(output)})
    else:
        print_text(f"wrote version {exported.version} of head {name} to {output}. Try it: python {output}/run.py")


@example("fc7 head list")
@head.command(name="list")
@click.option("--all", "all_versions", is_flag=True, help="List every version, oldest first.")
@json_option
@connected
def list_(connection: Connection, all_versions: bool, as_json: bool) -> None:
    """List the newest version of every head."""
    with connection.open() as client:
        print_heads(client.heads(all_versions=all_versions), as_json)


@example("fc7 head show places")
@head.command()
@click.argument("name")
@version_option
@json_option
@connected
def show(connection: Connection, name: str, version: int | None, as_json: bool) -> None:
    """Show a version of a head and how it was trained."""
    with connection.open() as client:
        facts = _facts(client.head(name, version or 0))
        in_shadow = client.shadow(name)
    if as_json:
        print_json(facts | {"shadow": shadow_facts(in_shadow)})
    else:
        provenance = {f"provenance {key}": value for key, value in facts.pop("provenance").items()}
        rule = facts.pop("unknown")
        for name in ("score", "threshold", "known_kept", "unknown_refused") if rule else ():
            facts[f"unknown {name.replace('_', ' ')}"] = rule[name]
        texts = {"classes": ", ".join(facts["classes"]), "warnings": ". ".join(facts["warnings"])}
        texts |= {} if in_shadow is None else {"shadow": describe(in_shadow)}
        measures = {
            name.replace("_", " "): f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
            for name, one in (facts.pop("measures") or {}).items()
            if isinstance(one, dict)
        }
        print_table(("", ""), (facts | texts | {f"judged {k}": v for k, v in measures.items()} | provenance).items())


@example("fc7 head delete places --version 2")
@head.command()
@click.argument("name")
@click.option("--version", type=positive, help="Version to delete. The published version is refused.")
@click.option("--all", "is_all", is_flag=True, help="Delete every version, published or not.")
@yes_option
@json_option
@connected
def delete(connection: Connection, name: str, version: int | None, is_all: bool, is_sure: bool, as_json: bool) -> None:
    """Delete a version of a head, or with --all the whole head.

    The command asks for confirmation. If there is no terminal, it needs --yes.
    """
    if is_all == (version is not None):
        raise click.UsageError("say what to delete: one version with --version N, or the whole head with --all")
    what = f"head {name!r} with all its versions" if version is None else f"version {version} of head {name!r}"
    with connection.open() as client:
        with contextlib.suppress(DataLoss):  # a damaged head can be deleted too; a missing one raises NotFound
            client.head(name, version or 0)
        confirm(f"Delete {what}?", is_sure=is_sure)
        client.delete_head(name, version, all_versions=is_all)
    if as_json:
        print_json({"name": name, "version": version, "status": "deleted"})
    else:
        print_text(f"deleted head {name}" if version is None else f"deleted version {version} of head {name}")


def _warnings_of_older_server(head: Head) -> list[str]:
    """Return what a server before release 0.3 does not say itself."""
    if head.measures is not None or head.majority_accuracy is None or head.accuracy > head.majority_accuracy:
        return []
    pictures = counted(head.held_out, "held-out picture")
    return [
        "the head is no better than always answering the largest class: its accuracy is "
        f"{head.accuracy:.3f} on {pictures}, against {head.majority_accuracy:.3f}. Add pictures of the other classes"
    ]


def _facts(head: Head) -> dict[str, Any]:
    values = {field.name: getattr(head, field.name) for field in fields(head) if field.name != "failed"}
    measures = None if head.measures is None else asdict(head.measures)
    unknown = None if head.unknown is None else asdict(head.unknown)
    return values | {"provenance": head.provenance.to_dict(), "measures": measures, "unknown": unknown}


def print_heads(heads: Sequence[Head], as_json: bool) -> None:
    """Print heads as a table, or as one JSON object per line."""
    if as_json:
        for each in heads:
            print_json(_facts(each))
        return
    print_table(
        _COLUMNS,
        [
            (
                each.name,
                each.version,
                each.published_version or "-",
                len(each.classes),
                each.count,
                each.accuracy,
                each.majority_accuracy,
                each.method,
                each.provenance.layer,
                each.created,
            )
            for each in heads
        ],
    )
