"""Tables and figures of the studies of explanations: invariance, correspondence, evolution, the check of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7_models.studies.figure import contrast_limit, draw_means, name_ticks, new_figure, show_image, write_table

if TYPE_CHECKING:
    from fc7_models.studies.correspondence import Correspondence
    from fc7_models.studies.feature_evolution import UnitSnapshot
    from fc7_models.studies.invariance import InvarianceCurve
    from fc7_models.studies.saliency_check import Map, SaliencyCheck

_AXIS_NAMES = {"shift": "vertical shift, pixels of 224", "scale": "scale", "rotation": "rotation, degrees"}
_TILE_PX = 64  # side of a projection


def write_invariance(curves: Sequence[InvarianceCurve], folder: Path) -> None:
    """Write ``invariance.csv``, one row per picture and amount, and ``invariance.png``, one curve per picture."""
    write_table([row for curve in curves for row in curve.rows()], folder / "invariance.csv")
    layers = list(curves[0].distances)
    figure = new_figure(4 * (2 + len(layers)), 9.5)
    grid = figure.subplots(3, 2 + len(layers))
    for (pictures, *plots), transform in zip(grid, _AXIS_NAMES, strict=True):
        own = [curve for curve in curves if curve.transform == transform]
        show_image(pictures, np.concatenate([np.concatenate(list(curve.views), axis=1) for curve in own]))
        for axes, layer in zip(plots, [*layers, ""], strict=True):
            for curve in own:
                values = curve.distances[layer] if layer else curve.probabilities
                axes.plot(curve.amounts, values, label=f"{Path(curve.picture).stem[:24]}: {curve.label}")
            name = f"distance in {layer} / its length" if layer else "probability of the class"
            axes.set(xlabel=_AXIS_NAMES[transform], ylabel=name)
            axes.set_ylim(0, None if layer else 1)
            axes.grid(alpha=0.3)
    figure.legend(handles=grid[0, 1].get_lines(), loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(folder / "invariance.png")


def write_correspondence(rows: Sequence[Correspondence], folder: Path) -> None:
    """Write ``correspondence.csv`` and ``correspondence.png``: each part beside random masks, for each layer."""
    write_table(rows, folder / "correspondence.csv")
    layers = list(dict.fromkeys(row.layer for row in rows))
    figure = new_figure(4.5 * len(layers), 7)
    measures = {"share of signs that differ": ("mean", "deviation"), "over chance": ("relative", "relative_deviation")}
    grid = figure.subplots(2, len(layers), squeeze=False)
    for line, (name, fields) in zip(grid, measures.items(), strict=True):
        for axes, layer in zip(line, layers, strict=True):
            own = [row for row in rows if row.layer == layer]
            draw_means(axes, range(len(own)), own, *fields, fmt="o")
            name_ticks(axes, [row.part for row in own])
            axes.set(title=layer, ylabel=name, xlim=(-0.5, len(own) - 0.5))
    figure.savefig(folder / "correspondence.png")


def write_evolution(snapshots: Sequence[UnitSnapshot], folder: Path) -> None:
    """Write ``evolution.csv`` and ``evolution.png``: a block per layer, a row per unit, a column per epoch."""
    write_table([snapshot.row() for snapshot in snapshots], folder / "evolution.csv")
    layers = list(dict.fromkeys(snapshot.layer for snapshot in snapshots))
    epochs = sorted({snapshot.epoch for snapshot in snapshots})
    blocks = []
    for layer in layers:
        tiles = {(s.unit, s.epoch): _projection_tile(s.pixels) for s in snapshots if s.layer == layer}
        units = sorted({unit for unit, _ in tiles})
        blocks.append(np.concatenate([np.concatenate([tiles[u, e] for e in epochs], axis=1) for u in units]))
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    height = max(map(len, blocks)) / blocks[0].shape[1] * 3.6 + 1
    figure = new_figure(3.6 * columns, height * rows)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, layer, block in zip(grid, layers, blocks, strict=False):
        show_image(axes, block)
        axes.set_axis_on()
        axes.set_title(layer)
        axes.set_yticks([])
        axes.set_xticks([(i + 0.5) * (_TILE_PX + 2) for i in range(len(epochs))], [str(epoch) for epoch in epochs])
        axes.set_xlabel("epoch")
    for axes in grid[len(layers) :]:
        axes.set_axis_off()
    figure.savefig(folder / "evolution.png")


def write_check(result: SaliencyCheck, folder: Path) -> None:
    """Write the tables and curves of both tests, and the maps of the first pictures."""
    write_table(result.scores, folder / "scores.csv")
    write_table(result.similarities, folder / "randomisation.csv")
    n_points = next(iter(result.curves.values())).shape[1]
    shares = np.linspace(0, 1, n_points)
    rows = [
        {"method": method, "curve": kind, "share": float(share), "probability": float(value)}
        for method, curve in result.curves.items()
        for kind, values in zip(("deletion", "insertion"), curve, strict=True)
        for share, value in zip(shares, values, strict=True)
    ]
    write_table(rows, folder / "curves.csv")
    _draw_curves(result, shares, folder / "curves.png")
    _draw_similarities(result, folder / "randomisation.png")
    _draw_maps(result.views, result.maps, folder / "maps.png")
    _draw_randomised_maps(result, folder / "shuffled.png")


def _draw_curves(result: SaliencyCheck, shares: NDArray[np.float64], file: Path) -> None:
    figure = new_figure(11, 4.5)
    rules = {"deletion": "less is better", "insertion": "more is better"}
    for i, (axes, (kind, rule)) in enumerate(zip(figure.subplots(1, 2), rules.items(), strict=True)):
        for score in result.scores:
            style = "--" if score.method in ("random", "edges") else "-"
            label = f"{score.method} {getattr(score, kind):.3f}"
            axes.plot(shares, result.curves[score.method][i], style, label=label)
        axes.set(title=f"{kind}: area ({rule})", xlabel="share of pixels", ylabel="probability of the class")
        axes.set_ylim(0, 1.4 * max(curve[i].max() for curve in result.curves.values()))  # room for the legend
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2, loc="upper center")
    figure.suptitle(f"{result.model}, mean of {result.scores[0].count} pictures")
    figure.savefig(file)


def _draw_similarities(result: SaliencyCheck, file: Path) -> None:
    figure = new_figure(11, 4.5)
    layers = ["none", *dict.fromkeys(row.shuffled_to for row in result.similarities)]
    fields = ("rank_correlation", "structural_similarity")
    for axes, field in zip(figure.subplots(1, 2), fields, strict=True):
        for method in dict.fromkeys(row.method for row in result.similarities):
            values = [getattr(row, field) for row in result.similarities if row.method == method]
            axes.plot(range(len(layers)), [1.0, *values], marker="o", label=method)
        axes.set_xticks(range(len(layers)), layers, rotation=30)
        axes.set(title=field.replace("_", " "), xlabel="shuffled down to", ylabel="similarity to the original map")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(file)


def _draw_maps(views: Sequence[NDArray[np.uint8]], maps: Sequence[Mapping[str, Map]], file: Path) -> None:
    """Draw one row per picture: the picture, then the map of each method."""
    names = list(maps[0])
    figure = new_figure(1.6 * (1 + len(names)), 1.6 * len(views) + 0.4)
    for i, row in enumerate(figure.subplots(len(views), 1 + len(names), squeeze=False)):
        show_image(row[0], views[i])
        for axes, name in zip(row[1:], names, strict=True):
            show_image(axes, _at_full_contrast(maps[i][name]), name if i == 0 else "")
    figure.savefig(file)


def _draw_randomised_maps(result: SaliencyCheck, file: Path) -> None:
    """Draw one row per method: its map of the first picture, then those of the networks with shuffled weights."""
    columns = {"none": result.maps[0], **result.shuffled}
    methods = list(next(iter(result.shuffled.values())))
    figure = new_figure(1.6 * len(columns), 1.6 * len(methods) + 0.4)
    for row, method in zip(figure.subplots(len(methods), len(columns), squeeze=False), methods, strict=True):
        for axes, (layer, maps) in zip(row, columns.items(), strict=True):
            show_image(axes, _at_full_contrast(maps[method]), layer if method == methods[0] else "")
        row[0].text(-0.08, 0.5, method, rotation=90, va="center", ha="right", transform=row[0].transAxes)
    figure.savefig(file)


def _at_full_contrast(values: Map) -> Map:
    """Return the positive part of a map, scaled to 0..1."""
    return np.clip(values / max(contrast_limit(values), 1e-30), 0, 1)


def _projection_tile(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a projection around grey at full contrast, (66, 66, 3), with a white frame."""
    strength = np.abs(pixels)
    limit = contrast_limit(strength[strength > 0]) if strength.any() else 1.0
    grey = np.clip(0.5 + 0.5 * pixels / limit, 0, 1)
    height, width = grey.shape[:2]
    longer = max(height, width)
    rows, columns = (np.arange(side * _TILE_PX // longer) * longer // _TILE_PX for side in (height, width))
    framed = np.ones((_TILE_PX + 2, _TILE_PX + 2, 3), np.float32)
    framed[1 : 1 + len(rows), 1 : 1 + len(columns)] = grey[rows][:, columns]
    return framed
