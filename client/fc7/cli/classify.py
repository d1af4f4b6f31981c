"""`fc7 classify`: labels for images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images, finish, paths_argument
from fc7.cli.options import (
    check_one,
    ensemble_option,
    exclude_option,
    json_option,
    model_option,
    positive,
    views_option,
)
from fc7.cli.output import print_json, print_note, print_table, progress_bar

if TYPE_CHECKING:
    from fc7 import Classification

_BATCH = 64  # images: what is printed at once
_JSON_TOP = 5  # classes per image, where --top says nothing


@click.command()
@paths_argument
@click.option("--head", default="", help="Published head; without: the network's own classes.")
@model_option
@ensemble_option
@views_option
@exclude_option
@click.option("--top", type=positive, help="Classes per image. Defaults to 1, with --json to 5.")
@json_option
@connected
def classify(
    connection: Connection,
    paths: tuple[Path | str, ...],
    head: str,
    model: str,
    ensemble: tuple[str, ...],
    views: int,
    scan: FolderScan,
    top: int | None,
    as_json: bool,
) -> None:
    """Classify images with a head or the network's own classes.

    PATH is a file, a folder, a URL (http, https) or - for standard input.

    Of a head the published version is used; `fc7 head publish` says which that is. The
    probabilities of several views, and of an ensemble of networks, are averaged.
    """
    check_one(model, ensemble)
    if head and (model or ensemble):
        raise click.UsageError("--model and --ensemble go without --head: a head knows its model")
    images = find_images(paths, scan)
    rows: list[tuple[str, str, float]] = []
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
            )
            for image, answer in zip(batch, answers, strict=True):
                if answer.error is not None:
                    n_failed += 1
                    print_note(image.name, answer.error)
                rows += [(image.name, label, probability) for label, probability in answer.top]
                if as_json:
                    print_json(_facts(image.name, answer))
            report(first + len(batch))
    if not as_json:
        print_table(("path", "label", "probability"), rows)
    finish(scan, n_failed)


def _facts(path: str, answer: Classification) -> dict[str, object]:
    if answer.error is not None:
        return {"path": path, "error": str(answer.error)}
    top = [[label, probability] for label, probability in answer.top]
    return {"path": path, "label": answer.label, "probability": answer.probability, "top": top}
