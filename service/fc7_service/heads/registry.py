"""All heads of a data folder: trained, versioned, published."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, Fc7Error, NotFound, Reason, Unavailable
from fc7_service.bundle.disk import hide_folder, new_folder, remove_leftovers, sync_folder
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.files import (
    POINTER,
    changing,
    pack,
    read_head,
    read_record,
    read_softmax,
    write_record,
    write_version,
)
from fc7_service.heads.fit import StopCheck, fit, never_stop
from fc7_service.heads.head import UNREADABLE, Classifier, HeadVersion

Rows = tuple[NDArray[np.float32], Sequence[str], Sequence[str]]  # features (N, D), label and content hash of each


class Heads:
    """The heads under one folder: ``NAME/VERSION/`` and, once published, ``NAME/published.json``.

    A version appears whole or not at all. As long as the head is there, the number of a deleted
    version is not given again, unless the ``published.json`` that remembers it was damaged; a head
    that was deleted wholly begins at 1 again. One process owns the folder; within it, calls may
    come from several threads.

    Parameters
    ----------
    path
        The folder; made when the first head is stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()  # around everything that writes, and the cache
        self._turn = asyncio.Lock()  # one training at a time: each wants the cores for itself
        self._trainer = ThreadPoolExecutor(1, thread_name_prefix="fc7-fit")
        self._is_closing = threading.Event()
        self._ready: dict[str, Classifier] = {}
        remove_leftovers(path)

    def check_name(self, name: str) -> None:
        """Refuse a name that no head can have.

        Raises
        ------
        InvalidArgument
            Naming the rule.
        """
        check_name(name, "head")

    def train(
        self,
        name: str,
        features: NDArray[np.float32],
        labels: Sequence[str],
        groups: Sequence[str],
        provenance: Provenance,
        check: StopCheck = never_stop,
    ) -> HeadVersion:
        """Fit the next version of a head and store it, unpublished.

        Parameters
        ----------
        name
            Of a new head or of one that gets another version.
        features
            float32 (N, D), raw.
        labels
            Class of each row.
        groups
            Content hash of each row: copies are held out together.
        provenance
            What made the features.
        check
            Called now and then, the last time before the version is stored; what it raises ends the training.

        Returns
        -------
        HeadVersion
            On disk.

        Raises
        ------
        InvalidArgument
            A bad name; values that are not finite; fewer than two classes, or than two different images in one.
        ResourceExhausted
            The disk is full, or the rows or classes are too many.
        """
        self.check_name(name)
        start = time.monotonic()
        found = fit(features, labels, groups, check)
        seconds, weights = time.monotonic() - start, pack(found.softmax)
        with self._lock:
            check()
            parent = max(self._versions(name), default=0)
            head = HeadVersion(
                name=name,
                version=max(parent, self._last_deleted(name)) + 1,
                provenance=provenance,
                classes=found.classes,
                count=len(labels),
                accuracy=found.accuracy,
                majority_accuracy=found.majority_accuracy,
                held_out=found.held_out,
                method=found.method,
                seconds=seconds,
                weights_sha256=hashlib.sha256(weights).hexdigest(),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                parent_version=parent,
            )
            with changing(name):
                self._store(head, weights, {"nll": found.nll, "strength": found.strength})
        return head

    async def train_in_turn(self, name: str, read: Callable[[], Rows], provenance: Provenance) -> HeadVersion:
        """Do as ``train`` when the trainings before have ended; nothing is stored if this is cancelled.

        Parameters
        ----------
        name, provenance
            As ``train`` takes them.
        read
            Returns features, labels and groups; called when it is this one's turn, so that those who wait hold none.

        Raises
        ------
        Unavailable
            ``close`` came first.
        """
        has_left = threading.Event()

        def check() -> None:
            if has_left.is_set() or self._is_closing.is_set():
                raise Unavailable(
                    "the training was stopped and nothing stored: send the call again",
                    name=name,
                    reason=Reason.SERVER_STOPPING,
                )

        def train() -> HeadVersion:
            check()
            features, labels, groups = read()
            return self.train(name, features, labels, groups, provenance, check)

        loop = asyncio.get_running_loop()
        async with self._turn:  # and not in the queue of the thread, where the rows of those who left would stay
            check()
            try:
                return await loop.run_in_executor(self._trainer, train)
            finally:
                has_left.set()

    def close(self) -> None:
        """Stop the training under way, and wait until it has; nothing of it is stored."""
        self._is_closing.set()
        self._trainer.shutdown()

    def publish(self, name: str, version: int = 0) -> HeadVersion:
        """Make a version, 0 for the newest, the one that ``classifier`` returns.

        Raises
        ------
        NotFound
            No such head or version.
        DataLoss, FailedPrecondition
            It is damaged, or a newer fc7 wrote it; what was published stays so.
        """
        with self._lock:
            head = self.get(name, version)
            classifier = Classifier(head, read_softmax(self._folder(name, head.version), head))
            with changing(name):
                self._point(name, published=head.version, last_deleted=self._last_deleted(name))
            self._ready[name] = classifier
            return head

    def get(self, name: str, version: int = 0) -> HeadVersion:
        """Return the facts of a version, 0 for the newest.

        Raises
        ------
        NotFound
            No such head or version.
        DataLoss, FailedPrecondition
            Its manifest is damaged, or a newer fc7 wrote it.
        """
        with self._lock:
            version = self._check_version(name, version) or max(self._versions(name))
            return read_head(self._folder(name, version), name, version)

    def list(self, *, all_versions: bool = False) -> list[HeadVersion]:
        """Return the newest version of each head, by name; or all versions, oldest first.

        One whose manifest cannot be read is listed with method "unreadable" and no classes, one whose
        `published.json` is damaged with that method; ``get`` and ``check_published`` say why.
        """
        with self._lock:
            names = sorted(os.listdir(self._path)) if self._path.is_dir() else []
            found = []
            for name in names:
                versions = sorted(self._versions(name))
                heads = [self._readable(name, version) for version in (versions if all_versions else versions[-1:])]
                if versions and not self._has_pointer(name):
                    heads = [replace(head, method=UNREADABLE) for head in heads]
                found += heads
            return found

    def published(self, name: str) -> int:
        """Return the published version; 0 where none is, or where `classifier` would say why it cannot be read."""
        try:
            return self._published(name)
        except Fc7Error:
            return 0

    def check_published(self, name: str) -> None:
        """Refuse a head of which nobody can tell what is published.

        Raises
        ------
        DataLoss, FailedPrecondition
            Its `published.json` is damaged (the versions that are whole are named), or a newer fc7 wrote it.
        """
        with self._lock:
            self._pointer(name)

    def _has_pointer(self, name: str) -> bool:
        try:
            self._pointer(name)
        except (DataLoss, FailedPrecondition):
            return False
        return True

    def delete(self, name: str, version: int = 0) -> None:
        """Delete one version, or with 0 the whole head.

        Raises
        ------
        NotFound
            No such head or version.
        FailedPrecondition
            The version is the published one.
        DataLoss
            Which version is published cannot be read: the whole head may still be deleted.
        ResourceExhausted
            The disk is full.
        """
        with self._lock:
            if not self._check_version(name, version):
                self._ready.pop(name, None)
                with changing(name):
                    shutil.rmtree(hide_folder(self._path / name, self._path), ignore_errors=True)
                return
            published = self._published(name)
            if version == published:
                raise FailedPrecondition(
                    f"version {version} of head {name!r} is published: publish another first, or delete the whole head",
                    name=name,
                    reason=Reason.HEAD_PUBLISHED,
                )
            with changing(name):
                self._point(name, published=published, last_deleted=max(version, self._last_deleted(name)))
                shutil.rmtree(hide_folder(self._folder(name, version), self._path), ignore_errors=True)

    def classifier(self, name: str, version: int = 0) -> Classifier:
        """Return a version, 0 for the published one, ready to classify.

        Raises
        ------
        NotFound
            No such head or version.
        FailedPrecondition
            None of its versions is published, where that one is asked for; or a newer fc7 wrote it.
        DataLoss
            Its files are damaged; other heads are not affected.
        """
        with self._lock:
            version = self._check_version(name, version) or self._published(name)
            if not version:
                raise FailedPrecondition(
                    f"head {name!r} is not published: publish a version first",
                    name=name,
                    reason=Reason.HEAD_NOT_PUBLISHED,
                )
            ready = self._ready.get(name)
            if ready is not None and ready.version.version == version:
                return ready
            folder = self._folder(name, version)
            head = read_head(folder, name, version)
            ready = Classifier(head, read_softmax(folder, head))
            if version == self.published(name):  # others are asked for now and then
                self._ready[name] = ready
            return ready

    def _store(self, head: HeadVersion, weights: bytes, report: dict[str, float]) -> None:
        final = self._folder(head.name, head.version)
        if not self._path.parent.is_dir():
            raise Unavailable(
                f"head {head.name!r} cannot be stored: the data folder is gone. Restore it, then restart the server",
                name=head.name,
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(self._path.parent)
        sync_folder(self._path)
        with new_folder(final, self._path) as folder:
            write_version(folder, head, weights, report)

    def _folder(self, name: str, version: int) -> Path:
        return self._path / name / str(version)

    def _versions(self, name: str) -> set[int]:
        folder = self._path / name
        if name.startswith(".") or not folder.is_dir():
            return set()
        return {int(entry) for entry in os.listdir(folder) if entry.isascii() and entry.isdigit()}

    def _check_version(self, name: str, version: int) -> int:
        """Return ``version`` if the head exists and, unless it is 0, has that version."""
        self.check_name(name)
        versions = self._versions(name)
        if not versions:
            raise NotFound(f"head {name!r} does not exist: train it first", name=name, reason=Reason.HEAD_NOT_FOUND)
        if version and version not in versions:
            known = ", ".join(map(str, sorted(versions)[-10:]))
            raise NotFound(
                f"head {name!r} has no version {version}: choose one of {known}",
                name=name,
                reason=Reason.HEAD_VERSION_NOT_FOUND,
            )
        return version

    def _readable(self, name: str, version: int) -> HeadVersion:
        """Return the facts of a version, or what stands for them where they cannot be read."""
        try:
            return read_head(self._folder(name, version), name, version)
        except (DataLoss, FailedPrecondition):
            nothing = Provenance(model="", graph_sha256="", recipe_sha256="", layer="")
            return HeadVersion(name, version, nothing, (), 0, 0.0, 0, UNREADABLE, 0.0, "", "", 0)

    def _point(self, name: str, *, published: int, last_deleted: int) -> None:
        write_record(self._path / name / POINTER, {"published": published, "last_deleted": last_deleted})

    def _pointer(self, name: str) -> dict[str, int]:
        path = self._path / name / POINTER
        if not path.exists():
            return {"published": 0, "last_deleted": 0}
        try:
            return read_record(path, name)
        except DataLoss as error:
            whole = [n for n in sorted(self._versions(name)) if self._is_whole(name, n)]
            versions = (
                f"Whole versions: {', '.join(map(str, whole))}. Publish one of them" if whole else "Train it again"
            )
            raise DataLoss(
                f"head {name!r}: {name}/{POINTER} is damaged, so nobody knows which version is published. {versions}.",
                name=name,
                reason=Reason.HEAD_DAMAGED,
            ) from error

    def _is_whole(self, name: str, version: int) -> bool:
        folder = self._folder(name, version)
        try:
            read_softmax(folder, read_head(folder, name, version))
        except (DataLoss, FailedPrecondition):
            return False
        return True

    def _published(self, name: str) -> int:
        return self._pointer(name)["published"]

    def _last_deleted(self, name: str) -> int:
        """Return the highest version that was deleted; 0 where none was, or where a damaged pointer hides it."""
        try:
            return self._pointer(name)["last_deleted"]
        except DataLoss:
            return 0
