"""How often a bundle's network is right about labelled pictures. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fc7.errors import InvalidArgument
from fc7_models.dataset import from_picture, read_dataset
from fc7_service.bundle.bundle import locate_bundle, open_bundle
from fc7_service.features.preprocess import preprocess

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy on labelled pictures, one view each."""

    top1: float  # share whose label is the most probable class
    top5: float  # share whose label is among the five most probable
    count: int


def evaluate(folder: Path, model: str, report: Callable[[int, int], None]) -> Evaluation:
    """Classify the pictures of ``folder`` with the network's own classes.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. Class ids must be the bundle's.
    model
        Name of a shipped bundle, or the folder of another.
    report
        Called with pictures done and pictures in all.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        A class of the folder that the network does not have.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    bundle, data = open_bundle(locate_bundle(model)), read_dataset(folder, "test")
    index = {c.id: i for i, c in enumerate(bundle.classes)}
    unknown = [c for c in data.classes if c not in index]
    if unknown:
        raise InvalidArgument(
            f"{len(unknown)} classes of {str(folder)!r} are not among the {len(index)} of {bundle.name!r}: "
            f"{', '.join(unknown[:5])}",
            name=unknown[0],
        )
    labels = np.array([index[label] for label in data.labels])
    session = ort.InferenceSession(bundle.graph(), providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0].name
    hits = np.zeros(2, int)
    read = partial(preprocess, recipe=bundle.recipe)
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(labels), _BATCH):
            tensors = pool.map(lambda path: from_picture(path, read), data.paths[i : i + _BATCH])
            (logits,) = session.run(["logits"], {image: np.stack(list(tensors))})
            best = np.argsort(-logits, axis=1, kind="stable")[:, :5] == labels[i : i + _BATCH, None]
            hits += best[:, 0].sum(), best.any(axis=1).sum()
            report(min(i + _BATCH, len(labels)), len(labels))
    return Evaluation(float(hits[0] / len(labels)), float(hits[1] / len(labels)), len(labels))
