"""The sheet of `fc7 search`: the queries and their neighbours as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fc7.cli.output import check_writable
from fc7.cli.search_queries import Asked
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Collection, Hits


def check_sheet(sheet: Path) -> None:
    """Refuse a file that cannot be drawn into, before the search."""
    from fc7.drawing.page import check_format

    check_format(sheet)
    check_writable(sheet)


def draw_sheet(sheet: Path, collection: Collection, asked: Asked, answers: Sequence[Hits | Fc7Error]) -> None:
    """Draw a row per query, with the query first."""
    from fc7.drawing.contact_sheet import QueryRow, Tile, draw_contact_sheet

    rows = []
    for i, (title, answer) in enumerate(zip(asked.titles(), answers, strict=True)):
        payload = _query_payload(collection, asked, i, title)
        hits = [] if isinstance(answer, Fc7Error) else answer
        tiles = [Tile(_path(hit.payload), (hit.id, f"{hit.score:.4f}", _label(hit.payload))) for hit in hits]
        rows.append(QueryRow(Tile(_path(payload), ("query", title, _label(payload))), tiles))
    draw_contact_sheet(rows, sheet)


def _query_payload(collection: Collection, asked: Asked, i: int, title: str) -> dict[str, Any]:
    """Return what is known about a query; it may say where its picture is."""
    if i < len(asked.images):
        image = asked.images[i]
        return {"path": str(image)} if isinstance(image, Path) else {}
    return _stored_payload(collection, title) if title in asked.ids else {}


def _stored_payload(collection: Collection, item_id: str) -> dict[str, Any]:
    item = collection.get([item_id])[0]
    if isinstance(item, Fc7Error):
        raise item
    return item.payload


def _path(payload: dict[str, Any]) -> Path | None:
    path = payload.get("path")
    return Path(path) if isinstance(path, str) else None


def _label(payload: dict[str, Any]) -> str:
    return str(payload.get("label", ""))
