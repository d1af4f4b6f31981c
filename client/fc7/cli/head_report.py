"""`fc7 head report`: everything that is known about a head, as text, JSON or one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, file_type, json_option, path_type, version_option
from fc7.cli.output import check_writable, counted, print_json, print_table, print_text, printable, whole_file

if TYPE_CHECKING:
    from fc7 import HeadReport, UnknownRule
    from fc7.client import Client
    from fc7.head_report import JudgedRow

_SHOWN = 10  # rows of each table


@example("fc7 head report places --output report.html")
@click.command()
@click.argument("name")
@version_option
@click.option("--output", type=file_type, metavar="FILE", help="HTML file to write, with the pictures inside.")
@click.option(
    "--pictures",
    type=path_type,
    metavar="FOLDER",
    help="Folder of the pictures that the head was trained on. Defaults to where they were then.",
)
@json_option
@connected
def report(
    connection: Connection, name: str, version: int | None, output: Path | None, pictures: Path | None, as_json: bool
) -> None:
    """Show how good a head is, and which of its pictures to look at.

    Every picture is judged by a head that was fitted without it. The report has the figures with
    their 95 % intervals, the figures per class, confused classes, the learning curve, labels that
    are probably wrong, and almost equal pictures in different classes. With --output, it is one
    HTML file that shows the pictures; it needs no other file and no network.
    """
    if output is not None:
        check_writable(output)
    with connection.open() as client:
        found = client.head_report(name, version or 0)
        if output is not None:
            _write_page(client, found, output, pictures)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if output is not None and not as_json:
        print_text(f"\nwrote {printable(str(output))}")


def _write_page(client: Client, found: HeadReport, output: Path, pictures: Path | None) -> None:
    from fc7.cli.head_pictures import find_pictures
    from fc7.drawing.head_page import draw_head_page, pictured_ids

    page = draw_head_page(found, find_pictures(client, found.head.source, pictures, pictured_ids(found)))
    with whole_file(output) as part:
        part.write_text(page, encoding="utf-8")


def _print(found: HeadReport) -> None:
    measures, evaluation = found.measures, found.evaluate()
    figures = {
        "accuracy": measures.accuracy,
        "balanced accuracy": measures.balanced_accuracy,
        "top-5 accuracy": measures.top5,
        "log loss": measures.log_loss,
        "calibration error": measures.calibration_error,
    }
    rows = [(name, one.value, f"{one.low:.4f} to {one.high:.4f}") for name, one in figures.items() if one is not None]
    print_table(("figure", "value", "95 % interval"), rows)
    print_text(
        f"\nversion {found.head.version} of head {printable(found.head.name)}: {counted(measures.count, 'picture')}, "
        f"each judged by a head that was fitted without it\n"
        f"always answering {printable(measures.majority_label)!r}: {measures.majority_accuracy:.4f}\n"
    )
    print_table(
        ("class", "precision", "recall", "pictures"),
        [(row.label, row.precision, row.recall, row.support) for row in evaluation.classes],
    )
    if evaluation.confusions:
        print_text("")
        print_table(
            ("class", "taken for", "pictures"),
            [(pair.label, pair.predicted, pair.count) for pair in evaluation.confusions[:_SHOWN]],
        )
    _print_rows("labels that are probably wrong", found.suspected)
    _print_rows("most confident mistakes", found.mistakes)
    if found.duplicates:
        print_text("\nalmost the same picture in two classes")
        rows_of_pairs = [
            (pair.first.id, pair.first.label, pair.second.id, pair.second.label, pair.similarity)
            for pair in found.duplicates[:_SHOWN]
        ]
        print_table(("picture", "label", "picture", "label", "similarity"), rows_of_pairs)
    print_text("")
    print_table(("labels", "accuracy"), [(point.count, point.accuracy) for point in found.curve])
    if found.labels_for_one_point is not None:
        print_text(f"about {found.labels_for_one_point} more labels for one more point of accuracy")
    if found.published is not None:
        other = found.published
        print_text(
            f"\nbeside version {other.version}, which is published, on {counted(other.count, 'picture')} of both: "
            f"accuracy {other.accuracy:.4f} against {other.other_accuracy:.4f} "
            f"(McNemar's test: p = {other.p_value:.3f})"
        )
    if found.head.unknown is not None:
        print_text(f"\n{describe_rule(found.head.unknown)}")
    for warning in found.head.warnings:
        print_text(f"fc7: {warning}", err=True)


def describe_rule(rule: UnknownRule) -> str:
    """Return a sentence about what refusing unknown pictures costs."""
    return (
        f"refusing unknown pictures by {rule.score}: {rule.known_kept:.0%} of known pictures are kept, "
        f"{rule.unknown_refused:.0%} of pictures of left-out classes are refused"
    )


def _print_rows(title: str, rows: list[JudgedRow]) -> None:
    if rows:
        print_text(f"\n{title}: {len(rows)}")
        shown = [(row.id, row.label, row.predicted, row.probability) for row in rows[:_SHOWN]]
        print_table(("picture", "label", "answer", "probability"), shown)
