"""Explanations drawn as the paper draws its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.pictures import (
    SIDE,
    Panel,
    coloured,
    draw,
    heat,
    legend,
    mosaic,
    outlined,
    patch,
    projected,
    square,
    veiled,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from fc7.explanations import ClassReason, Match, MatchSide, Occlusion, Projection, Projections, View

_SMALL = 84  # px of a picture in a block of nine
_ACROSS = 3  # units side by side


@dataclass(frozen=True, slots=True)
class Excited:
    """A picture that excites a unit: its file, and how it was projected."""

    path: Path
    view: View
    projection: Projection


def draw_units(path: Path, found: Projections, output: Path) -> None:
    """Draw each unit in a row: the picture with the receptive field, the patch, the projection."""
    image, px = square(path, found.view, 2 * SIDE), len(found.view.pixels)
    rows = []
    for one in found.projections:
        place, signal = one.place, projected(one.pixels, 2 * SIDE)
        rows.append(
            [
                Panel(
                    outlined(image, place.box, px).resize((SIDE, SIDE)),
                    (_unit(one), f"row {place.y}, column {place.x}"),
                ),
                Panel(patch(image, place.box, px), ("patch",)),
                Panel(patch(signal, place.box, px), ("projection",)),
            ]
        )
    half = -(-len(rows) // 2) if len(rows) > 4 else len(rows)
    pairs = [rows[i] + (rows[i + half] if i + half < len(rows) else []) for i in range(half)]
    draw(pairs, output, f"{path.name}: units of {found.provenance.model} {found.provenance.layer}")


def draw_top(units: Mapping[int, Sequence[Excited]], output: Path, title: str) -> None:
    """Draw for each unit a block of nine projections beside the nine patches, as in figure 2."""
    panels, patches_of = [], _patches(units)
    for unit, images in units.items():
        signals = [_cut(projected(one.projection.pixels, 2 * SIDE), one) for one in images]
        patches = [patches_of[unit, one.path] for one in images]
        strongest = f"strongest {images[0].projection.place.value:.3g}" if images else "silent in every picture"
        panels.append([Panel(mosaic(signals, _SMALL), (f"unit {unit}",)), Panel(mosaic(patches, _SMALL), (strongest,))])
    rows = [list(chain.from_iterable(panels[i : i + _ACROSS])) for i in range(0, len(panels), _ACROSS)]
    draw(rows, output, title)


def _patches(units: Mapping[int, Sequence[Excited]]) -> dict[tuple[int, Path], Image.Image]:
    """Return what each unit sees of each of its pictures; a file is opened once."""
    seen: dict[Path, list[tuple[int, Excited]]] = {}
    for unit, images in units.items():
        for one in images:
            seen.setdefault(one.path, []).append((unit, one))
    patches = {}
    for path, ones in seen.items():
        image = square(path, ones[0][1].view, 2 * SIDE)
        patches.update({(unit, path): _cut(image, one) for unit, one in ones})
    return patches


def _cut(image: Image.Image, one: Excited) -> Image.Image:
    return patch(image, one.projection.place.box, len(one.view.pixels), _SMALL)


def draw_match(paths: tuple[Path, Path], found: Match, output: Path) -> None:
    """Draw both pictures and the units that carry most, projected in both.

    A layer that has positions is drawn with the similarity on each picture, and a row a unit with its
    patches; any other, whose units see the whole picture, with a row a picture.
    """
    sides = (found.query, found.neighbour)
    images = [square(path, side.view, 2 * SIDE) for path, side in zip(paths, sides, strict=True)]
    shares = [
        (f"unit {one.place.unit}", f"carries {found.contributions[one.place.unit]:.4f} of {found.score:.4f}")
        for one in found.query.projections
    ]
    rows: list[list[Panel]] = []
    if found.query.positions is None or found.neighbour.positions is None:
        for path, side, image in zip(paths, sides, images, strict=True):
            shown = [Panel(projected(one.pixels), share) for one, share in zip(side.projections, shares, strict=True)]
            rows.append([Panel(image.resize((SIDE, SIDE)), (path.name,)), *shown])
    else:
        rows.append([])
        for path, positions, image in zip(
            paths, (found.query.positions, found.neighbour.positions), images, strict=True
        ):
            lit = veiled(image, positions).resize((SIDE, SIDE))
            rows[0].append(Panel(image.resize((SIDE, SIDE)), (path.name,)))
            rows[0].append(Panel(lit, ("lit: what carries the cosine", _range(positions))))
        for i, share in enumerate(shares):
            rows.append([*_both(sides[0], i, images[0], share), *_both(sides[1], i, images[1], ("", ""))])
    layer = found.provenance.layer
    draw(rows, output, f"cosine {found.score:.4f} of {found.provenance.model} {layer}, split over {found.unit_layer}")


def draw_class(path: Path, found: ClassReason, output: Path) -> None:
    """Draw the picture, the class-activation map where there is one, and the units that carry most."""
    image, px = square(path, found.view, 2 * SIDE), len(found.view.pixels)
    first = [
        Panel(
            image.resize((SIDE, SIDE)), (path.name, f"{found.label} {found.probability:.3f}, logit {found.logit:.3f}")
        )
    ]
    if found.positions is not None:
        first.append(Panel(veiled(image, found.positions).resize((SIDE, SIDE)), ("lit: what carries the class",)))
        first.append(Panel(heat(found.positions), ("share of each position", _range(found.positions))))
    panels = [
        Panel(
            patch(projected(one.pixels, 2 * SIDE), one.place.box, px),
            (_unit(one), f"carries {found.contributions[one.place.unit]:.3f}"),
        )
        for one in found.projections
    ]
    rows = [first, *(panels[i : i + 5] for i in range(0, len(panels), 5))]
    draw(rows, output, f"what carries {found.label!r} in {found.provenance.model} {found.provenance.layer}")


def draw_occlusion(path: Path, found: Occlusion, output: Path) -> None:
    """Draw the picture and the maps of probability, most probable class and activity, as in figure 7."""
    from PIL import ImageDraw

    px = len(found.view.pixels)
    image = square(path, found.view)
    ImageDraw.Draw(image).rectangle(
        (2, 2, 2 + found.square_px * SIDE // px, 2 + found.square_px * SIDE // px), "#808080"
    )
    row = [
        Panel(image, (path.name, f"grey square of {found.square_px} px")),
        Panel(heat(found.probabilities, low=0.0), (f"probability of {found.label}", _range(found.probabilities))),
    ]
    if found.activities is not None:
        ends = _range(found.activities)
        row.insert(
            1, Panel(heat(found.activities, low=0.0), (f"{found.activity_layer}, map {found.activity_unit}", ends))
        )
    counts = [int((found.best == i).sum()) for i in range(len(found.labels))]
    row.append(Panel(coloured(found.best, len(found.labels)), ("most probable class",)))
    row.append(Panel(legend(found.labels, counts)))
    draw([row], output, f"{found.label} ({found.probability:.3f} in the whole picture) under a grey square")


def _range(values: NDArray[np.float32]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def _unit(one: Projection) -> str:
    return f"unit {one.place.unit}: {one.place.value:.3g}"


def _both(side: MatchSide, number: int, image: Image.Image, caption: tuple[str, str]) -> list[Panel]:
    one, px = side.projections[number], len(side.view.pixels)
    signal = projected(one.pixels, 2 * SIDE)
    return [Panel(patch(image, one.place.box, px), caption), Panel(patch(signal, one.place.box, px), ("projection",))]
