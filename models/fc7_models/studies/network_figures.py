"""Tables and figures of the studies of networks: accuracy, probes, learning curves, filters, ablation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7_models.studies.figure import draw_means, name_ticks, new_figure, show_image, write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fc7_models.studies.ablation import AblationResult
    from fc7_models.studies.evaluation import Evaluation
    from fc7_models.studies.inspection import Inspection
    from fc7_models.studies.learning_curve import CurvePoint
    from fc7_models.studies.linear_probe import LayerProbe

_MAX_NAMES = 40  # classes; more names could not be read along an axis
_WEIGHT_PX = 8  # pixels of the figure per weight of a filter


def write_evaluation(result: Evaluation, folder: Path) -> None:
    """Write ``classes.csv``, one row per class, and ``confusion.png``, whose rows sum to one."""
    from matplotlib.colors import PowerNorm

    write_table(result.classes, folder / "classes.csv")
    names = [row.name for row in result.classes]
    figure = new_figure(*(2 * [max(4.5, min(12, 0.3 * len(names) + 2))]))
    axes = figure.add_subplot()
    shares = result.confusion / result.confusion.sum(axis=1, keepdims=True)
    # A square root: on a linear scale one in ten looks black.
    image = axes.imshow(shares, cmap="magma", norm=PowerNorm(0.5, vmin=0, vmax=1))
    figure.colorbar(image, label="share of the class", fraction=0.046)
    if len(names) <= _MAX_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="class", title=f"{result.count} pictures, top-1 {result.top1:.1%}")
    figure.savefig(folder / "confusion.png")


def write_probe(rows: Sequence[LayerProbe], folder: Path) -> None:
    """Write ``probe.csv`` and ``probe.png``: the accuracy from each layer."""
    write_table(rows, folder / "probe.csv")
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for name, field in (("softmax", "softmax"), ("linear SVM", "svm")):
        draw_means(axes, range(len(rows)), rows, field, f"{field}_deviation", marker="o", label=name)
    name_ticks(axes, [row.layer for row in rows])
    _label_accuracy(axes, xlabel="features", title=f"{rows[0].count} pictures, {rows[0].splits} splits")
    figure.savefig(folder / "probe.png")


def write_curve(points: Sequence[CurvePoint], folder: Path) -> None:
    """Write ``curve.csv`` and ``curve.png``: accuracy against pictures per class."""
    write_table(points, folder / "curve.csv")
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for name in dict.fromkeys(point.features for point in points):
        own = [point for point in points if point.features == name]
        draw_means(axes, [point.per_class for point in own], own, "accuracy", "deviation", marker="o", label=name)
    axes.set_xscale("log")
    steps = list(dict.fromkeys(point.per_class for point in points))
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.minorticks_off()
    _label_accuracy(axes, xlabel="training pictures per class", title=f"softmax regression, {points[0].splits} splits")
    figure.savefig(folder / "curve.png")


def write_inspection(result: Inspection, folder: Path) -> None:
    """Write ``layers.csv`` and, if the network begins with a convolution, ``filters.png``."""
    write_table(result.layers, folder / "layers.csv")
    if not len(result.filters):
        return
    grid = filter_mosaic(result.filters)
    n, _, height, width = result.filters.shape
    figure = new_figure(_WEIGHT_PX * grid.shape[1] / 100 + 1, _WEIGHT_PX * grid.shape[0] / 100 + 1)
    show_image(figure.add_subplot(), grid, f"{result.model}: {n} first filters, {height} x {width}")
    figure.savefig(folder / "filters.png")


def filter_mosaic(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay filters side by side as colours, one pixel per weight.

    Each filter is scaled by its largest weight, and zero is grey. If there are not three channels, their mean is
    shown.

    Parameters
    ----------
    filters
        (N, channels, height, width).

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3) in 0..1.
    """
    if filters.shape[1] != 3:
        filters = np.repeat(filters.mean(axis=1, keepdims=True), 3, axis=1)
    n, _, height, width = filters.shape
    columns = int(np.ceil(np.sqrt(n)))
    grid = np.ones((-(-n // columns) * (height + 1) + 1, columns * (width + 1) + 1, 3), np.float32)
    for i, weights in enumerate(filters):
        y, x = 1 + i // columns * (height + 1), 1 + i % columns * (width + 1)
        largest = np.abs(weights).max() or 1.0
        grid[y : y + height, x : x + width] = 0.5 + 0.5 * weights.transpose(1, 2, 0) / largest
    return grid


def write_ablation(results: Sequence[AblationResult], folder: Path) -> None:
    """Write ``layers.csv`` and ``techniques.csv``, one row per variant."""
    for table in ("layers", "techniques"):
        write_table([result for result in results if result.table == table], folder / f"{table}.csv")


def _label_accuracy(axes: Axes, *, xlabel: str, title: str) -> None:
    axes.set(xlabel=xlabel, ylabel="accuracy, mean over classes", title=title, ylim=(0, 1))
    axes.legend()
