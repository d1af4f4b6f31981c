"""The folders of all heads: ``NAME/VERSION/`` and, once a version is published, ``NAME/published.json``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from fc7.errors import DataLoss, FailedPrecondition, NotFound, Reason, Unavailable
from fc7_service.bundle.disk import hide_folder, new_folder, remove_leftovers, sync_folder
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.judgement import Judgement
from fc7_service.heads.records import describe, read_record, translated_disk_errors, write_record
from fc7_service.heads.version_files import (
    read_classifier,
    read_judgement,
    read_version,
    write_version,
)

PUBLICATION = "published.json"
_N_NAMED = 10  # versions that one message lists


class Publication(NamedTuple):
    """What ``published.json`` remembers about a head; 0 stands for none."""

    published: int = 0  # version that classifies
    last_deleted: int = 0  # highest version that was deleted: its number is not given again
    refuses_unknown: bool = False  # whether the published version refuses pictures of none of its classes


class HeadFolders:
    """Versions of heads on disk. A version appears whole or not at all; the caller excludes two writers at once.

    Parameters
    ----------
    root
        The folder of all heads; made when the first one is stored.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        remove_leftovers(root)

    def names(self) -> list[str]:
        """Return the names in the folder, sorted; those without a version too."""
        return sorted(os.listdir(self._root)) if self._root.is_dir() else []

    def versions(self, name: str) -> list[int]:
        """Return the versions of a head, oldest first; none if it does not exist."""
        folder = self._root / name
        if name.startswith(".") or not folder.is_dir():
            return []
        return sorted(int(entry) for entry in os.listdir(folder) if entry.isascii() and entry.isdigit())

    def check_exists(self, name: str, version: int) -> None:
        """Refuse a head that does not exist, or a version (0 for any) that it does not have.

        Raises
        ------
        NotFound
            Some of the versions that exist are named.
        """
        versions = self.versions(name)
        if not versions:
            raise NotFound(f"head {name!r} does not exist: train it first", name=name, reason=Reason.HEAD_NOT_FOUND)
        if version and version not in versions:
            raise NotFound(
                f"head {name!r} has no version {version}: choose one of {', '.join(map(str, versions[-_N_NAMED:]))}",
                name=name,
                reason=Reason.HEAD_VERSION_NOT_FOUND,
            )

    def read(self, name: str, version: int) -> HeadVersion:
        """Return what is recorded about a version; errors as ``read_version``."""
        return read_version(self._folder(name, version), name, version)

    def read_classifier(self, name: str, version: int) -> Classifier:
        """Return a version with its weights; errors as ``read_version`` and ``read_classifier``."""
        return read_classifier(self._folder(name, version), self.read(name, version))

    def read_judgement(self, name: str, version: int) -> tuple[HeadVersion, Judgement]:
        """Return a version and what was found out about it; errors as ``read_version`` and ``read_judgement``."""
        record = self.read(name, version)
        return record, read_judgement(self._folder(name, version), record)

    def add(self, version: HeadVersion, weights: bytes, judgement: bytes, report: dict[str, Any]) -> None:
        """Store a new version; it is on disk when this returns.

        Raises
        ------
        Unavailable
            The data folder is gone.
        ResourceExhausted
            The disk is full.
        """
        if not self._root.parent.is_dir():
            raise Unavailable(
                f"head {version.name!r} cannot be stored: the data folder is gone. Restore it, then restart the server",
                name=version.name,
            )
        final = self._folder(version.name, version.version)
        with translated_disk_errors(version.name):
            final.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root.parent)
            sync_folder(self._root)
            with new_folder(final, self._root) as folder:
                write_version(folder, version, weights, judgement, report)

    def remove(self, name: str, version: int = 0) -> None:
        """Delete a version, or with 0 the whole head: it is out of sight in one step."""
        folder = self._folder(name, version) if version else self._root / name
        with translated_disk_errors(name):
            hidden = hide_folder(folder, self._root)
        shutil.rmtree(hidden, ignore_errors=True)

    def publication(self, name: str) -> Publication:
        """Return which version of a head is published.

        Raises
        ------
        DataLoss
            ``published.json`` is damaged; the versions that are whole are named.
        FailedPrecondition
            A newer fc7 wrote it.
        """
        path = self._root / name / PUBLICATION
        if not path.exists():
            return Publication()
        try:
            values = read_record(path, name)
        except DataLoss as error:
            whole = ", ".join(str(version) for version in self.versions(name) if self._is_whole(name, version))
            advice = f"Whole versions: {whole}. Publish one of them" if whole else "Train it again"
            raise DataLoss(
                f"{describe(path, name)} is damaged, so it is unknown which version is published. {advice}",
                name=name,
                reason=Reason.HEAD_DAMAGED,
            ) from error
        return Publication(values["published"], values["last_deleted"], values.get("refuses_unknown", False))

    def set_publication(self, name: str, publication: Publication) -> None:
        """Replace what ``publication`` returns; it is on disk when this returns."""
        with translated_disk_errors(name):
            write_record(self._root / name / PUBLICATION, publication._asdict())

    def last_deleted(self, name: str) -> int:
        """Return the highest version that was deleted; 0 if there is none, or if ``published.json`` is damaged."""
        try:
            return self.publication(name).last_deleted
        except DataLoss:
            return 0

    def _folder(self, name: str, version: int) -> Path:
        return self._root / name / str(version)

    def _is_whole(self, name: str, version: int) -> bool:
        try:
            self.read_classifier(name, version)
        except (DataLoss, FailedPrecondition):
            return False
        return True
