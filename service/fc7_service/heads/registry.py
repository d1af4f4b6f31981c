"""All heads of a data folder: train, list, publish, classify, delete."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, Fc7Error, Reason
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.exchange import import_layer
from fc7_service.heads.fit import STRENGTHS
from fc7_service.heads.folds import NO_FOLD
from fc7_service.heads.head_folders import HeadFolders, Publication
from fc7_service.heads.head_version import INSTANT, UNREADABLE, HeadVersion
from fc7_service.heads.instant import RowSums, SampledRows
from fc7_service.heads.judgement import Judgement
from fc7_service.heads.stop_check import StopCheck, never_stop
from fc7_service.heads.train_version import TrainedVersion, train_instantly, train_version
from fc7_service.heads.training_queue import TrainingQueue

T = TypeVar("T")


class TrainingRows(NamedTuple):
    """What a head is trained on: N rows."""

    features: NDArray[np.floating]  # (N, D)
    labels: Sequence[str]
    contents: Sequence[str]  # content hash of each
    ids: Sequence[str]  # what the user calls each
    groups: Sequence[str]  # the user's; empty for none
    weights: Sequence[float] = ()  # empty for 1


class Heads:
    """The heads in one folder. One process owns the folder; its threads may call at the same time.

    The number of a deleted version is not given again while the head exists, unless the ``published.json`` that
    remembers it is damaged. A head that was deleted entirely begins at 1 again.

    Parameters
    ----------
    path
        The folder; made when the first head is stored.
    versions
        Library -> version, recorded with every head that is trained.
    """

    def __init__(self, path: Path, versions: dict[str, str] | None = None) -> None:
        self._versions = versions or {}
        self._folders = HeadFolders(path)
        self._lock = threading.RLock()  # held while anything is written, and around the cache
        self._queue = TrainingQueue()
        self._published: dict[str, Classifier] = {}  # cache

    def check_name(self, name: str) -> None:
        """Refuse a name that no head can have.

        Raises
        ------
        InvalidArgument
            The rule is named.
        """
        check_name(name, "head")

    def train(
        self,
        name: str,
        features: NDArray[np.float32],
        labels: Sequence[str],
        groups: Sequence[str],
        provenance: Provenance,
        check_stop: StopCheck = never_stop,
        *,
        ids: Sequence[str] = (),
        own_groups: Sequence[str] = (),
        source: str = "",
        weights: Sequence[float] = (),
        balanced: bool = False,
    ) -> HeadVersion:
        """Fit the next version of a head, judge it and store it, unpublished.

        Parameters
        ----------
        name
            A new head, or one that gets another version.
        features
            float32 (N, D), raw.
        labels
            Class of each row.
        groups
            Content hash of each row: copies are held out together.
        provenance
            What made the features.
        check_stop
            Called now and then, for the last time before the version is stored. What it raises ends the training.
        ids
            What the user calls each row. Defaults to their numbers, from 0.
        own_groups
            The user's groups, which stay on one side of every split too. Defaults to none.
        source
            Where the rows came from, as the user named it.
        weights, balanced
            As for ``fit_head``.

        Returns
        -------
        HeadVersion
            On disk.

        Raises
        ------
        InvalidArgument
            The name is bad, a value is not finite, a weight is not between 1e-6 and 1e6, or there are fewer than two
            classes, or fewer than two different images in one.
        ResourceExhausted
            The disk is full, or there are too many rows or classes.
        """
        self.check_name(name)
        trained = train_version(
            name,
            features,
            labels,
            groups,
            provenance,
            check_stop,
            ids=ids,
            own_groups=own_groups,
            source=source,
            weights=weights,
            balanced=balanced,
            earlier=self._folds(name),
        )
        return self._add(trained, check_stop)

    def train_instantly(
        self,
        name: str,
        sums: RowSums,
        sample: SampledRows,
        provenance: Provenance,
        check_stop: StopCheck = never_stop,
        *,
        strengths: Sequence[float] = STRENGTHS["ridge"],
        source: str = "",
    ) -> tuple[HeadVersion, float]:
        """Fit the next version of a head from sums over its rows, judge it by some of them and store it, unpublished.

        Parameters
        ----------
        name, provenance, check_stop, source
            As for ``train``.
        sums, strengths
            As for ``fit_instant``.
        sample
            Rows that judge the head. Copies of pictures flatter it.

        Returns
        -------
        HeadVersion
            On disk.
        float
            The strength of its penalty.

        Raises
        ------
        InvalidArgument
            The name is bad, or there are fewer than two classes.
        ResourceExhausted
            The disk is full, or there are too many classes.
        """
        self.check_name(name)
        trained = train_instantly(name, sums, sample, strengths, provenance, check_stop, source=source)
        return self._add(trained, check_stop), trained.report["strength"]

    async def in_turn(self, name: str, train: Callable[[StopCheck], T]) -> T:
        """Return what ``train`` returns, after earlier trainings have ended; see `TrainingQueue.run`."""
        return await self._queue.run(name, train)

    @property
    def training(self) -> list[str]:
        """Names of the heads that are trained now, or wait for their turn; the first one is trained."""
        return list(self._queue.names)

    async def train_in_turn(
        self,
        name: str,
        read_rows: Callable[[], TrainingRows],
        provenance: Provenance,
        source: str = "",
        *,
        balanced: bool = False,
    ) -> HeadVersion:
        """Train as ``train`` does, after earlier trainings have ended; if this is cancelled, nothing is stored.

        Parameters
        ----------
        name, provenance, source, balanced
            As for ``train``.
        read_rows
            Called when the turn comes, so that callers who wait hold no rows in memory.

        Raises
        ------
        Unavailable
            ``close`` was called before the end.
        """

        def train(check_stop: StopCheck) -> HeadVersion:
            rows = read_rows()
            return self.train(
                name,
                rows.features,
                rows.labels,
                rows.contents,
                provenance,
                check_stop,
                ids=rows.ids,
                own_groups=rows.groups,
                source=source,
                weights=rows.weights,
                balanced=balanced,
            )

        return await self._queue.run(name, train)

    def close(self) -> None:
        """Stop the training that is running, and wait until it has ended; nothing of it is stored."""
        self._queue.close()

    def publish(self, name: str, version: int = 0, *, refuses_unknown: bool = False) -> HeadVersion:
        """Make a version (0 for the newest) the one that classifies.

        Parameters
        ----------
        name, version
            What to publish.
        refuses_unknown
            Whether it refuses pictures of none of its classes.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            It shall refuse unknown pictures, but has no rule for that.
        DataLoss, FailedPrecondition
            The version is damaged, or a newer fc7 wrote it. The published version stays the same.
        """
        with self._lock:
            classifier = self._folders.read_classifier(name, self._version_or_newest(name, version))
            number = classifier.version.version
            if refuses_unknown:
                classifier.check_unknown_rule()
            publication = Publication(number, self._folders.last_deleted(name), refuses_unknown)
            self._folders.set_publication(name, publication)
            self._published[name] = classifier
            return classifier.version

    def get(self, name: str, version: int = 0) -> HeadVersion:
        """Return what is recorded about a version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        DataLoss, FailedPrecondition
            Its manifest is damaged, or a newer fc7 wrote it.
        """
        with self._lock:
            return self._folders.read(name, self._version_or_newest(name, version))

    def judgement(self, name: str, version: int = 0) -> tuple[HeadVersion, Judgement]:
        """Return a version (0 for the newest) and what was found out about it.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            It was trained before release 0.3, or a newer fc7 wrote it.
        DataLoss
            Its files are damaged.
        """
        with self._lock:
            return self._folders.read_judgement(name, self._version_or_newest(name, version))

    def list(self, *, all_versions: bool = False) -> list[HeadVersion]:
        """Return the newest version of each head by name, or all versions, oldest first.

        A version whose manifest cannot be read has the method "unreadable" and no classes. If a head's
        ``published.json`` cannot be read, its versions have that method too. ``get`` and ``check_published`` say why.
        """
        with self._lock:
            versions = []
            for name in self._folders.names():
                numbers = self._folders.versions(name)
                of_head = [self._read_or_placeholder(name, n) for n in (numbers if all_versions else numbers[-1:])]
                if numbers and not self._has_readable_publication(name):
                    of_head = [replace(version, method=UNREADABLE) for version in of_head]
                versions += of_head
            return versions

    def published(self, name: str) -> int:
        """Return the published version; 0 if there is none, or if it cannot be read."""
        try:
            return self._folders.publication(name).published
        except Fc7Error:
            return 0

    def refuses_unknown(self, name: str) -> bool:
        """Return whether the published version refuses unknown pictures; False if that cannot be read."""
        try:
            return self._folders.publication(name).refuses_unknown
        except Fc7Error:
            return False

    def check_published(self, name: str) -> None:
        """Refuse a head if it is unknown which of its versions is published.

        Raises
        ------
        DataLoss, FailedPrecondition
            Its ``published.json`` is damaged (the versions that are whole are named), or a newer fc7 wrote it.
        """
        with self._lock:
            self._folders.publication(name)

    def delete(self, name: str, version: int = 0) -> None:
        """Delete one version, or with 0 the whole head.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version is published.
        DataLoss
            It is unknown which version is published. The whole head can still be deleted.
        ResourceExhausted
            The disk is full.
        """
        with self._lock:
            self._check_exists(name, version)
            if not version:
                self._published.pop(name, None)
                self._folders.remove(name)
                return
            publication = self._folders.publication(name)
            if version == publication.published:
                raise FailedPrecondition(
                    f"version {version} of head {name!r} is published: publish another first, or delete the whole head",
                    name=name,
                    reason=Reason.HEAD_PUBLISHED,
                )
            last_deleted = max(version, self._folders.last_deleted(name))
            self._folders.set_publication(name, publication._replace(last_deleted=last_deleted))
            self._folders.remove(name, version)

    def classifier(self, name: str, version: int = 0) -> Classifier:
        """Return a version (0 for the published one) that is ready to classify.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            No version is published, and none was named; or a newer fc7 wrote it.
        DataLoss
            Its files are damaged. Other heads are not affected.
        """
        with self._lock:
            self._check_exists(name, version)
            number = version or self._folders.publication(name).published
            if not number:
                raise FailedPrecondition(
                    f"head {name!r} is not published: publish a version first",
                    name=name,
                    reason=Reason.HEAD_NOT_PUBLISHED,
                )
            cached = self._published.get(name)
            if cached is not None and cached.version.version == number:
                return cached
            classifier = self._folders.read_classifier(name, number)
            if number == self.published(name):  # other versions are rarely asked for
                self._published[name] = classifier
            return classifier

    def import_layer(
        self,
        name: str,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        classes: Sequence[str],
        provenance: Provenance,
        source: str = "",
    ) -> HeadVersion:
        """Store a softmax layer that was fitted elsewhere as the next version, unpublished. See ``import_layer``.

        Raises
        ------
        InvalidArgument
            The name is bad, or the layer is none.
        ResourceExhausted
            The disk is full.
        """
        self.check_name(name)
        return self._add(import_layer(name, weights, bias, classes, provenance, source), never_stop)

    def _folds(self, name: str) -> dict[str, int]:
        """Return the folds of the newest version that has them, by content hash."""
        with self._lock:
            for number in reversed(self._folders.versions(name)):
                try:
                    version, judgement = self._folders.read_judgement(name, number)
                except (DataLoss, FailedPrecondition):
                    continue
                if version.method != INSTANT:
                    found = zip(judgement.contents, judgement.folds.tolist(), strict=True)
                    return {content: fold for content, fold in found if fold != NO_FOLD}
        return {}

    def _add(self, trained: TrainedVersion, check_stop: StopCheck) -> HeadVersion:
        name = trained.version.name
        with self._lock:
            check_stop()
            parent = max(self._folders.versions(name), default=0)
            number = max(parent, self._folders.last_deleted(name)) + 1
            version = replace(trained.version, version=number, parent_version=parent)
            report = trained.report | {"libraries": self._versions}
            self._folders.add(version, trained.weights, trained.judgement, report)
        return version

    def _check_exists(self, name: str, version: int) -> None:
        self.check_name(name)
        self._folders.check_exists(name, version)

    def _version_or_newest(self, name: str, version: int) -> int:
        self._check_exists(name, version)
        return version or self._folders.versions(name)[-1]

    def _read_or_placeholder(self, name: str, version: int) -> HeadVersion:
        """Return what is recorded about a version, or an empty record if it cannot be read."""
        try:
            return self._folders.read(name, version)
        except (DataLoss, FailedPrecondition):
            nothing = Provenance(model="", graph_sha256="", recipe_sha256="", layer="")
            return HeadVersion(name, version, nothing, (), 0, 0.0, 0, UNREADABLE, 0.0, "", "", 0)

    def _has_readable_publication(self, name: str) -> bool:
        try:
            self._folders.publication(name)
        except (DataLoss, FailedPrecondition):
            return False
        return True
