"""`fc7 label`: say which label fits an item, and list, export and import what was said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.label_from_head import label_from_head
from fc7.cli.login import login_name
from fc7.cli.options import example, json_option, path_type, positive
from fc7.cli.output import (
    check_writable,
    counted,
    exit_if_failed,
    item_outcome,
    print_json,
    print_note,
    print_table,
    print_text,
    progress_bar,
    whole_file,
)

if TYPE_CHECKING:
    from fc7 import Collection, Label, Labelled
    from fc7.results import LabelFormat, Verdict

_TABLE_ROWS = 100
_COLUMNS = ("id", "label", "verdict", "by", "head_version", "time", "outdated")


@example("fc7 label photos beach/a.jpg beach")
@click.command()
@click.argument("name")
@click.argument("id", required=False)
@click.argument("label", required=False)
@click.option("--negative", is_flag=True, help="The label does not fit.")
@click.option("--unsure", is_flag=True, help="It cannot be told whether the label fits.")
@click.option("--undo", is_flag=True, help="Take back the newest record of the item, or that of LABEL.")
@click.option("--by", metavar="NAME", help="Who says so. Defaults to your login name; when listing, to everybody.")
@click.option("--export", type=path_type, metavar="PATH", help="Write the records to a file or a new folder.")
@click.option("--import", "import_", type=path_type, metavar="PATH", help="Record the labels of a file or a folder.")
@click.option(
    "--format",
    type=click.Choice(["csv", "folders", "coco", "label-studio"]),
    help="Format of the file. Defaults to what its name and, for --import, its content say.",
)
@click.option("--from-head", metavar="NAME", help="Record the classes of a head for the items that it is sure of.")
@click.option("--version", type=positive, help="Version of that head. Defaults to the published one.")
@click.option("--above", type=click.FloatRange(0, 1), help="Least probability of such a class, such as 0.95.")
@click.option("--dry-run", is_flag=True, help="With --from-head: write nothing, and print what would be written.")
@json_option
@connected
def label(
    connection: Connection,
    name: str,
    id: str | None,
    label: str | None,
    negative: bool,
    unsure: bool,
    undo: bool,
    by: str | None,
    export: Path | None,
    import_: Path | None,
    format: LabelFormat | None,
    from_head: str | None,
    version: int | None,
    above: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Record which label fits an item of a collection.

    Every record says who said it, and when. For one item and label the newest record holds, and a
    person's record outranks a head's. Without LABEL, the command lists the records of the item, or
    of the whole collection.

    With --from-head, a head records its class for every item whose probability is at least
    --above. Items about which a person has said something are left out.

    Files: csv holds all records, with the columns id, label, verdict, by, head_version and time.
    In folders, each picture lies in the folder of its label, and stands for the items with the same
    bytes. coco and label-studio are JSON. These three get the positive labels that hold.
    """
    n_modes = sum((negative, unsure, undo, export is not None, import_ is not None, from_head is not None))
    if n_modes > 1:
        raise click.UsageError(
            "--negative, --unsure, --undo, --export, --import and --from-head exclude each other. Give one of them"
        )
    if from_head is not None:
        if id is not None or by is not None or above is None:
            raise click.UsageError(
                "--from-head needs --above, and is about the whole collection. Leave ID and --by out"
            )
        label_from_head(connection, name, from_head, version, above, dry_run, as_json)
        return
    if above is not None or dry_run or version is not None:
        raise click.UsageError("--version, --above and --dry-run are for --from-head")
    if (export or import_) and id is not None:
        raise click.UsageError("--export and --import are about the whole collection. Leave ID out")
    if format and not (export or import_):
        raise click.UsageError("--format is for --import and --export")
    if (negative or unsure) and label is None:
        raise click.UsageError("--negative and --unsure need ID and LABEL")
    if undo and id is None:
        raise click.UsageError("--undo needs ID")
    with connection.open() as client:
        collection = client.collection(name, check=False)
        if import_ is not None:
            _import(collection, import_, format, login_name() if by is None else by, as_json)
        elif export is not None:
            _export(collection, export, format, by or "", as_json)
        elif undo:
            assert id is not None
            _undo(collection, id, label or "", by or "", as_json)
        elif id is not None and label is not None:
            verdict: Verdict = "negative" if negative else "unsure" if unsure else "positive"
            _add(collection, id, label, verdict, login_name() if by is None else by, as_json)
        else:
            _list(collection.labels(None if id is None else [id], by=by or ""), as_json)


def _add(collection: Collection, id: str, label: str, verdict: Verdict, by: str, as_json: bool) -> None:
    from fc7 import Label

    (done,) = collection.add_labels([Label(id, label, verdict, by)])
    if done.error is not None:
        raise done.error
    if as_json:
        print_json(item_outcome(done.id, done.status, None))
    elif done.status == "skipped":
        print_text(f"{id}: {label} ({verdict}) was recorded before")
    else:
        print_text(f"{id}: {label} ({verdict}){f' by {by}' if by else ''}")


def _undo(collection: Collection, id: str, label: str, by: str, as_json: bool) -> None:
    from fc7 import Label

    (gone,) = collection.undo_labels([id], label=label, by=by)
    if not isinstance(gone, Label):
        raise gone
    if as_json:
        print_json(asdict(gone))
    else:
        print_text(f"{id}: took back {gone.label} ({gone.verdict}){f' by {gone.by}' if gone.by else ''}")


def _list(labels: Iterable[Label], as_json: bool) -> None:
    if as_json:
        for label in labels:
            print_json(asdict(label))
        return
    found = list(islice(labels, _TABLE_ROWS + 1))
    print_table(_COLUMNS, [[getattr(label, column) or "" for column in _COLUMNS] for label in found[:_TABLE_ROWS]])
    if len(found) > _TABLE_ROWS:
        print_text(f"the first {_TABLE_ROWS} records are shown. --json and --export print all", err=True)


def _export(collection: Collection, output: Path, format: LabelFormat | None, by: str, as_json: bool) -> None:
    if format is None and output.suffix.lower() != ".csv":
        raise click.UsageError(f"--export {str(output)!r} does not end in .csv. Give a --format")
    if format == "folders":
        written = collection.export_labels(output, format=format, by=by)
    else:
        check_writable(output)
        with whole_file(output) as part:
            written = collection.export_labels(part, format=format, by=by)
    for failed in written.failed:
        print_note(failed.id, failed.error)
    if as_json:
        print_json({"name": collection.name, "records": written.count, "output": str(output)})
    else:
        what = "record" if format in (None, "csv") else "label"
        print_text(f"wrote {counted(written.count, what)} of {collection.name} to {output}")
    exit_if_failed(len(written.failed))


def _import(collection: Collection, source: Path, format: LabelFormat | None, by: str, as_json: bool) -> None:
    counts = {"labelled": 0, "skipped": 0, "failed": 0}
    with progress_bar("import", None, as_json=as_json) as move:

        def report(done: Labelled) -> None:
            counts[done.status] += 1
            if done.error is not None:
                print_note(done.id or str(source), done.error)
            if as_json:
                print_json(item_outcome(done.id, done.status, done.error))
            move(sum(counts.values()))

        collection.import_labels(source, format=format, by=by, report=report)
    if not as_json:
        known = f", {counts['skipped']} were recorded before" if counts["skipped"] else ""
        print_text(f"{collection.name}: {counted(counts['labelled'], 'record')} added{known}")
    exit_if_failed(counts["failed"])
