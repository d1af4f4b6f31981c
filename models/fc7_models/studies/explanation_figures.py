"""What a study of explanations leaves in a folder: tables (CSV) and drawings (PNG)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fc7_models.studies.correspondence import Correspondence
    from fc7_models.studies.feature_evolution import Stage
    from fc7_models.studies.invariance import Curve
    from fc7_models.studies.saliency_check import Check, Map

_UNITS = {"shift": "vertical shift, pixels of 224", "scale": "scale", "rotation": "rotation, degrees"}
_TILE = 64  # px of a projection
_QUANTILE = 0.995  # of a projection's absolute values becomes full contrast: single pixels would darken the rest


def write_invariance(curves: Sequence[Curve], folder: Path) -> None:
    """Write ``invariance.csv``, a row a picture and amount, and ``invariance.png``, a curve a picture."""
    _write_rows([row for curve in curves for row in curve.rows()], folder / "invariance.csv")
    layers = list(curves[0].distances)
    figure = _figure(4 * (2 + len(layers)), 9.5)
    axes = figure.subplots(3, 2 + len(layers))
    for row, transform in zip(axes, _UNITS, strict=True):
        own = [curve for curve in curves if curve.transform == transform]
        _show(row[0], np.concatenate([np.concatenate(list(curve.views), axis=1) for curve in own]))
        for column, layer in zip(row[1:], [*layers, ""], strict=True):
            for curve in own:
                values = curve.distances[layer] if layer else curve.probabilities
                column.plot(curve.amounts, values, label=f"{Path(curve.picture).stem[:24]}: {curve.label}")
            name = f"distance in {layer}, of its length" if layer else "probability of the class"
            column.set(xlabel=_UNITS[transform], ylabel=name)
            column.set_ylim(0, None if layer else 1)
            column.grid(alpha=0.3)
    figure.legend(handles=axes[0, 1].get_lines(), loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(folder / "invariance.png")


def write_correspondence(rows: Sequence[Correspondence], folder: Path) -> None:
    """Write ``correspondence.csv`` and ``correspondence.png``: each part beside random masks, layer by layer."""
    _write_rows([asdict(row) for row in rows], folder / "correspondence.csv")
    layers = list(dict.fromkeys(row.layer for row in rows))
    figure = _figure(4.5 * len(layers), 7)
    names = {"share of signs that differ": ("mean", "deviation"), "over chance": ("relative", "relative_deviation")}
    axes_of = figure.subplots(2, len(layers), squeeze=False)
    for line, (name, keys) in zip(axes_of, names.items(), strict=True):
        for axes, layer in zip(line, layers, strict=True):
            own = [row for row in rows if row.layer == layer]
            values, off = ([getattr(row, key) for row in own] for key in keys)
            axes.errorbar(range(len(own)), values, off, fmt="o", capsize=3)
            axes.set_xticks(range(len(own)), [row.part for row in own], rotation=30, ha="right")
            axes.set(title=layer, ylabel=name, xlim=(-0.5, len(own) - 0.5))
            axes.grid(alpha=0.3)
    figure.savefig(folder / "correspondence.png")


def write_evolution(stages: Sequence[Stage], folder: Path) -> None:
    """Write ``evolution.csv`` and ``evolution.png``: a block a layer, a row a unit, a column an epoch."""
    _write_rows([stage.row() for stage in stages], folder / "evolution.csv")
    layers = list(dict.fromkeys(stage.layer for stage in stages))
    epochs = sorted({stage.epoch for stage in stages})
    blocks = []
    for layer in layers:
        units = sorted({stage.unit for stage in stages if stage.layer == layer})
        tiles = {(s.unit, s.epoch): _tile(s.pixels) for s in stages if s.layer == layer}
        blocks.append(np.concatenate([np.concatenate([tiles[u, e] for e in epochs], axis=1) for u in units]))
    columns = min(3, len(layers))
    height = max(map(len, blocks)) / blocks[0].shape[1] * 3.6 + 1
    rows = -(-len(layers) // columns)
    figure = _figure(3.6 * columns, height * rows)
    every = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, layer, block in zip(every, layers, blocks, strict=False):
        _show(axes, block)
        axes.set_axis_on()
        axes.set_title(layer)
        axes.set_yticks([])
        axes.set_xticks([(i + 0.5) * (_TILE + 2) for i in range(len(epochs))], [str(epoch) for epoch in epochs])
        axes.set_xlabel("epoch")
    for axes in every[len(layers) :]:
        axes.set_axis_off()
    figure.savefig(folder / "evolution.png")


def write_check(found: Check, folder: Path) -> None:
    """Write the tables of both tests, their curves, and the maps of the first pictures."""
    _write_rows([asdict(score) for score in found.scores], folder / "scores.csv")
    _write_rows([asdict(row) for row in found.similarities], folder / "randomisation.csv")
    n_steps = next(iter(found.curves.values())).shape[1]
    shares = np.linspace(0, 1, n_steps)
    kinds = ("deletion", "insertion")
    _write_rows(
        [
            {"method": method, "curve": kind, "share": float(share), "probability": float(value)}
            for method, curve in found.curves.items()
            for kind, values in zip(kinds, curve, strict=True)
            for share, value in zip(shares, values, strict=True)
        ],
        folder / "curves.csv",
    )
    _draw_curves(found, shares, folder / "curves.png")
    _draw_similarities(found, folder / "randomisation.png")
    _draw_maps(found.views, found.maps, folder / "maps.png")
    _draw_shuffled(found, folder / "shuffled.png")


def _draw_curves(found: Check, shares: NDArray[np.float64], file: Path) -> None:
    figure = _figure(11, 4.5)
    for i, (axes, kind) in enumerate(zip(figure.subplots(1, 2), ("deletion", "insertion"), strict=True)):
        for score in found.scores:
            style = "--" if score.method in ("random", "edges") else "-"
            area = score.insertion if i else score.deletion
            axes.plot(shares, found.curves[score.method][i], style, label=f"{score.method} {area:.3f}")
        rule = "more is better" if i else "less is better"
        axes.set(title=f"{kind}: area ({rule})", xlabel="share of pixels", ylabel="probability of the class")
        axes.set_ylim(0, 1.4 * max(curve[i].max() for curve in found.curves.values()))  # room for the legend
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2, loc="upper center")
    figure.suptitle(f"{found.model}, mean of {found.scores[0].count} pictures")
    figure.savefig(file)


def _draw_similarities(found: Check, file: Path) -> None:
    figure = _figure(11, 4.5)
    layers = ["none", *dict.fromkeys(row.shuffled_to for row in found.similarities)]
    for axes, key in zip(figure.subplots(1, 2), ("rank_correlation", "structural_similarity"), strict=True):
        for method in dict.fromkeys(row.method for row in found.similarities):
            values = [getattr(row, key) for row in found.similarities if row.method == method]
            axes.plot(range(len(layers)), [1.0, *values], marker="o", label=method)
        axes.set_xticks(range(len(layers)), layers, rotation=30)
        axes.set(
            title=key.replace("_", " "), xlabel="shuffled down to", ylabel="contrastive_loss to the network's own map"
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(file)


def _draw_maps(views: Sequence[NDArray[np.uint8]], maps: Sequence[Mapping[str, Map]], file: Path) -> None:
    names = list(maps[0])
    figure = _figure(1.6 * (1 + len(names)), 1.6 * len(views) + 0.4)
    for i, row in enumerate(figure.subplots(len(views), 1 + len(names), squeeze=False)):
        _show(row[0], views[i])
        for axes, name in zip(row[1:], names, strict=True):
            _show(axes, _contrast(maps[i][name]), name if i == 0 else "")
    figure.savefig(file)


def _draw_shuffled(found: Check, file: Path) -> None:
    """Draw each method's map of the first picture, then those of the shuffled networks."""
    columns = {"none": found.maps[0], **found.shuffled}
    methods = list(next(iter(found.shuffled.values())))
    figure = _figure(1.6 * len(columns), 1.6 * len(methods) + 0.4)
    for row, method in zip(figure.subplots(len(methods), len(columns), squeeze=False), methods, strict=True):
        for axes, (layer, maps) in zip(row, columns.items(), strict=True):
            _show(axes, _contrast(maps[method]), layer if method == methods[0] else "")
        row[0].text(-0.08, 0.5, method, rotation=90, va="center", ha="right", transform=row[0].transAxes)
    figure.savefig(file)


def _contrast(values: Map) -> Map:
    """Return what speaks for the class, the strongest half a percent at one."""
    return np.clip(values / max(float(np.quantile(values, _QUANTILE)), 1e-30), 0, 1)


def _tile(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a projection around grey at full contrast, (66, 66, 3), framed in white."""
    strength = np.abs(pixels)
    most = float(np.quantile(strength[strength > 0], _QUANTILE)) if strength.any() else 1.0
    grey = np.clip(0.5 + 0.5 * pixels / most, 0, 1)
    height, width = grey.shape[:2]
    longer = max(height, width)
    rows, columns = (np.arange(side * _TILE // longer) * longer // _TILE for side in (height, width))
    framed = np.ones((_TILE + 2, _TILE + 2, 3), np.float32)
    framed[1 : 1 + len(rows), 1 : 1 + len(columns)] = grey[rows][:, columns]
    return framed


def _show(axes: Axes, image: NDArray[Any], title: str = "") -> None:
    axes.imshow(image, cmap="magma", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize="small")


def _figure(width: float, height: float) -> Figure:
    """Return a drawing of so many inches that needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _write_rows(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
