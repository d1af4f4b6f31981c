"""`fc7 classify --collection` and `fc7 search --class`: a head on the stored features of a collection."""

from __future__ import annotations

from collections import Counter

from fc7.cli.connection import Connection
from fc7.cli.output import counted, exit_if_failed, print_json, print_note, print_table, print_text, progress_bar


def classify_collection(
    connection: Connection,
    collection: str,
    head: str,
    where: str | None,
    write: str | None,
    refuse_unknown: bool,
    as_json: bool,
) -> None:
    """Classify all items and print one line per item as JSON, or how many there are of each class."""
    with connection.open() as client, progress_bar("classify", None, as_json=as_json) as report:
        items = client.classify_items(
            collection, head=head, where=where, write=write, refuse_unknown=refuse_unknown, report=report
        )
    failed = [item for item in items if item.error is not None]
    for item in failed:
        print_note(item.id, item.error)
    if as_json:
        for item in items:
            row: dict[str, object] = {"id": item.id, "label": item.label, "probability": item.probability}
            row |= {"reason": item.reason} if item.reason else {}
            print_json(row | ({} if item.error is None else {"error": str(item.error)}))
    else:
        counts: Counter[str] = Counter(item.label or f"({item.reason})" for item in items)
        print_table(("class", "items"), counts.most_common())
        if write is not None:
            print_text(f"\nwrote {write!r} to {counted(len(items) - len(failed), 'item')} of {collection}")
    exit_if_failed(len(failed))


def rank_collection(
    connection: Connection,
    collection: str,
    label: str,
    head: str,
    k: int,
    near_score: float | None,
    where: str | None,
    as_json: bool,
) -> None:
    """Print the items that are most probably of a class."""
    with connection.open() as client:
        hits = client.rank_items(collection, label, head=head, k=k, near_score=near_score, where=where)
    if as_json:
        for hit in hits:
            print_json({"id": hit.id, "probability": hit.score, "payload": hit.payload})
    else:
        print_table(("id", "probability"), [(hit.id, hit.score) for hit in hits])
