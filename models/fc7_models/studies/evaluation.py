"""Accuracy of a bundle's network on labelled pictures. Needs neither torch nor scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from fc7.errors import InvalidArgument
from fc7_models.data.dataset import Dataset, read_dataset
from fc7_models.data.inference import Report, open_graph, open_model, read_batches, recipe_of
from fc7_service.bundle.bundle import Bundle, check_same_classes

_BINS = 15  # of the calibration error


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class; each picture gets the most probable of the folder's classes."""

    id: str
    name: str
    count: int
    top1: float  # share of its pictures that get this class
    top5: float
    precision: float | None  # share of the pictures with this prediction that belong to it; None if there are none
    confused_with: str  # id of the most frequent wrong prediction; empty if all are right
    confused: int  # how often it is predicted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy on labelled pictures."""

    top1: float  # share of pictures whose label is the most probable of the folder's classes
    top5: float  # share whose label is among the five most probable of the folder's classes
    count: int
    top1_all: float  # the same among all of the network's classes
    top5_all: float
    calibration_error: float  # among all classes, see `expected_calibration_error`
    classes: list[ClassResult]  # of the folder, in the network's order
    confusion: NDArray[np.int64]  # (C, C): pictures of the class of the row with the prediction of the column


def evaluate(folder: Path, model: str, report: Report, *, ensemble: Sequence[str] = (), views: int = 1) -> Evaluation:
    """Classify the pictures of ``folder`` with the network's own classes.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. Class ids must be the bundle's.
    model
        Name of a shipped bundle, or the folder of another.
    report
        Called with the pictures done and all pictures.
    ensemble
        Several models instead of ``model``; their probabilities are averaged.
    views
        1 or 10 per picture; their probabilities are averaged.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        The network lacks a class of the folder, or the networks of an ensemble have different classes.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    bundles, data = [open_model(name) for name in ensemble or (model,)], read_dataset(folder, "test")
    check_same_classes(bundles)
    bundle = bundles[0]
    labels = _labels(bundle, data, folder)
    known, y = np.unique(labels, return_inverse=True)  # the folder's classes, and the position of each label among them
    ranks, ranks_all, predictions, confidence = [], [], [], []
    start = 0
    for parts in zip(*(_probabilities(member, data.paths, views, report) for member in bundles), strict=True):
        probabilities = np.mean(parts, axis=0)
        rows = slice(start, start := start + len(probabilities))
        ranks.append(_label_rank(probabilities[:, known], y[rows]))
        ranks_all.append(_label_rank(probabilities, labels[rows]))
        predictions.append(probabilities[:, known].argmax(axis=1))
        confidence.append(probabilities.max(axis=1))
    rank, rank_all = np.concatenate(ranks), np.concatenate(ranks_all)
    confusion = np.zeros((len(known), len(known)), np.int64)
    np.add.at(confusion, (y, np.concatenate(predictions)), 1)
    return Evaluation(
        top1=float(np.mean(rank < 1)),
        top5=float(np.mean(rank < 5)),
        count=len(labels),
        top1_all=float(np.mean(rank_all < 1)),
        top5_all=float(np.mean(rank_all < 5)),
        calibration_error=expected_calibration_error(np.concatenate(confidence), rank_all < 1),
        classes=[_class_result(bundle, known, i, confusion, rank[y == i]) for i in range(len(known))],
        confusion=confusion,
    )


def expected_calibration_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Return the mean difference between confidence and accuracy over 15 equal bins, weighted by their rows.

    Parameters
    ----------
    confidence
        (N,): probability of the predicted class, 0 to 1.
    is_right
        (N,): whether that class is right.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _probabilities(bundle: Bundle, paths: Sequence[Path], views: int, report: Report) -> Iterator[NDArray[np.float64]]:
    """Yield the probabilities of one batch of pictures after another, (N, C), averaged over their views."""
    run = open_graph(bundle.graph())
    for inputs in read_batches(paths, recipe_of(bundle, "logits"), report, views):
        probabilities = softmax(run(inputs, ["logits"])[0].astype(np.float64), axis=1)
        yield probabilities.reshape(-1, views, probabilities.shape[1]).mean(axis=1)


def _labels(bundle: Bundle, data: Dataset, folder: Path) -> NDArray[np.int64]:
    index = {c.id: i for i, c in enumerate(bundle.classes)}
    unknown = [c for c in data.classes if c not in index]
    if unknown:
        raise InvalidArgument(
            f"model {bundle.name!r} does not have {len(unknown)} of the classes of {str(folder)!r}: "
            f"{', '.join(unknown[:5])}. The folders must be named after its {len(index)} class ids",
            name=unknown[0],
        )
    return np.array([index[label] for label in data.labels])


def _label_rank(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes come before each row's label; among equally probable ones the first comes first."""
    own = probabilities[np.arange(len(probabilities)), labels][:, None]
    is_equal_earlier = (probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None])
    ranks: NDArray[np.int64] = ((probabilities > own) | is_equal_earlier).sum(axis=1)
    return ranks


def _class_result(
    bundle: Bundle, known: NDArray[np.int64], i: int, confusion: NDArray[np.int64], rank: NDArray[np.int64]
) -> ClassResult:
    own, others, n_predicted = bundle.classes[known[i]], confusion[i].copy(), confusion[:, i].sum()
    others[i] = 0
    confused = int(others.argmax())
    return ClassResult(
        id=own.id,
        name=own.name,
        count=len(rank),
        top1=float(np.mean(rank < 1)),
        top5=float(np.mean(rank < 5)),
        precision=float(confusion[i, i] / n_predicted) if n_predicted else None,
        confused_with=bundle.classes[known[confused]].id if others[confused] else "",
        confused=int(others[confused]),
    )
