"""`fc7 classify`: label images with a head or the network's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.classify_collection import classify_collection
from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import ImageLocation, find_images, finish
from fc7.cli.options import (
    check_one_model,
    ensemble_option,
    example,
    exclude_option,
    head_option,
    json_option,
    model_option,
    positive,
    views_option,
    where_option,
)
from fc7.cli.output import print_json, print_note, print_table, progress_bar

if TYPE_CHECKING:
    from fc7 import Classification

_BATCH = 64  # images per request, whose results are printed together
_JSON_TOP = 5  # classes per image with --json and without --top


@example("fc7 classify query.jpg")
@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=ImageLocation())
@click.option(
    "--collection", metavar="NAME", help="Classify the items of this collection from their features. Takes --head."
)
@click.option(
    "--write",
    metavar="FIELD",
    help="Payload field of the items that gets the class. FIELD_probability and FIELD_head are written too.",
)
@where_option
@head_option
@model_option
@ensemble_option
@views_option
@exclude_option
@click.option("--top", type=positive, help="Number of classes to print per image. Defaults to 1, or to 5 with --json.")
@click.option("--refuse-unknown", is_flag=True, help="Refuse pictures of none of the head's classes. Takes --head.")
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Print the classes that hold the right one with this probability, such as 0.9. Takes --head.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME",
    help="Further head that answers too: NAME or NAME/VERSION. Heads on the same features share one pass of the "
    "network. Takes --head. May be given several times.",
)
@json_option
@connected
def classify(
    connection: Connection,
    paths: tuple[Path | str, ...],
    collection: str | None,
    write: str | None,
    where: str | None,
    head: str,
    model: str,
    ensemble: tuple[str, ...],
    views: int,
    scan: FolderScan,
    top: int | None,
    refuse_unknown: bool,
    coverage: float | None,
    also: tuple[str, ...],
    as_json: bool,
) -> None:
    """Classify images with a head or with the network's own classes.

    With --collection, the stored features of its items are classified, and no picture is read.
    Otherwise each PATH is an image file, a folder (searched at any depth), a URL (http or https), or - for
    an image on standard input.

    A head classifies with its published version; `fc7 head publish` chooses that. Several views
    and several models each give probabilities, which are averaged. A head that was published with
    --refuse-unknown, or is used with it here, gives no label to a picture that looks like none of
    its classes. With --json, results are
    printed in batches of 64, as soon as the server has answered.
    """
    if collection is not None:
        if paths or model or ensemble or views != 1 or top or coverage or also or not head:
            raise click.UsageError(
                "--collection takes --head, --where, --write and --refuse-unknown, and no PATH or other option"
            )
        classify_collection(connection, collection, head, where, write, refuse_unknown, as_json)
        return
    if not paths:
        raise click.UsageError("give a PATH to classify, or --collection NAME")
    if write is not None or where is not None:
        raise click.UsageError("--write and --where are for --collection")
    check_one_model(model, ensemble)
    if head and (model or ensemble):
        raise click.UsageError("--head cannot be combined with --model or --ensemble, because a head has its own model")
    if not head and (refuse_unknown or coverage is not None or also):
        raise click.UsageError("--refuse-unknown, --coverage and --also take a head. Name one with --head")
    if top is not None and coverage is not None:
        raise click.UsageError(
            "--top and --coverage exclude each other: the coverage decides how many classes there are"
        )
    images = find_images(paths, scan)
    rows: list[tuple[str, str, float, str]] = []
    n_failed = 0
    with connection.open() as client, progress_bar("classify", len(images), as_json=as_json) as report:
        for first in range(0, len(images), _BATCH):
            batch = images[first : first + _BATCH]
            answers = client.classify(
                [image.source for image in batch],
                head=head,
                model=model,
                ensemble=ensemble,
                views=views,
                top=top or (_JSON_TOP if as_json else 1),
                refuse_unknown=refuse_unknown,
                coverage=coverage,
                also=also,
            )
            for image, answer in zip(batch, answers, strict=True):
                if answer.error is not None:
                    n_failed += 1
                    print_note(image.name, answer.error)
                rows += [(*row, head) for row in _rows(image.name, answer)]
                for name, other in zip(also, answer.also):  # noqa: B905  # empty if the image failed
                    rows += [(*row, name) for row in _rows(image.name, other)]
                if as_json:
                    print_json(_result(image.name, answer, also))
            report(first + len(batch))
    if not as_json:
        columns = ("path", "label", "probability", "head")
        print_table(columns if also else columns[:-1], rows if also else [row[:-1] for row in rows])
    finish(scan, n_failed)


def _rows(path: str, answer: Classification) -> list[tuple[str, str, float]]:
    """Return the rows of the table; "(unknown)" stands for the label of an image that the head refuses."""
    if answer.reason:
        return [(path, f"({answer.reason})", answer.probability)]
    return [(path, label, probability) for label, probability in answer.set or answer.top]


def _result(path: str, answer: Classification, also: Sequence[str] = ()) -> dict[str, object]:
    if answer.error is not None:
        return {"path": path, "error": str(answer.error)}
    top = [[label, probability] for label, probability in answer.top]
    found: dict[str, object] = {"path": path, "label": answer.label, "probability": answer.probability, "top": top}
    if answer.reason:
        found["reason"] = answer.reason
    if answer.set:
        found["set"] = [[label, probability] for label, probability in answer.set]
    if also:
        answers = [_result(path, other) for other in answer.also]
        found["also"] = [{"head": name} | other for name, other in zip(also, answers, strict=True)]
    return found
