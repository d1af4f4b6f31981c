"""The folders whose pictures `fc7 ui` shows: asked for once, and remembered in the data folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fc7.client import Client

_FILE = "shown_folders.json"


class PictureFolders:
    """What the user has answered about the folders of the pictures in a data folder.

    Parameters
    ----------
    data
        The data folder.
    """

    def __init__(self, data: Path) -> None:
        self._file, self._collections = data / _FILE, data / "collections"
        self._answers: dict[str, bool] = {}  # folder -> whether its pictures are shown
        self._seen: dict[str, list[int]] = {}  # collection -> the state in which it was looked through
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self._answers, self._seen = dict(kept["answers"]), dict(kept["seen"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # never asked, or unreadable: asking again repairs it

    @property
    def shown(self) -> tuple[Path, ...]:
        """The folders whose pictures are shown. Those that are gone are left out."""
        return tuple(Path(folder) for folder, is_shown in self._answers.items() if is_shown and Path(folder).is_dir())

    def find_new(self, client: Client) -> list[Path]:
        """Return the folders from which pictures were added and that nobody was asked about, sorted.

        Only collections that have changed since the last time are looked through.
        """
        states = {path.name: _state(path) for path in self._collections.glob("*")}
        found: set[PurePath] = set()
        for collection in client.collections():
            if collection.fault or self._seen.get(collection.name) == states.get(collection.name):
                continue
            found |= {folder for item in collection if (folder := _folder_of(item.id, item.payload.get("path")))}
        self._seen = states
        known = [Path(folder) for folder in self._answers]
        new = (Path(folder) for folder in found)
        return sorted(folder for folder in new if not any(folder.is_relative_to(one) for one in known))

    def answer(self, folders: Iterable[Path], *, is_shown: bool) -> None:
        """Remember an answer about folders."""
        self._answers |= {str(folder): is_shown for folder in folders}

    def save(self) -> None:
        """Write the answers."""
        text = json.dumps({"answers": self._answers, "seen": self._seen}, indent=2)
        self._file.write_text(text + "\n", encoding="utf-8")


def _folder_of(id: str, path: object) -> PurePath | None:
    """Return the folder that a picture was added from: its path without its id, or the folder that it lies in."""
    if not isinstance(path, str) or not PurePath(path).is_absolute():
        return None
    whole, own = PurePath(path), PurePath(id)
    is_below = own.parts and whole.parts[-len(own.parts) :] == own.parts
    return whole.parents[len(own.parts) - 1] if is_below else whole.parent


def _state(folder: Path) -> list[int]:
    """Return numbers that change whenever something is written to a collection."""
    files = sorted(folder.glob("*.db*"))
    return [number for file in files for number in (file.stat().st_size, file.stat().st_mtime_ns)]
