"""A version in the shadow: it answers beside the published one, on a share of the live pictures, out of sight."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, Reason
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.records import read_record, translated_disk_errors, write_record
from fc7_service.heads.registry import Heads

MOST_DIFFERING = 200  # pictures that are kept
_SHADOW = "shadow.json"
_TOP = 3  # classes that are kept of each answer
_WAITING = 64  # calls whose pictures wait; those of further calls are passed over
_SAVED_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Differing:
    """A picture on which the two versions differ."""

    sha256: str
    time: str  # ISO 8601, UTC
    published: list[tuple[str, float]]  # classes and probabilities, best first
    shadow: list[tuple[str, float]]


@dataclass(slots=True)
class Shadow:
    """The version in the shadow of a head, and what came out so far."""

    version: int
    share: float  # of the pictures of live calls
    published_version: int  # that it is compared with
    since: str  # ISO 8601, UTC
    count: int = 0  # pictures that both answered
    agreed: int = 0
    passed_over: int = 0  # pictures that were drawn, but not answered
    differing: list[Differing] = field(default_factory=list)  # newest first
    problem: str = ""  # why it could not answer, the last time


class Seen(NamedTuple):
    """A picture of a live call."""

    content_sha256: Callable[[], str]  # hex
    views: NDArray[np.float32]  # features (V, D)
    probabilities: NDArray[np.float32]  # (C,) by the published version


class Shadows:
    """The shadows of all heads. Their answers are computed in a thread of their own, after the live ones.

    Parameters
    ----------
    path
        The folder of the heads. A shadow lives in ``NAME/shadow.json``.
    heads
        The heads.
    """

    def __init__(self, path: Path, heads: Heads) -> None:
        self._path, self._heads = path, heads
        self._saving = threading.Lock()  # around changes of files
        self._lock = threading.Lock()  # around what follows, for moments
        self._shadows: dict[str, Shadow] = {}
        self._classifiers: dict[str, Classifier] = {}  # of the shadows, once they are read
        self._unsaved: set[str] = set()
        self._waiting: queue.Queue[tuple[str, Classifier, list[Seen]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="fc7-shadow", daemon=True)
        for file in path.glob(f"*/{_SHADOW}"):
            with suppress(Fc7Error):  # a damaged file ends the shadow; no answer depends on it
                self._shadows[file.parent.name] = _read(read_record(file, file.parent.name))
        self._thread.start()

    def set(self, name: str, version: int, share: float) -> Shadow | None:
        """Put a version into the shadow, or with version 0 end the shadow.

        Raises
        ------
        InvalidArgument
            The share is not above 0 and at most 1, or the version is the published one.
        NotFound
            There is no such head or version.
        FailedPrecondition
            No version is published, or the version takes other features than the published one.
        """
        if version == 0:
            self._heads.get(name)
            self.forget(name)
            return None
        if not 0 < share <= 1:  # true for NaN too
            raise InvalidArgument(f"share must be above 0 and at most 1 (got {share:g})", name="share")
        classifier, published = self._heads.classifier(name, version), self._heads.classifier(name)
        if published.version.version == version:
            raise InvalidArgument(f"version {version} of head {name!r} is the published one", name="version")
        if classifier.version.provenance.digest != published.version.provenance.digest:
            raise FailedPrecondition(
                f"version {version} of head {name!r} takes other features than the published version "
                f"{published.version.version}, so it would need a pass of the network of its own. Compare the two with "
                "labelled pictures instead",
                name=name,
                reason=Reason.PROVENANCE_MISMATCH,
            )
        shadow = Shadow(version, share, published.version.version, _now())
        with self._saving:
            self._save(name, shadow)
            with self._lock:
                self._shadows[name], self._classifiers[name] = shadow, classifier
        return replace(shadow)

    def get(self, name: str) -> Shadow | None:
        """Return the shadow of a head as it is now; None if there is none.

        Raises
        ------
        NotFound
            There is no such head.
        """
        self._heads.get(name)
        with self._lock:
            shadow = self._shadows.get(name)
            return None if shadow is None else replace(shadow, differing=list(shadow.differing))

    def forget(self, name: str, version: int = 0) -> None:
        """End the shadow of a head, if it is this version or ``version`` is 0."""
        with self._saving:
            with self._lock:
                shadow = self._shadows.get(name)
                if shadow is None or version not in (0, shadow.version):
                    return
                del self._shadows[name]
                self._classifiers.pop(name, None)
            with translated_disk_errors(name):
                (self._path / name / _SHADOW).unlink(missing_ok=True)

    def observe(self, published: Classifier, seen: Sequence[Seen]) -> None:
        """Let the shadow answer some of the pictures that the published version has answered. Returns at once."""
        name = published.version.name
        shadow = self._shadows.get(name)
        if shadow is None or shadow.version == published.version.version:
            return
        drawn = [one for one in seen if random.random() < shadow.share]  # noqa: S311  # no secret depends on it
        if not drawn:
            return
        try:
            self._waiting.put_nowait((name, published, drawn))
        except queue.Full:
            with self._lock:
                shadow.passed_over += len(drawn)

    def close(self) -> None:
        """Answer what waits, and write down what came out."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        saved = time.monotonic()
        while True:
            with suppress(queue.Empty):
                work = self._waiting.get(timeout=_SAVED_EVERY_S)
                if work is None:
                    self._save_all()
                    return
                self._answer(*work)
            if time.monotonic() - saved > _SAVED_EVERY_S:
                self._save_all()
                saved = time.monotonic()

    def _answer(self, name: str, published: Classifier, drawn: list[Seen]) -> None:
        """Let the shadow answer, and count. What goes wrong is written down and hurts nobody."""
        with self._lock:
            shadow = self._shadows.get(name)
            if shadow is None:
                return
            self._unsaved.add(name)
            if shadow.published_version != published.version.version:
                shadow = Shadow(shadow.version, shadow.share, published.version.version, _now())
                self._shadows[name] = shadow
        try:
            classifier = self._classifier(name, shadow.version)
            views = np.stack([one.views for one in drawn])
            answers = classifier.predict(views.reshape(-1, views.shape[-1])).reshape(*views.shape[:2], -1).mean(axis=1)
            differing = []
            for one, answer in zip(drawn, answers, strict=True):
                ours, theirs = _top(one.probabilities, published), _top(answer, classifier)
                if ours[0][0] != theirs[0][0]:
                    differing.append(Differing(one.content_sha256(), _now(), ours, theirs))
        except Exception as error:  # the thread must live on, whatever is wrong with one version
            with self._lock:
                shadow.passed_over += len(drawn)
                shadow.problem = str(error)[:1024]
            return
        with self._lock:
            shadow.count += len(drawn)
            shadow.agreed += len(drawn) - len(differing)
            shadow.differing = [*differing[::-1], *shadow.differing][:MOST_DIFFERING]

    def _classifier(self, name: str, version: int) -> Classifier:
        with self._lock:
            found = self._classifiers.get(name)
        if found is None or found.version.version != version:
            found = self._heads.classifier(name, version)
            with self._lock:
                self._classifiers[name] = found
        return found

    def _save_all(self) -> None:
        with self._saving:
            with self._lock:
                unsaved = [(name, replace(self._shadows[name])) for name in self._unsaved if name in self._shadows]
                self._unsaved.clear()
            for name, shadow in unsaved:
                try:
                    self._save(name, shadow)
                except Fc7Error as error:  # such as a full disk: what is in memory still counts
                    with self._lock:
                        self._shadows[name].problem = error.message
                        self._unsaved.add(name)

    def _save(self, name: str, shadow: Shadow) -> None:
        with translated_disk_errors(name):
            write_record(self._path / name / _SHADOW, asdict(shadow))


def _read(values: dict[str, Any]) -> Shadow:
    differing = [
        Differing(one["sha256"], one["time"], [tuple(p) for p in one["published"]], [tuple(p) for p in one["shadow"]])
        for one in values["differing"]
    ]
    return Shadow(**{**values, "differing": differing})


def _top(probabilities: NDArray[np.float32], classifier: Classifier) -> list[tuple[str, float]]:
    best = np.argsort(-probabilities, kind="stable")[:_TOP]
    return [(classifier.version.classes[i], round(float(probabilities[i]), 6)) for i in best]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
