"""Classify: what a request classifies with, and the probabilities of each image."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument
from fc7.v1 import head_pb2 as pb
from fc7_service.bundle.bundle import check_same_classes
from fc7_service.bundle.softmax import softmax
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import ImageFeatures
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.registry import Heads
from fc7_service.rpc.messages import write_error
from fc7_service.rpc.request_models import model_of_provenance, models_of_request

UNKNOWN = "unknown"  # reason of an answer without a label
_MOST_HEADS = 16  # that answer besides the first one


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """A head or a network that gives probabilities, alone or together with others of the same classes."""

    model: str
    layer: str
    classes: tuple[str, ...]
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]]  # features (N, D) to probabilities (N, C)
    head: Classifier | None = None  # None for a network
    refuses_unknown: bool = False  # whether pictures of none of the classes are refused

    @property
    def version(self) -> int:
        """Version of the head; 0 for a network."""
        return self.head.version.version if self.head else 0


async def find_classifiers(request: pb.ClassifyRequest, extractor: Extractor, heads: Heads) -> list[ImageClassifier]:
    """Return what a request classifies with: a head, a network, or the networks of an ensemble."""
    if not request.head:
        names = models_of_request(extractor, request.model, request.ensemble)
        bundles = [extractor.models.bundle(name) for name in names]
        check_same_classes(bundles)
        classes = tuple(c.name for c in bundles[0].classes)
        return [ImageClassifier(bundle.name, "logits", classes, softmax) for bundle in bundles]
    if request.ensemble:
        raise InvalidArgument("name a head or an ensemble, not both: a head has its own network", name="ensemble")
    return [await _find_head(request.head, request.head_version, request.refuse_unknown, extractor, heads)]


async def find_further_heads(request: pb.ClassifyRequest, extractor: Extractor, heads: Heads) -> list[ImageClassifier]:
    """Return the further heads of a request."""
    if len(request.also) > _MOST_HEADS:
        raise InvalidArgument(f"also names {len(request.also)} heads. The limit is {_MOST_HEADS}", name="also")
    if request.also and not request.head:
        raise InvalidArgument("also names further heads. Name the first one in head", name="also")
    return [
        await _find_head(one.name, one.version, request.refuse_unknown, extractor, heads, "also")
        for one in request.also
    ]


async def _find_head(
    name: str, version: int, refuse: bool, extractor: Extractor, heads: Heads, field: str = "head_version"
) -> ImageClassifier:
    if version < 0:
        raise InvalidArgument(f"version must be at least 1, or 0 for the published one (got {version})", name=field)
    classifier = await asyncio.to_thread(heads.classifier, name, version)
    head = classifier.version
    model = model_of_provenance(extractor, head.provenance, f"head {name!r}")
    refuses = refuse
    if not refuses and head.version == await asyncio.to_thread(heads.published, head.name):
        refuses = await asyncio.to_thread(heads.refuses_unknown, head.name)
    if refuses:
        classifier.check_unknown_rule()
    return ImageClassifier(model, head.provenance.layer, head.classes, classifier.predict, classifier, refuses)


def average_probabilities(
    classifiers: list[ImageClassifier], found: list[ImageFeatures]
) -> list[NDArray[np.float32] | Fc7Error]:
    """Return the probabilities (C,) of each image, averaged over views and classifiers, or its error."""
    rows: list[Any] = [
        next((part for part in parts if isinstance(part, Fc7Error)), None)
        for parts in zip(*(one.rows for one in found), strict=True)
    ]
    good = [i for i, error in enumerate(rows) if error is None]
    if not good:
        return rows
    answers = []
    for classifier, one in zip(classifiers, found, strict=True):
        of_good: list[Any] = [one.rows[i] for i in good]
        views = np.stack(of_good)  # (N, V, D)
        probabilities = classifier.predict(views.reshape(-1, views.shape[-1]))
        answers.append(probabilities.reshape(*views.shape[:2], -1).mean(axis=1))
    for i, row in zip(good, np.mean(answers, axis=0), strict=True):
        rows[i] = row
    return rows


def find_unknown(classifier: ImageClassifier, found: ImageFeatures) -> list[bool]:
    """Return for each image whether the classifier refuses it; False for an image that failed."""
    is_unknown = [False] * len(found.rows)
    good = [i for i, row in enumerate(found.rows) if not isinstance(row, Fc7Error)]
    if classifier.head is None or not classifier.refuses_unknown or not good:
        return is_unknown
    of_good: list[Any] = [found.rows[i] for i in good]
    views = np.stack(of_good)  # (N, V, D)
    answers = classifier.head.are_unknown(views.reshape(-1, views.shape[-1]), views.shape[1])
    for i, answer in zip(good, answers.tolist(), strict=True):
        is_unknown[i] = answer
    return is_unknown


def check_head_options(request: pb.ClassifyRequest) -> None:
    """Refuse a coverage that is none, and options that take a head without one."""
    if not 0 <= request.coverage < 1:  # false for NaN too
        raise InvalidArgument(f"coverage must be above 0 and below 1 (got {request.coverage:g})", name="coverage")
    for name, value in (("coverage", request.coverage), ("refuse_unknown", request.refuse_unknown)):
        if value and not request.head:
            raise InvalidArgument(f"{name} takes a head. Name one", name=name)


def write_result(
    row: NDArray[np.float32] | Fc7Error, classifier: ImageClassifier, top: int, is_unknown: bool, coverage: float
) -> pb.ClassifyResult:
    """Return what is said about one image, given its probabilities (C,) or its error."""
    if isinstance(row, Fc7Error):
        return pb.ClassifyResult(error=write_error(row))
    result = pb.ClassifyResult(top=most_probable(row, classifier.classes, top), reason=UNKNOWN if is_unknown else "")
    if coverage and classifier.head is not None:
        n_in_set = int(np.sum(row >= classifier.head.least_probability(coverage)))
        result.set.extend(most_probable(row, classifier.classes, max(1, n_in_set)))
    return result


def add_further_answers(
    results: list[pb.ClassifyResult], classifier: ImageClassifier, found: ImageFeatures, top: int
) -> None:
    """Add what one further head says about each image."""
    rows = average_probabilities([classifier], [found])
    name = None if classifier.head is None else classifier.head.version.name
    for result, row, is_unknown in zip(results, rows, find_unknown(classifier, found), strict=True):
        if not isinstance(row, Fc7Error):
            result.also.add(
                head=pb.HeadName(name=name, version=classifier.version),
                top=most_probable(row, classifier.classes, top),
                reason=UNKNOWN if is_unknown else "",
            )


def most_probable(probabilities: NDArray[np.float32], classes: tuple[str, ...], top: int) -> list[pb.Prediction]:
    """Return the ``top`` most probable classes, best first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [pb.Prediction(label=classes[i], probability=float(probabilities[i])) for i in order]
