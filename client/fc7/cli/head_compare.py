"""`fc7 head compare`: which of two heads is better, and whether that may be chance."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import finish
from fc7.cli.options import example, exclude_option, json_option, where_option
from fc7.cli.output import counted, print_json, print_table, print_text, progress_bar

if TYPE_CHECKING:
    from fc7 import ComparedHeads

_SHOWN = 20  # differing pictures
_P_CLEAR = 0.05  # above, a difference may be chance


@example("fc7 head compare places/1 places/2 --on unseen")
@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--on", required=True, metavar="FOLDER|COLLECTION", help="Labelled pictures. A folder of this name is taken first."
)
@click.option("--label", metavar="FIELD", help="Payload field that holds the label in a collection. Defaults to label.")
@click.option(
    "--records", is_flag=True, help="Take the label records of the collection. With --label, they outrank that field."
)
@where_option
@exclude_option
@json_option
@connected
def compare(
    connection: Connection,
    first: str,
    second: str,
    on: str,
    label: str | None,
    records: bool,
    where: str | None,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Say which of two heads is better on the same labelled pictures.

    A and B are heads or versions: NAME (its newest version) or NAME/VERSION, published or not. A
    folder holds one sub-folder per class. If it is a data set with train/ and val/ (or test/), only
    val/ (or test/) is used. The pictures go through the network once.

    Prints the accuracy of both with its 95 % interval, how likely such a difference is by chance
    (McNemar's test), and the pictures on which the heads differ.
    """
    folder = Path(on)
    if not folder.is_dir():
        if scan.exclude:
            raise click.UsageError("--exclude is for a folder")
        with connection.open() as client:
            field = label or (None if records else "label")
            found = client.compare_heads(first, second, collection=on, label=field, records=records, where=where)
        _print(found, as_json)
        return
    if label or records or where is not None:
        raise click.UsageError("--label, --records and --where are for a collection")
    from fc7.cli.folder_labels import HELD_OUT, labelled_images

    images, labels = labelled_images(folder, scan, HELD_OUT)
    with connection.open() as client, progress_bar("compare", len(images), as_json=as_json) as report:
        found = client.compare_heads(
            first,
            second,
            images=[image.path for image in images],
            labels=labels,
            ids=[image.name for image in images],
            report=report,
        )
    _print(found, as_json)
    finish(scan, found.failed, as_json=as_json)


def _print(found: ComparedHeads, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
    else:
        rows = [
            (found.first, str(found.first_accuracy), found.only_first),
            (found.second, str(found.second_accuracy), found.only_second),
        ]
        print_table(("head", "accuracy (95 % interval)", "alone right"), rows)
        word = "may be chance" if found.p_value > _P_CLEAR else "is real"
        difference = found.second_accuracy.value - found.first_accuracy.value
        print_text(
            f"\n{counted(found.count, 'picture')}, {found.n_differing} answered differently\n"
            f"difference {difference:+.3f}: it {word} (McNemar's test: p = {found.p_value:.3g})"
            if found.only_first + found.only_second
            else f"\n{counted(found.count, 'picture')}, {found.n_differing} answered differently; both are right "
            "equally often"
        )
        if found.differing:
            print_text("")
            print_table(
                ("picture", "label", found.first, found.second),
                [(one.id, one.label, one.first, one.second) for one in found.differing[:_SHOWN]],
            )
        if len(found.differing) > _SHOWN:
            print_text(f"and {len(found.differing) - _SHOWN} more, which --json lists")
    if found.trained_on:
        print_text(
            f"fc7: one of the heads was trained on {found.trained_on} of these {counted(found.count, 'item')}, which "
            "flatters it. --where can leave them out",
            err=True,
        )
    if found.unknown_labels:
        print_text(
            f"fc7: {counted(found.unknown_labels, 'picture')} left out, because one of the heads does not know the "
            "label",
            err=True,
        )
