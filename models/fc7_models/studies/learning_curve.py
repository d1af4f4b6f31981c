"""Accuracy against pictures a class, as Zeiler & Fergus draw it for Caltech-256: what training saves in labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fc7_models.data.dataset import read_dataset
from fc7_models.data.inference import Report, open_graph, open_model, read_batches
from fc7_models.export import layer_pooling
from fc7_models.networks import NETWORKS
from fc7_models.studies.linear_classifier import accuracy, class_numbers, hold_out, pool
from fc7_models.studies.linear_probe import PIXELS
from fc7_service.bundle.bundle import Bundle

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy of softmax regression on so many pictures of each class, each class weighing the same."""

    features: str  # the layer; "untrained", the same layer with random weights; "pixels"
    per_class: int
    accuracy: float  # mean over the splits
    deviation: float
    splits: int


def curve(folder: Path, model: str, splits: int, report: Report) -> list[Point]:
    """Train softmax regression on 1, 2, 5, 10, ... pictures of each class, up to what the smallest class has.

    The features are those of the bundle's default layer, of the same layer of the same network before any training
    (for networks of fc7's own table; without whitening, which a classifier needs not), and the network's input.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. Its classes may be any.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    splits
        Times that a random fifth of each class is tested on, and trained on others.
    report
        Called with pictures read, then classifiers trained.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        Fewer than five pictures of a class, or more than 20,000 in all.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), table 5 and figure 9.
    """
    bundle, data = open_model(model), read_dataset(folder, "test")
    y = class_numbers(data)
    layer = bundle.default_layer
    run = open_graph(bundle.graph())
    sources: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {layer: lambda x: run(x, [layer])[0]}
    if (untrained := _untrained(bundle)) is not None:
        sources[UNTRAINED] = untrained
    sources[PIXELS] = lambda x: x
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in sources}
    for inputs in read_batches(data.paths, bundle.recipe_of(layer), report):
        for name, source in sources.items():
            parts[name].append(pool(source(inputs)))
    features = {name: np.concatenate(values) for name, values in parts.items()}

    most = min(int(np.bincount(y[~hold_out(y, 0)]).min()), STEPS[-1])
    steps = [*(n for n in STEPS if n < most), most]
    points = []
    for name, x in features.items():
        for n in steps:
            scores = [_score(x, y, n, split) for split in range(splits)]
            points.append(Point(name, n, float(np.mean(scores)), float(np.std(scores)), splits))
            report(len(points), len(features) * len(steps))
    return points


def _score(x: NDArray[np.float32], y: NDArray[np.int64], per_class: int, split: int) -> float:
    held = hold_out(y, split)
    rng = np.random.default_rng([split, 1])  # the first n of one order: more pictures contain fewer
    chosen = [rng.permutation(np.flatnonzero(~held & (y == label)))[:per_class] for label in np.unique(y)]
    rows = np.concatenate(chosen)
    return accuracy("softmax", x[rows], y[rows], x[held], y[held])


def _untrained(bundle: Bundle) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """Return the default layer of the bundle's network with the weights that a training begins with."""
    network = NETWORKS.get(bundle.network)
    if network is None or not (network.is_any_size or network.recipe == bundle.recipe):  # another of that name
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = network.build(len(bundle.classes)).eval()

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x, is_pooled = torch.from_numpy(inputs), bundle.default_layer == layer_pooling.POOLED_LAYER
            values = (
                torch.cat(layer_pooling.pool_both_sizes(module, x), 1) if is_pooled else module(x)[bundle.default_layer]
            )
        return np.asarray(values.numpy(), np.float32)

    return run
