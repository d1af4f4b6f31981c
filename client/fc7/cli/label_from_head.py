"""`fc7 label --from-head`: label records by a head about the items that it is sure of."""

from __future__ import annotations

from collections import Counter

from fc7.cli.connection import Connection
from fc7.cli.output import counted, exit_if_failed, print_json, print_note, print_table, print_text, progress_bar


def label_from_head(
    connection: Connection, name: str, head: str, version: int | None, above: float, dry_run: bool, as_json: bool
) -> None:
    """Write the records, or with ``dry_run`` print what would be written."""
    with connection.open() as client, progress_bar("label", None, as_json=as_json) as report:
        items = client.label_items(
            name, head=head, head_version=version or 0, above=above, dry_run=dry_run, report=report
        )
    failed = [item for item in items if item.error is not None]
    for item in failed:
        print_note(item.id, item.error)
    if as_json:
        for item in items:
            row: dict[str, object] = {"id": item.id, "label": item.label, "probability": item.probability}
            row |= {"status": "dry run" if dry_run else "failed" if item.error else "labelled"}
            print_json(row | ({"error": str(item.error)} if item.error else {}))
    else:
        print_table(("label", "items"), Counter(item.label or "" for item in items if not item.error).most_common())
        n_done = counted(len(items) - len(failed), "item")
        print_text(f"\n{f'would label {n_done}' if dry_run else f'labelled {n_done}'} of {name} by head {head}")
    exit_if_failed(len(failed))
