"""`fc7 head count`: how many items of a collection are of a class, from a sample that the user checks."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.login import login_name
from fc7.cli.options import example, file_type, json_option, version_option, where_option
from fc7.cli.output import counted, print_json, print_table, print_text
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from fc7 import Collection, Hit, ItemSample

_WORDS = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}


@example("fc7 head count photos --head places --class beach --check 10")
@click.command()
@click.argument("collection")
@click.option("--head", required=True, metavar="NAME", help="Head whose published version looks at the items.")
@version_option
@click.option("--class", "label", required=True, metavar="LABEL", help="Class to count.")
@click.option(
    "--check",
    "n",
    type=click.IntRange(10, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of items to check. Take the same number again to go on.",
)
@click.option(
    "--answers",
    type=file_type,
    metavar="FILE",
    help="CSV file with the columns id and answer (yes or no). Label records hold the other answers.",
)
@where_option
@json_option
@connected
def count(
    connection: Connection,
    collection: str,
    head: str,
    version: int | None,
    label: str,
    n: int,
    answers: Path | None,
    where: str | None,
    as_json: bool,
) -> None:
    """Say how many items of a collection are of a class, with a 95 % interval.

    A sample is drawn, with more items where the head is unsure. You say of each whether it is of
    the class: at a terminal, the command asks, and records each answer as `fc7 label` does.
    Elsewhere, it prints the items that still need an answer. Record them with `fc7 label`, or write
    them to a file for --answers, and run the command again. The same items are drawn while the
    collection and the head stay the same.
    """
    with connection.open() as client:
        sample = client.sample_items(collection, label, head=head, head_version=version or 0, n=n, where=where)
        photos = client.collection(collection, check=False)
        known = _recorded(photos, sample) | ({} if answers is None else _read_answers(answers))
        unsure = _unsure(photos, sample)
        missing = [hit for hit in sample.drawn if hit.id not in known and hit.id not in unsure]
        if missing and answers is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
            missing = _ask(photos, sample, missing, known)
    if missing:
        _print_missing(sample, missing, as_json)
        return
    estimate = sample.estimate(known)
    if as_json:
        print_json(_facts(sample) | {"estimate": asdict(estimate), "missing": []})
    else:
        n_yes = sum(known.get(hit.id, False) for hit in sample.drawn)
        print_text(
            f"about {estimate.value:.0f} of {counted(sample.count, 'item')} are {label!r} (95 % interval "
            f"{estimate.low:.0f} to {estimate.high:.0f})\n{n_yes} of {len(sample.drawn)} checked items are. The head "
            f"{sample.head} alone would say {sample.expected:.0f}"
        )


def _facts(sample: ItemSample) -> dict[str, object]:
    return {
        "head": sample.head,
        "class": sample.label,
        "items": sample.count,
        "drawn": len(sample.drawn),
        "expected": sample.expected,
    }


def _recorded(collection: Collection, sample: ItemSample) -> dict[str, bool]:
    """Return what people said about the items of a sample, by id. Another class is a no."""
    answers: dict[str, bool] = {}
    for record in collection.labels([hit.id for hit in sample.drawn]):
        if record.head_version or record.outdated:
            continue
        if record.label == sample.label:
            answers.pop(record.id, None)
            if record.verdict != "unsure":
                answers[record.id] = record.verdict == "positive"
        elif record.verdict == "positive":
            answers.setdefault(record.id, False)
    return answers


def _unsure(collection: Collection, sample: ItemSample) -> set[str]:
    """Return the items of which a person said that it cannot be told; they count as not drawn."""
    last = {
        record.id: record.verdict
        for record in collection.labels([hit.id for hit in sample.drawn], label=sample.label)
        if not record.head_version and not record.outdated
    }
    return {id for id, verdict in last.items() if verdict == "unsure"}  # noqa: A001


def _read_answers(path: Path) -> dict[str, bool]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "answer"} <= set(rows.fieldnames or ()):
            raise InvalidArgument(f"{str(path)!r} needs the columns id and answer", name=str(path))
        answers = {}
        for line, row in enumerate(rows, start=2):
            word = (row["answer"] or "").strip().lower()
            if word and word not in _WORDS:
                raise InvalidArgument(
                    f"{str(path)!r}, line {line}: answer must be yes or no (got {word[:32]!r})", name=str(path)
                )
            if word:
                answers[row["id"]] = _WORDS[word]
    return answers


def _ask(collection: Collection, sample: ItemSample, missing: list[Hit], known: dict[str, bool]) -> list[Hit]:
    """Ask about each item and record the answers; return those that are left when the user stops."""
    from fc7 import Label

    print_text(f"Is it {sample.label!r}? y for yes, n for no, u if it cannot be told, q to stop and go on later")
    by = login_name()
    for i, hit in enumerate(missing):
        path = hit.payload.get("path")
        word = click.prompt(
            f"{i + 1}/{len(missing)} {hit.id}{f' ({path})' if path and path != hit.id else ''}",
            type=click.Choice(["y", "n", "u", "q"]),
            show_choices=False,
        )
        if word == "q":
            return missing[i:]
        verdict = {"y": "positive", "n": "negative", "u": "unsure"}[word]
        (done,) = collection.add_labels([Label(hit.id, sample.label, verdict, by)])  # type: ignore[arg-type]
        if done.error is not None:
            raise done.error
        if word != "u":
            known[hit.id] = word == "y"
    return []


def _print_missing(sample: ItemSample, missing: list[Hit], as_json: bool) -> None:
    if as_json:
        items = [{"id": hit.id, "probability": hit.score, "payload": hit.payload} for hit in missing]
        print_json(_facts(sample) | {"estimate": None, "missing": items})
        return
    print_table(("id", "probability"), [(hit.id, hit.score) for hit in missing])
    print_text(
        f"\n{len(missing)} of {len(sample.drawn)} drawn items need an answer: is it {sample.label!r}? Record each with "
        "`fc7 label` (--negative for no), or give a file with --answers. Then run the command again"
    )
