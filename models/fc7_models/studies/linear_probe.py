"""How well a linear classifier does on the features of each layer: table 7 of Zeiler & Fergus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7_models.data.dataset import read_dataset
from fc7_models.data.inference import Report, group_by_recipe, open_graph, open_model, read_batches
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.linear_classifier import accuracy, class_numbers, hold_out, pool

PIXELS = "pixels"  # what the network sees: its input, pooled as the layers are


@dataclass(frozen=True, slots=True)
class Probe:
    """Accuracy from one layer: mean and deviation over the splits, each class weighing the same."""

    layer: str
    shape: str  # before pooling
    dim: int  # numbers that the classifiers see
    softmax: float
    softmax_deviation: float
    svm: float
    svm_deviation: float
    splits: int
    count: int  # pictures, of which each split tests on a fifth


def probe(folder: Path, model: str, splits: int, report: Report) -> list[Probe]:
    """Train softmax regression and a linear SVM on each layer's features.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. Its classes may be any.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    splits
        Times that a random fifth of each class is tested on, the rest trained on.
    report
        Called with pictures read, then classifiers trained.

    Returns
    -------
    list of Probe
        The pixels, then every layer of ``find_layers``.

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
    Zeiler & Fergus 2013 (arXiv 1311.2901), table 7.
    """
    bundle, data = open_model(model), read_dataset(folder, "test")
    y = class_numbers(data)
    anatomy = find_layers(bundle)
    run = open_graph(anatomy.graph)
    names = [PIXELS, *anatomy.layers]
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    shapes: dict[str, str] = {}
    for recipe, layers in group_by_recipe(bundle, anatomy.layers).items():
        for inputs in read_batches(data.paths, recipe, report):
            outputs = dict(zip(layers, run(inputs, [anatomy.layers[layer] for layer in layers]), strict=True))
            if recipe == bundle.recipe:
                outputs[PIXELS] = inputs
            for name, values in outputs.items():
                parts[name].append(pool(values))
                shapes[name] = " x ".join(map(str, values.shape[1:]))
    rows = []
    for i, name in enumerate(names):
        x = np.concatenate(parts.pop(name))
        scores = np.empty((2, splits))
        for split in range(splits):
            held = hold_out(y, split)
            scores[0, split] = accuracy("softmax", x[~held], y[~held], x[held], y[held])
            scores[1, split] = accuracy("svm", x[~held], y[~held], x[held], y[held])
            report(2 * (i * splits + split + 1), 2 * splits * len(names))
        (softmax, svm), (softmax_off, svm_off) = scores.mean(1).tolist(), scores.std(1).tolist()
        rows.append(Probe(name, shapes[name], x.shape[1], softmax, softmax_off, svm, svm_off, splits, len(y)))
    return rows
