"""What a study leaves in a folder: tables (CSV) and drawings (PNG)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fc7_models.studies.ablation import AblationResult
    from fc7_models.studies.evaluation import ClassResult, Evaluation
    from fc7_models.studies.inspection import Inspection, LayerStatistics
    from fc7_models.studies.learning_curve import Point
    from fc7_models.studies.linear_probe import Probe

_NAMED = 40  # classes; more names than that cannot be read along an axis
_TILE = 8  # pixels of the drawing a weight


def prepare(folder: Path) -> None:
    """Make the folder, before the work whose results it will hold.

    Raises
    ------
    InvalidArgument
        A file has that name.
    ModuleNotFoundError
        Matplotlib, which draws, is not installed.
    """
    import matplotlib.figure  # noqa: F401

    if folder.exists() and not folder.is_dir():
        raise InvalidArgument(f"output {str(folder)!r} is a file: name a folder", name=str(folder))
    folder.mkdir(parents=True, exist_ok=True)


def write_evaluation(result: Evaluation, folder: Path) -> None:
    """Write ``classes.csv``, a class a row, and ``confusion.png``, whose rows sum to one."""
    from matplotlib.colors import PowerNorm

    _write_rows(result.classes, folder / "classes.csv")
    names = [row.name for row in result.classes]
    figure, axes = _canvas(*(2 * [max(4.5, min(12, 0.3 * len(names) + 2))]))
    shares = result.confusion / result.confusion.sum(axis=1, keepdims=True)
    drawn = axes.imshow(shares, cmap="magma", norm=PowerNorm(0.5, vmin=0, vmax=1))  # else one in ten is black
    figure.colorbar(drawn, label="share of the class", fraction=0.046)
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="given", ylabel="class", title=f"{result.count} pictures, top-1 {result.top1:.1%}")
    figure.savefig(folder / "confusion.png")


def write_probe(rows: Sequence[Probe], folder: Path) -> None:
    """Write ``probe.csv`` and ``probe.png``: accuracy from each layer, with its deviation."""
    _write_rows(rows, folder / "probe.csv")
    figure, axes = _canvas(7, 4.5)
    x = np.arange(len(rows))
    for name, key in (("softmax", "softmax"), ("linear SVM", "svm")):
        values, off = [[getattr(row, k) for row in rows] for k in (key, f"{key}_deviation")]
        axes.errorbar(x, values, off, marker="o", capsize=3, label=name)
    axes.set_xticks(x, [row.layer for row in rows], rotation=30, ha="right")
    _finish(axes, xlabel="features", title=f"{rows[0].count} pictures, {rows[0].splits} splits")
    figure.savefig(folder / "probe.png")


def write_curve(points: Sequence[Point], folder: Path) -> None:
    """Write ``curve.csv`` and ``curve.png``: accuracy against pictures a class."""
    _write_rows(points, folder / "curve.csv")
    figure, axes = _canvas(7, 4.5)
    for name in dict.fromkeys(point.features for point in points):
        own = [point for point in points if point.features == name]
        values, off = [p.accuracy for p in own], [p.deviation for p in own]
        axes.errorbar([p.per_class for p in own], values, off, marker="o", capsize=3, label=name)
    axes.set_xscale("log")
    steps = list(dict.fromkeys(point.per_class for point in points))
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.minorticks_off()
    _finish(axes, xlabel="training pictures of each class", title=f"softmax regression, {points[0].splits} splits")
    figure.savefig(folder / "curve.png")


def write_inspection(found: Inspection, folder: Path) -> None:
    """Write ``layers.csv`` and, where the network begins with a convolution, ``filters.png``."""
    _write_rows(found.layers, folder / "layers.csv")
    if not len(found.filters):
        return
    grid = mosaic(found.filters)
    figure, axes = _canvas(_TILE * grid.shape[1] / 100 + 1, _TILE * grid.shape[0] / 100 + 1)
    axes.imshow(grid, interpolation="nearest")
    axes.set_axis_off()
    n, _, height, width = found.filters.shape
    axes.set_title(f"{found.model}: {n} first filters, {height} x {width}")
    figure.savefig(folder / "filters.png")


def mosaic(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay filters (N, channels, height, width) side by side as colours 0 to 1: (H, W, 3), a weight a pixel.

    Each filter is scaled by its largest weight, zero being grey. Other than three channels
    are averaged.
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
    """Write ``layers.csv`` and ``techniques.csv``, a variant a row."""
    for table in ("layers", "techniques"):
        _write_rows([result for result in results if result.table == table], folder / f"{table}.csv")


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a drawing of so many inches that needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: Axes, *, xlabel: str, title: str) -> None:
    axes.set(xlabel=xlabel, ylabel="accuracy, mean of the classes", title=title, ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()


def _write_rows(rows: Sequence[ClassResult | Probe | Point | LayerStatistics | AblationResult], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(rows[0])])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
