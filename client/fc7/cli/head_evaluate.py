"""`fc7 head evaluate`: measure how often a head is right about labelled pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images, finish
from fc7.cli.options import example, exclude_option, folder_argument, json_option, path_type, version_option
from fc7.cli.output import counted, print_json, print_note, print_table, print_text, printable, progress_bar
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from fc7 import Head
    from fc7.client import Client
    from fc7.evaluation import Evaluation

_CONFUSIONS = 10  # rows of the table


@example("fc7 head evaluate places unseen")
@click.command()
@click.argument("name")
@folder_argument
@version_option
@click.option(
    "--unknown",
    "strangers",
    type=path_type,
    metavar="FOLDER",
    help="Folder of pictures of none of the classes. Prints which share of them the head refuses.",
)
@exclude_option
@json_option
@connected
def evaluate(
    connection: Connection,
    name: str,
    folder: Path,
    version: int | None,
    strangers: Path | None,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Measure how often a head is right about labelled pictures.

    FOLDER holds one sub-folder per class, with pictures that the head was not trained on. If
    FOLDER is a data set with train/ and val/ (or test/), only val/ (or test/) is used. The version need not be
    published.

    Prints precision, recall and the number of pictures of each class, the most frequent
    confusions, and the accuracy with its 95 % interval. Classes that the head does not know are
    left out and named.
    """
    from fc7.cli.folder_labels import HELD_OUT, labelled_images
    from fc7.evaluation import evaluate as compare

    images, labels = labelled_images(folder, scan, HELD_OUT)
    with connection.open() as client:
        head = client.head(name, version or 0)
        known = [(image, label) for image, label in zip(images, labels, strict=True) if label in head.classes]
        unknown = sorted(set(labels) - set(head.classes))
        if not known:
            raise InvalidArgument(
                f"head {name!r} knows no class of {str(folder)!r}. Its classes are: {', '.join(head.classes)}",
                name=name,
            )
        with progress_bar("evaluate", len(known), as_json=as_json) as report:
            paths = [image.path for image, _ in known]
            answers = client.classify(paths, head=name, head_version=head.version, top=1, report=report)
        price = None if strangers is None else _measure_price(client, head, paths, strangers, scan)
    for (image, _), answer in zip(known, answers, strict=True):
        if answer.error is not None:
            print_note(image.name, answer.error)
    pairs = [(label, answer.top[0][0]) for (_, label), answer in zip(known, answers, strict=True) if not answer.error]
    n_failed = len(known) - len(pairs)
    if not pairs:
        raise InvalidArgument(f"no picture of {str(folder)!r} could be read", name=str(folder))
    found = compare([label for label, _ in pairs], [predicted for _, predicted in pairs])
    if as_json:
        facts = {"head": name, "version": head.version, **asdict(found), "unknown_classes": unknown}
        facts |= {} if price is None else {"refusing": price}
        print_json(facts | {"failed": n_failed, "passed_over": scan.to_dict()})
    else:
        _print(found, f"version {head.version} of head {name}")
        if price is not None:
            print_text(
                f"refusing unknown pictures: {price['known_kept']:.3f} of {price['known']} known pictures are kept, "
                f"{price['unknown_refused']:.3f} of {price['unknown']} others are refused"
            )
    if unknown:
        n_left_out = len(images) - len(known)
        print_text(
            f"fc7: {counted(n_left_out, 'picture')} left out, because the head does not know the "
            f"{'class' if len(unknown) == 1 else 'classes'} {printable(', '.join(unknown))}",
            err=True,
        )
    finish(scan, n_failed, as_json=as_json)


def _measure_price(
    client: Client, head: Head, paths: list[Path], strangers: Path, scan: FolderScan
) -> dict[str, float]:
    """Return which share of pictures of the classes is kept, and which share of pictures of none is refused."""

    def refused(pictures: list[Path]) -> list[bool]:
        answers = client.classify(pictures, head=head.name, head_version=head.version, top=1, refuse_unknown=True)
        return [answer.reason == "unknown" for answer in answers if answer.error is None]

    known = refused(paths)
    unknown = refused([image.path for image in find_images([strangers], scan)])
    if not unknown:
        raise InvalidArgument(f"no picture of {str(strangers)!r} could be read", name=str(strangers))
    return {
        "known": len(known),
        "known_kept": 1 - sum(known) / len(known),
        "unknown": len(unknown),
        "unknown_refused": sum(unknown) / len(unknown),
    }


def _print(found: Evaluation, head: str) -> None:
    rows = [(row.label, row.precision, row.recall, row.support) for row in found.classes]
    print_table(("class", "precision", "recall", "pictures"), rows)
    if found.confusions:
        print_text("")
        shown = found.confusions[:_CONFUSIONS]
        print_table(("class", "taken for", "pictures"), [(pair.label, pair.predicted, pair.count) for pair in shown])
        if len(found.confusions) > len(shown):
            print_text(f"and {counted(len(found.confusions) - len(shown), 'more pair')} of classes, which --json lists")
    low, high = found.interval
    print_text(
        f"\n{printable(head)}: accuracy {found.accuracy:.3f} on {counted(found.count, 'picture')} "
        f"(95 % interval {low:.3f} to {high:.3f})\n"
        f"always answering {printable(found.majority_label)!r}: {found.majority_accuracy:.3f}"
    )
