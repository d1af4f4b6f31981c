"""How well a linear classifier does on the features of each layer: table 7 of Zeiler & Fergus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7_models.data.dataset import read_dataset
from fc7_models.data.inference import Report, group_by_recipe, open_graph, open_model, read_batches
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.linear_classifier import (
    PIXELS,
    Layers,
    class_indices,
    collect_features,
    fit_and_score,
    hold_out,
)


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """Accuracy from one layer: mean and standard deviation over the splits, each class weighing the same."""

    layer: str
    shape: str  # before pooling
    dim: int  # of the features that the classifiers see
    softmax: float
    softmax_deviation: float
    svm: float
    svm_deviation: float
    splits: int
    count: int  # pictures, of which each split tests on a fifth


def probe_layers(folder: Path, model: str, splits: int, report: Report) -> list[LayerProbe]:
    """Train softmax regression and a linear SVM on each layer's features.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. The classes need not be the network's.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    splits
        How often a random fifth of each class is held out for testing.
    report
        Called with the pictures read, then with the classifiers trained.

    Returns
    -------
    list of LayerProbe
        The pixels, then every layer of ``find_layers``.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        A class has fewer than five pictures, or there are more than 20,000 in all.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), table 7.
    """
    bundle, data = open_model(model), read_dataset(folder, "test")
    y = class_indices(data)
    graph_layers = find_layers(bundle)
    run = open_graph(graph_layers.graph)
    shapes: dict[str, str] = {}
    features: dict[str, NDArray[np.float32]] = {}
    for recipe, layers in group_by_recipe(bundle, graph_layers.layers).items():

        def compute(inputs: NDArray[np.float32], layers: list[str] = layers, recipe: object = recipe) -> Layers:
            outputs = run(inputs, [graph_layers.layers[layer] for layer in layers])
            values = dict(zip(layers, outputs, strict=True))
            if recipe == bundle.recipe:
                values[PIXELS] = inputs
            shapes.update({name: " x ".join(map(str, array.shape[1:])) for name, array in values.items()})
            return values

        features |= collect_features(read_batches(data.paths, recipe, report), compute)
    names = [PIXELS, *graph_layers.layers]
    rows = []
    for i, name in enumerate(names):
        x = features.pop(name)
        scores = np.empty((2, splits))
        for split in range(splits):
            held = hold_out(y, split)
            scores[0, split] = fit_and_score("softmax", x[~held], y[~held], x[held], y[held])
            scores[1, split] = fit_and_score("svm", x[~held], y[~held], x[held], y[held])
            report(2 * (i * splits + split + 1), 2 * splits * len(names))
        (softmax, svm), (softmax_deviation, svm_deviation) = scores.mean(1).tolist(), scores.std(1).tolist()
        rows.append(
            LayerProbe(
                layer=name,
                shape=shapes[name],
                dim=x.shape[1],
                softmax=softmax,
                softmax_deviation=softmax_deviation,
                svm=svm,
                svm_deviation=svm_deviation,
                splits=splits,
                count=len(y),
            )
        )
    return rows
