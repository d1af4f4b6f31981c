"""Drawings of what `client.explain` returns, after the figures of Zeiler & Fergus 2013."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.maps import class_legend, class_map, heat_map, projection_image
from fc7.drawing.page import PANEL_PX, Panel, draw_page
from fc7.drawing.pictures import block_of_nine, cut_out, open_view, outline, spotlight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from fc7.explanations import ClassReason, Match, MatchSide, Occlusion, Projection, Projections, View

_LARGE_PX = 2 * PANEL_PX  # side of a view from which parts are cut
_SMALL_PX = 84  # side of a picture in a block of nine
_UNITS_PER_ROW = 3  # blocks of nine
_PANELS_PER_ROW = 5


@dataclass(frozen=True, slots=True)
class ActivatingPicture:
    """A picture that activates a unit: its file, and the unit's projection in it."""

    path: Path
    view: View
    projection: Projection


def draw_units(path: Path, found: Projections, output: Path) -> None:
    """Draw, for each unit, the picture with the unit's receptive field, the field alone, and the projection."""
    image, view_px = open_view(path, found.view, _LARGE_PX), len(found.view.pixels)
    rows = []
    for projection in found.projections:
        place = projection.place
        whole = outline(image, place.box, view_px).resize((PANEL_PX, PANEL_PX))
        rows.append(
            [
                Panel(whole, (_activation(projection), f"row {place.y}, column {place.x}")),
                Panel(cut_out(image, place.box, view_px), ("what the unit sees",)),
                Panel(_cut_projection(projection, view_px), ("projection",)),
            ]
        )
    half = -(-len(rows) // 2) if len(rows) > 4 else len(rows)
    pairs = [rows[i] + (rows[i + half] if i + half < len(rows) else []) for i in range(half)]
    draw_page(pairs, output, f"Units of {found.provenance.model} {found.provenance.layer} in {path.name}")


def draw_top_pictures(units: Mapping[int, Sequence[ActivatingPicture]], output: Path, title: str) -> None:
    """Draw, for each unit, nine projections beside the parts of the nine pictures that the unit sees (figure 2)."""
    blocks, fields_of = [], _receptive_fields(units)
    for unit, pictures in units.items():
        projections = [_cut_projection(one.projection, len(one.view.pixels), _SMALL_PX) for one in pictures]
        fields = [fields_of[unit, one.path] for one in pictures]
        strongest = f"strongest activation {pictures[0].projection.place.value:.3g}" if pictures else "never active"
        blocks.append(
            [
                Panel(block_of_nine(projections, _SMALL_PX), (f"unit {unit}",)),
                Panel(block_of_nine(fields, _SMALL_PX), (strongest,)),
            ]
        )
    rows = [list(chain.from_iterable(blocks[i : i + _UNITS_PER_ROW])) for i in range(0, len(blocks), _UNITS_PER_ROW)]
    draw_page(rows, output, title)


def _receptive_fields(units: Mapping[int, Sequence[ActivatingPicture]]) -> dict[tuple[int, Path], Image.Image]:
    """Return what each unit sees of each of its pictures. Each file is opened once."""
    uses: dict[Path, list[tuple[int, ActivatingPicture]]] = {}
    for unit, pictures in units.items():
        for picture in pictures:
            uses.setdefault(picture.path, []).append((unit, picture))
    fields = {}
    for path, uses_of_file in uses.items():
        image = open_view(path, uses_of_file[0][1].view, _LARGE_PX)
        for unit, picture in uses_of_file:
            box, view_px = picture.projection.place.box, len(picture.view.pixels)
            fields[unit, path] = cut_out(image, box, view_px, _SMALL_PX)
    return fields


def draw_match(paths: tuple[Path, Path], found: Match, output: Path) -> None:
    """Draw both pictures, and the units that contribute most to their similarity, projected in both.

    Where the layer has positions, each picture is shown lit by the shares of its positions, and each unit gets a row
    with what it sees. The units of any other layer see the whole picture: then each picture gets a row.
    """
    sides = (found.query, found.neighbour)
    images = [open_view(path, side.view, _LARGE_PX) for path, side in zip(paths, sides, strict=True)]
    units = [projection.place.unit for projection in found.query.projections]
    captions = [(f"unit {unit}", f"contributes {found.contributions[unit]:.4f} of {found.score:.4f}") for unit in units]
    wholes = [
        Panel(image.resize((PANEL_PX, PANEL_PX)), (path.name, role))
        for image, path, role in zip(images, paths, ("query", "neighbour"), strict=True)
    ]
    rows: list[list[Panel]] = []
    if found.query.positions is None or found.neighbour.positions is None:
        for whole, side in zip(wholes, sides, strict=True):
            shown = zip(side.projections, captions, strict=True)
            rows.append([whole, *(Panel(projection_image(one.pixels), caption) for one, caption in shown)])
    else:
        positions = (found.query.positions, found.neighbour.positions)
        lit = [_lit(image, shares) for image, shares in zip(images, positions, strict=True)]
        rows.append([wholes[0], lit[0], wholes[1], lit[1]])
        for i, caption in enumerate(captions):
            query = _seen_and_projected(found.query, i, images[0], caption)
            rows.append(query + _seen_and_projected(found.neighbour, i, images[1], caption[:1]))
    layer = f"{found.provenance.model} {found.provenance.layer}"
    draw_page(rows, output, f"Cosine {found.score:.4f} in {layer}, split over the units of {found.unit_layer}")


def draw_class(path: Path, found: ClassReason, output: Path) -> None:
    """Draw the picture, the shares of its positions if the layer has any, and the units that contribute most."""
    image, view_px = open_view(path, found.view, _LARGE_PX), len(found.view.pixels)
    facts = f"{found.label} {found.probability:.3f}, logit {found.logit:.3f}"
    first = [Panel(image.resize((PANEL_PX, PANEL_PX)), (path.name, facts))]
    if found.positions is not None:
        first.append(_lit(image, found.positions))
        first.append(Panel(heat_map(found.positions), ("share of each position", _range(found.positions))))
    panels = []
    for projection in found.projections:
        contribution = found.contributions[projection.place.unit]
        caption = (_activation(projection), f"contributes {contribution:.3f} of {found.logit:.3f}")
        panels.append(Panel(_cut_projection(projection, view_px), caption))
    rows = [first, *(panels[i : i + _PANELS_PER_ROW] for i in range(0, len(panels), _PANELS_PER_ROW))]
    draw_page(rows, output, f"What speaks for {found.label!r} in {found.provenance.model} {found.provenance.layer}")


def draw_occlusion(path: Path, found: Occlusion, output: Path) -> None:
    """Draw the picture and maps of activity, probability and most probable class (figure 7)."""
    from PIL import ImageDraw

    image, square_px = open_view(path, found.view), found.square_px * PANEL_PX // len(found.view.pixels)
    ImageDraw.Draw(image).rectangle((2, 2, 2 + square_px, 2 + square_px), "#808080")
    row = [Panel(image, (path.name, f"grey square of {found.square_px} px"))]
    if found.activities is not None:
        caption = (f"activity of {found.activity_layer}, map {found.activity_unit}", _range(found.activities))
        row.append(Panel(heat_map(found.activities, low=0.0), caption))
    caption = (f"probability of {found.label}", _range(found.probabilities))
    row.append(Panel(heat_map(found.probabilities, low=0.0), caption))
    row.append(Panel(class_map(found.best, len(found.labels)), ("most probable class",)))
    row.append(Panel(class_legend(found.labels, [int((found.best == i).sum()) for i in range(len(found.labels))])))
    title = f"Probability of {found.label} while a grey square covers a part ({found.probability:.3f} without it)"
    draw_page([row], output, title)


def _lit(image: Image.Image, shares: NDArray[np.float32]) -> Panel:
    lit = spotlight(image, shares).resize((PANEL_PX, PANEL_PX))
    return Panel(lit, ("bright: large share", f"{_range(shares)} per position"))


def _seen_and_projected(side: MatchSide, number: int, image: Image.Image, caption: tuple[str, ...]) -> list[Panel]:
    projection, view_px = side.projections[number], len(side.view.pixels)
    return [
        Panel(cut_out(image, projection.place.box, view_px), caption),
        Panel(_cut_projection(projection, view_px), ("projection",)),
    ]


def _cut_projection(projection: Projection, view_px: int, side_px: int = PANEL_PX) -> Image.Image:
    """Return the part of a projection that the unit sees."""
    return cut_out(projection_image(projection.pixels, _LARGE_PX), projection.place.box, view_px, side_px)


def _range(values: NDArray[np.float32]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def _activation(projection: Projection) -> str:
    return f"unit {projection.place.unit}: activation {projection.place.value:.3g}"
