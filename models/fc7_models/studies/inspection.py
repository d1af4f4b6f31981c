"""Statistics of a network's layers and filters: dead units, sparsity, norm, filter size, aliasing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7_models.data.dataset import read_dataset
from fc7_models.data.inference import Report, group_by_recipe, open_graph, open_model, read_batches
from fc7_models.studies.graph_layers import find_layers
from fc7_service.bundle.golden import read_golden


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One layer's activations on some pictures. A unit is a map of a convolution, or one value of a vector."""

    layer: str
    shape: str
    units: int
    dead: int  # units that are zero everywhere in every picture
    sparsity: float  # share of zeros
    norm: float  # mean length of the layer, taken as one vector
    filter_rms: float | None  # root mean square of a unit's weights, mean over units; None without weights
    filter_rms_most: float | None  # the largest
    aliased: int | None  # units whose filter is too fine for its stride, see `count_aliased`
    count: int  # pictures


@dataclass(frozen=True, slots=True)
class Inspection:
    """The statistics of a network's layers, and its first filters (units, channels, height, width)."""

    model: str
    layers: list[LayerStatistics]
    filters: NDArray[np.float32]


def inspect_network(folder: Path | None, model: str, report: Report) -> Inspection:
    """Measure the weights and activations of a network's layers, except layers with a recipe of their own.

    Parameters
    ----------
    folder
        See ``read_dataset``; its ``test`` split. None uses the golden pictures of the bundle, which are few.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    report
        Called with the pictures done and all pictures.

    Raises
    ------
    NotFound
        No such folder or bundle.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901): section 3 (filters of one RMS), section 4.1 and figure 6 (dead filters,
    aliasing).
    """
    bundle = open_model(model)
    graph_layers = find_layers(bundle)
    run = open_graph(graph_layers.graph)
    layers = group_by_recipe(bundle, graph_layers.layers)[bundle.recipe]
    if folder is None:
        batches: Iterable[NDArray[np.float32]] = [read_golden(bundle).inputs]
    else:
        batches = read_batches(read_dataset(folder, "test").paths, bundle.recipe, report)
    tallies = {layer: _Tally() for layer in layers}
    for inputs in batches:
        for tally, values in zip(
            tallies.values(), run(inputs, [graph_layers.layers[layer] for layer in layers]), strict=True
        ):
            tally.add(values)
    statistics = [
        tally.statistics(layer, graph_layers.weights.get(layer), graph_layers.strides.get(layer))
        for layer, tally in tallies.items()
    ]
    return Inspection(bundle.name, statistics, graph_layers.filters)


def count_aliased(filters: NDArray[np.float32], stride: int) -> int:
    """Return how many filters have most of their energy at frequencies that their stride aliases.

    Parameters
    ----------
    filters
        (units, channels, height, width).
    stride
        Every ``stride``-th value along each axis is kept. Frequencies up to 1 / (2 stride) cycles per pixel along both
        axes survive that (Shannon); higher ones look like lower ones.

    Notes
    -----
    The energy is that of the filter's own spectrum, as if pictures held all frequencies equally.
    """
    rows, columns = (
        np.sinc((np.arange(size)[:, None] - np.arange(size)) / stride) / stride for size in filters.shape[2:]
    )  # w @ rows @ w is the energy of w up to 1 / (2 stride), by Parseval's theorem
    kept = ((rows @ filters @ columns) * filters).sum((1, 2, 3))
    return int((kept < (filters**2).sum((1, 2, 3)) / 2).sum())


@dataclass(slots=True)
class _Tally:
    """Sums over batches of one layer."""

    shape: tuple[int, ...] = ()
    is_alive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, bool))
    zeros: float = 0.0
    norm: float = 0.0
    count: int = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Add a batch (N, units, ...)."""
        self.shape = values.shape[1:]
        flat = values.reshape(len(values), -1)
        is_active = values != 0
        self.is_alive = self.is_alive | is_active.any(axis=(0, *range(2, values.ndim)))
        self.zeros += 1.0 * len(values) - float(is_active.sum()) / flat.shape[1]
        self.norm += float(np.linalg.norm(flat, axis=1).sum())
        self.count += len(values)

    def statistics(self, layer: str, weights: NDArray[np.float32] | None, stride: int | None) -> LayerStatistics:
        """Return the means; ``stride`` is that of the layer's convolution, if it has one."""
        rms = None if weights is None else np.sqrt((weights.reshape(len(weights), -1) ** 2).mean(1))
        return LayerStatistics(
            layer=layer,
            shape=" x ".join(map(str, self.shape)),
            units=len(self.is_alive),
            dead=int((~self.is_alive).sum()),
            sparsity=self.zeros / self.count,
            norm=self.norm / self.count,
            filter_rms=None if rms is None else float(rms.mean()),
            filter_rms_most=None if rms is None else float(rms.max()),
            aliased=None if weights is None or stride is None else count_aliased(weights, stride),
            count=self.count,
        )
