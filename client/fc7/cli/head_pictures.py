"""Where the pictures of a head's report are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.errors import Fc7Error, NotFound

if TYPE_CHECKING:
    from fc7.client import Client

_COLLECTION = "collection "  # begins the source of a head that was trained on one


def find_pictures(client: Client, source: str, folder: Path | None, ids: Sequence[str]) -> dict[str, Path]:
    """Return the file of each picture that is on this machine, by id.

    It lies below ``folder`` or, by default, below the folder that ``source`` names. If ``source`` names a collection,
    the payload of each item says where its file is.
    """
    if folder is None and source.startswith(_COLLECTION):
        paths = _in_collection(client, source.removeprefix(_COLLECTION), ids)
    else:
        root = folder or Path(source)
        paths = {name: root / name for name in ids}
    return {name: path for name, path in paths.items() if path.is_file()}


def _in_collection(client: Client, name: str, ids: Sequence[str]) -> dict[str, Path]:
    try:
        items = client.collection(name, check=False).get(ids)
    except NotFound:  # deleted since: the report shows ids without pictures
        return {}
    known = {item.id: item.payload.get("path") for item in items if not isinstance(item, Fc7Error)}
    return {name: Path(path) for name, path in known.items() if isinstance(path, str)}
