"""`fc7 classify`: labels for images."""

from __future__ import annotations

from pathlib import Path

import click

from fc7.cli.images import find_images, paths_argument
from fc7.cli.output import complain, emit, end, json_option, progress, table
from fc7.cli.setting import Connection, connected


@click.command()
@paths_argument
@click.option("--head", default="", help="Published head; without: the network's own classes.")
@click.option("--model", default="", help="Model to use without a head; without: the server's first.")
@json_option
@connected
def classify(connection: Connection, paths: tuple[Path, ...], head: str, model: str, as_json: bool) -> None:
    """Classify images with a head or the network's own classes.

    Of a head the published version is used; `fc7 head publish` says which that is.
    """
    if head and model:
        raise click.UsageError("--model goes without --head: a head knows its model")
    images = find_images(paths)
    with connection.open() as client, progress("classify", len(images), as_json=as_json) as report:
        answers = client.classify([image.path for image in images], head=head, model=model, report=report)
    rows = []
    for image, answer in zip(images, answers, strict=True):
        path = str(image.path)
        if answer.error is not None:
            complain(path, answer.error)
            row: dict[str, object] = {"path": path, "error": str(answer.error)}
        else:
            rows.append((path, answer.label, answer.probability))
            top = [[label, probability] for label, probability in answer.top]
            row = {"path": path, "label": answer.label, "probability": answer.probability, "top": top}
        if as_json:
            emit(row)
    if not as_json:
        table(("path", "label", "probability"), rows)
    end(len(answers) - len(rows))
