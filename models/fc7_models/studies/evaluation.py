"""How often a bundle's network is right about labelled pictures. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_models.data.dataset import Dataset, read_dataset
from fc7_models.data.inference import Report, open_graph, open_model, read_batches, recipe_of
from fc7_service.bundle.bundle import Bundle, check_same_classes

_BINS = 15


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class, each picture given the most probable of the folder's classes."""

    id: str
    name: str
    count: int
    top1: float  # share of its pictures that are given it
    top5: float
    precision: float | None  # share of the pictures given it that are its own; None where none is
    confused_with: str  # id of the class that most of the others are given; empty where all are right
    confused: int  # their number


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy on labelled pictures."""

    top1: float  # share whose label is the most probable of the folder's classes
    top5: float  # share whose label is among the five most probable of the folder's classes
    count: int
    top1_all: float  # the same among all of the network's classes
    top5_all: float
    calibration_error: float  # of the network's own probabilities, see ``expected_calibration_error``
    classes: list[ClassResult]  # of the folder, in the network's order
    confusion: NDArray[np.int64]  # (C, C), pictures of class row given class column, in that order


def evaluate(folder: Path, model: str, report: Report, *, ensemble: Sequence[str] = (), views: int = 1) -> Evaluation:
    """Classify the pictures of ``folder`` with the network's own classes.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. Class ids must be the bundle's.
    model
        Name of a shipped bundle, or the folder of another.
    report
        Called with pictures done and pictures in all.
    ensemble
        In place of ``model``, several: their probabilities are averaged.
    views
        1, or 10, whose probabilities are averaged.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        A class of the folder that the network does not have, or networks of other classes than the first's.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    bundles, data = [open_model(name) for name in ensemble or (model,)], read_dataset(folder, "test")
    check_same_classes(bundles)
    bundle = bundles[0]
    labels = _labels(bundle, data, folder)
    known, y = np.unique(labels, return_inverse=True)  # the folder's classes, and the place of each label among them
    places, places_all, given, confidence = [], [], [], []
    start = 0
    for parts in zip(*(_chances(member, data.paths, views, report) for member in bundles), strict=True):
        chances = np.mean(parts, axis=0)
        rows = slice(start, start := start + len(chances))
        places.append(_place(chances[:, known], y[rows]))
        places_all.append(_place(chances, labels[rows]))
        given.append(chances[:, known].argmax(axis=1))
        confidence.append(chances.max(axis=1))
    place, place_all = np.concatenate(places), np.concatenate(places_all)
    confusion = np.zeros((len(known), len(known)), np.int64)
    np.add.at(confusion, (y, np.concatenate(given)), 1)
    return Evaluation(
        top1=float(np.mean(place < 1)),
        top5=float(np.mean(place < 5)),
        count=len(labels),
        top1_all=float(np.mean(place_all < 1)),
        top5_all=float(np.mean(place_all < 5)),
        calibration_error=expected_calibration_error(np.concatenate(confidence), place_all < 1),
        classes=[_class_facts(bundle, known, i, confusion, place[y == i]) for i in range(len(known))],
        confusion=confusion,
    )


def expected_calibration_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Return how far confidence is from accuracy: mean |difference| of 15 equal bins, weighted by their rows.

    Parameters
    ----------
    confidence
        (N,): probability of the class given, 0 to 1.
    is_right
        (N,): whether that class was right.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _chances(bundle: Bundle, paths: Sequence[Path], views: int, report: Report) -> Iterator[NDArray[np.float64]]:
    """Yield the probabilities of pictures (N, C), the mean of their views, a batch at a time."""
    run = open_graph(bundle.graph())
    for inputs in read_batches(paths, recipe_of(bundle, "logits"), report, views):
        logits = run(inputs, ["logits"])[0].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = powers / powers.sum(axis=1, keepdims=True)
        yield chances.reshape(-1, views, chances.shape[1]).mean(axis=1)


def _labels(bundle: Bundle, data: Dataset, folder: Path) -> NDArray[np.int64]:
    index = {c.id: i for i, c in enumerate(bundle.classes)}
    unknown = [c for c in data.classes if c not in index]
    if unknown:
        raise InvalidArgument(
            f"{len(unknown)} classes of {str(folder)!r} are not among the {len(index)} of {bundle.name!r}: "
            f"{', '.join(unknown[:5])}",
            name=unknown[0],
        )
    return np.array([index[label] for label in data.labels])


def _place(chances: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes stand before each row's own; of equal ones the first does."""
    own = chances[np.arange(len(chances)), labels][:, None]
    is_before = (chances > own) | ((chances == own) & (np.arange(chances.shape[1]) < labels[:, None]))
    places: NDArray[np.int64] = is_before.sum(axis=1)
    return places


def _class_facts(
    bundle: Bundle, known: NDArray[np.int64], i: int, confusion: NDArray[np.int64], place: NDArray[np.int64]
) -> ClassResult:
    own, (others, given) = bundle.classes[known[i]], (confusion[i].copy(), confusion[:, i].sum())
    others[i] = 0
    most = int(others.argmax())
    return ClassResult(
        id=own.id,
        name=own.name,
        count=len(place),
        top1=float(np.mean(place < 1)),
        top5=float(np.mean(place < 5)),
        precision=float(confusion[i, i] / given) if given else None,
        confused_with=bundle.classes[known[most]].id if others[most] else "",
        confused=int(others[most]),
    )
