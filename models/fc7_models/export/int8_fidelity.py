"""Compare the int8 form of a network with fp32: layers, answers and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7_models.data.dataset import Dataset
from fc7_models.data.inference import Report, RunGraph, group_by_recipe, open_graph, read_batches
from fc7_models.export.golden_images import read_golden_inputs
from fc7_service.bundle.bundle import Bundle

_TIMED = (1, 32)  # pictures per run
_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class LayerFidelity:
    """How similar the int8 features of a layer are to those of fp32, over the pictures compared."""

    layer: str
    cosine: float  # mean
    least: float  # smallest


@dataclass(frozen=True, slots=True)
class Cost:
    """One figure for both forms."""

    what: str
    fp32: float
    int8: float


def compare_with_int8(
    bundle: Bundle, graph: bytes, pictures: Dataset, report: Report
) -> tuple[list[LayerFidelity], list[Cost]]:
    """Compare ``graph``, the int8 form of a bundle, with fp32 on pictures.

    Returns
    -------
    tuple
        The similarity of each layer; then accuracy, if the labels are classes of the network, and time.
    """
    runs = [open_graph(one, threads=1) for one in (bundle.graph(), graph)]
    cosines: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in bundle.layers}
    logits: list[list[NDArray[np.float32]]] = [[], []]
    groups = group_by_recipe(bundle, bundle.layers)
    for i, (recipe, layers) in enumerate(groups.items()):
        n, total = i * len(pictures.paths), len(groups) * len(pictures.paths)

        def tell(done: int, _: int, n: int = n, total: int = total) -> None:
            report(n + done, total)

        for inputs in read_batches(pictures.paths, recipe, tell):
            outputs = [run(inputs, layers) for run in runs]
            for layer, fp32, int8 in zip(layers, *outputs, strict=True):
                cosines[layer].append(_cosine(fp32, int8))
                if layer == "logits":
                    logits[0].append(fp32)
                    logits[1].append(int8)
    fidelity = [
        LayerFidelity(layer, float(np.concatenate(rows).mean()), float(np.concatenate(rows).min()))
        for layer, rows in cosines.items()
    ]
    costs = _accuracy(bundle, pictures, [np.concatenate(rows) for rows in logits]) if logits[0] else []
    return fidelity, costs + time_both(bundle, runs)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine between the rows of ``a`` and ``b``. Two rows of zeros have 1."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float32] = np.where(lengths > 0, (a * b).sum(axis=1) / np.maximum(lengths, 1e-30), 0)
    cosines[~a.any(axis=1) & ~b.any(axis=1)] = 1
    return cosines


def _accuracy(bundle: Bundle, pictures: Dataset, logits: Sequence[NDArray[np.float32]]) -> list[Cost]:
    """Return how often both forms choose the same class, and their accuracy if the network has all the classes."""
    best = [np.argsort(-rows, axis=1, kind="stable")[:, :5] for rows in logits]
    costs = [Cost("same best class", 1.0, float(np.mean(best[0][:, 0] == best[1][:, 0])))]
    index = {one.id: i for i, one in enumerate(bundle.classes)}
    if not set(pictures.labels) <= set(index):
        return costs
    labels = np.array([index[label] for label in pictures.labels])[:, None]
    return [
        *(Cost(f"top-{n}", *(float(np.mean((rows[:, :n] == labels).any(axis=1))) for rows in best)) for n in (1, 5)),
        *costs,
    ]


def time_both(bundle: Bundle, runs: Sequence[RunGraph]) -> list[Cost]:
    """Time both forms in turn on one thread: the shortest processor time of seven rounds."""
    golden = next(inputs for layer, inputs in read_golden_inputs(bundle) if layer == bundle.default_layer)
    costs = []
    for n in _TIMED:
        inputs = np.resize(golden, (n, *golden.shape[1:]))
        best = [np.inf, np.inf]
        for _ in range(_ROUNDS):
            for i, run in enumerate(runs):
                start = time.process_time()
                run(inputs, [bundle.default_layer])
                best[i] = min(best[i], time.process_time() - start)
        costs.append(Cost(f"ms per picture, {n} at once, one thread", *(1e3 * seconds / n for seconds in best)))
    return costs
