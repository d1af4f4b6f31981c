"""Accuracy against pictures per class, as Zeiler & Fergus draw it for Caltech-256: the labels that training saves."""

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
from fc7_models.studies.linear_classifier import PIXELS, class_indices, collect_features, fit_and_score, hold_out
from fc7_service.bundle.bundle import Bundle

PER_CLASS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy of softmax regression with one number of pictures per class, each class weighing the same."""

    features: str  # the layer; "untrained", the same layer with random weights; or "pixels"
    per_class: int
    accuracy: float  # mean over the splits
    deviation: float  # standard deviation over the splits
    splits: int


def measure_learning_curve(folder: Path, model: str, splits: int, report: Report) -> list[CurvePoint]:
    """Train softmax regression on 1, 2, 5, 10, ... pictures per class, up to those of the smallest class.

    Three kinds of features are compared: the bundle's default layer, the same layer of the untrained network (only
    for fc7's own networks; without whitening, which a classifier does not need), and the network's input.

    Parameters
    ----------
    folder, model, splits
        See ``probe_layers``.
    report
        Called with the pictures read, then with the points measured.

    Raises
    ------
    NotFound, InvalidArgument, ImageDecodeError, FailedPrecondition
        See ``probe_layers``.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), table 5 and figure 9.
    """
    bundle, data = open_model(model), read_dataset(folder, "test")
    y = class_indices(data)
    layer = bundle.default_layer
    run = open_graph(bundle.graph())
    sources: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {layer: lambda x: run(x, [layer])[0]}
    if (untrained := _untrained_layer(bundle)) is not None:
        sources[UNTRAINED] = untrained
    sources[PIXELS] = lambda x: x
    batches = read_batches(data.paths, bundle.recipe_of(layer), report)
    features = collect_features(batches, lambda x: {name: compute(x) for name, compute in sources.items()})

    largest = min(PER_CLASS[-1], *(int(np.bincount(y[~hold_out(y, split)]).min()) for split in range(splits)))
    steps = [*(n for n in PER_CLASS if n < largest), largest]
    points = []
    for name, x in features.items():
        for n in steps:
            scores = [_score(x, y, n, split) for split in range(splits)]
            points.append(CurvePoint(name, n, float(np.mean(scores)), float(np.std(scores)), splits))
            report(len(points), len(features) * len(steps))
    return points


def _score(x: NDArray[np.float32], y: NDArray[np.int64], per_class: int, split: int) -> float:
    held = hold_out(y, split)
    rng = np.random.default_rng([split, 1])  # one order for all sizes, so that a larger set contains the smaller ones
    chosen = [rng.permutation(np.flatnonzero(~held & (y == label)))[:per_class] for label in np.unique(y)]
    rows = np.concatenate(chosen)
    return fit_and_score("softmax", x[rows], y[rows], x[held], y[held])


def _untrained_layer(bundle: Bundle) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """Return the default layer of the bundle's network with the random weights that training begins with."""
    network = NETWORKS.get(bundle.network)
    # Another network may bear the same name.
    if network is None or not (network.is_any_size or network.recipe == bundle.recipe):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = network.build(len(bundle.classes)).eval()

    def compute(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(inputs)
            if bundle.default_layer == layer_pooling.POOLED_LAYER:
                values = torch.cat(layer_pooling.pool_cells(*layer_pooling.run_both_sizes(module, x)), 1)
            elif bundle.default_layer == layer_pooling.GEM_LAYER:
                values = layer_pooling.pool_gem(*layer_pooling.run_both_sizes(module, x))
            else:
                values = module(x)[bundle.default_layer]
        return np.asarray(values.numpy(), np.float32)

    return compute
