"""Correspondence analysis: does masking the same part change different pictures alike? Zeiler & Fergus, table 1."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, NotFound
from fc7_models.data.dataset import decode_file
from fc7_models.data.inference import Report, RunGraph, open_graph, open_model
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.study_inputs import compared_layers
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess_with_crop

PARTS, RANDOM, OBJECT = "parts.csv", "random", "object"
_COLUMNS = ("picture", "part", "x", "y", "width", "height")
_FORMAT = f"Each line is {','.join(_COLUMNS)}, with left, top, width and height from 0 to 1, as shares of the picture."
_RANDOM_MASKS = 20  # per part and picture
_ROUNDING = 1e-6  # of a layer's largest value; smaller changes count as none

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the view
Crop = tuple[float, float, float, float]  # the view's edges in the same order, as shares of the picture


@dataclass(frozen=True, slots=True)
class PartBox:
    """One line of the file: a rectangle as shares of the upright picture."""

    picture: str
    part: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Correspondence:
    """How much the changes differ that masking one part makes in several pictures; less is more consistent."""

    part: str
    layer: str
    mean: float  # share of the units whose change has a different sign, mean over pairs of pictures
    deviation: float
    relative: float  # the same, divided by what unrelated changes of as many units would give
    relative_deviation: float
    pictures: int
    pairs: int


def measure_correspondence(folder: Path, model: str, report: Report) -> list[Correspondence]:
    """Mask the same part in several pictures, and random places; compare the signs of the changes.

    For each picture, ``eps = x - x_masked``. A layer's score is the Hamming distance of ``sign(eps)`` between two
    pictures, as a share of its units: mean and standard deviation over all pairs. Masks that change more units score
    higher, so the relative score divides by what unrelated changes of as many units would give. Each part has 20
    random masks per picture. They have its size and lie in the part ``object``, or anywhere if there is none.

    Parameters
    ----------
    folder
        Pictures, and ``parts.csv`` with the header ``picture,part,x,y,width,height``: a file in the folder, the name
        of the part, and its rectangle as shares (0 to 1) of the upright picture. Random masks lie in the part
        ``object``.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    report
        Called with the masks done and all masks.

    Returns
    -------
    list of Correspondence
        Each part, then "random", in two layers: conv5, or the deepest layer with maps, and fc7, or the last layer
        before the logits.

    Raises
    ------
    NotFound
        No such folder or bundle, no ``parts.csv`` in it, or no such picture.
    InvalidArgument
        A line has another format, a part is in fewer than two pictures, or lies outside the network's view.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), section 4.3, table 1 and figure 8.
    """
    bundle, parts = open_model(model), read_parts(folder)
    graph_layers = find_layers(bundle)
    layers = [compared_layers(bundle, graph_layers).maps, compared_layers(bundle, graph_layers).last]
    outputs, run = [graph_layers.layers[layer] for layer in layers], open_graph(graph_layers.graph)
    inputs = {name: _load_input(folder / name, bundle.recipe) for name in dict.fromkeys(part.picture for part in parts)}
    px = bundle.recipe.crop_px
    boxes = [_box(part, inputs[part.picture][1], px) for part in parts]
    objects = {part.picture: box for part, box in zip(parts, boxes, strict=True) if part.part == OBJECT}
    changes: list[list[NDArray[np.int8]]] = []
    for i, (part, box) in enumerate(zip(parts, boxes, strict=True)):
        masks = [box, *_random_boxes(box, objects.get(part.picture, (0, 0, px, px)), seed=i)]
        changes.append(_signs(run, outputs, inputs[part.picture][0], masks))
        report(i + 1, len(parts))
    names = dict.fromkeys(part.part for part in parts if part.part != OBJECT)
    groups = {name: [i for i, part in enumerate(parts) if part.part == name] for name in names}
    rows = []
    for name, own in groups.items():
        for at, layer in enumerate(layers):
            rows.append(_row(name, layer, _compare([changes[i][at][:1] for i in own]), len(own)))
    for at, layer in enumerate(layers):
        each = [_compare([changes[i][at][1:] for i in own]) for own in groups.values()]
        rows.append(_row(RANDOM, layer, np.concatenate(each, axis=1), len(inputs)))
    return rows


def read_parts(folder: Path) -> list[PartBox]:
    """Read and check ``parts.csv``; see ``correspondence`` for its format and for what is raised."""
    if not folder.is_dir():
        raise NotFound(f"folder {str(folder)!r} does not exist", name=str(folder))
    file = folder / PARTS
    if not file.is_file():
        raise NotFound(f"folder {str(folder)!r} has no {PARTS}, which says where the parts are. {_FORMAT}", name=PARTS)
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise InvalidArgument(f"the header of {str(file)!r} is not {','.join(_COLUMNS)}. {_FORMAT}", name=PARTS)
        parts = [_read_part(row, f"line {i} of {str(file)!r}") for i, row in enumerate(reader, 2)]
    for name in dict.fromkeys(part.part for part in parts):
        pictures = [part.picture for part in parts if part.part == name]
        if (len(pictures) < 2 and name != OBJECT) or len(set(pictures)) < len(pictures):
            raise InvalidArgument(
                f"part {name!r} of {str(file)!r} is in {', '.join(pictures)}. It must be in two pictures or more, "
                "once each",
                name=name,
            )
    for part in parts:
        if not (folder / part.picture).is_file():
            raise NotFound(f"picture {part.picture!r} of {str(file)!r} does not exist", name=part.picture)
    if all(part.part == OBJECT for part in parts):
        raise InvalidArgument(f"{str(file)!r} names no part. {_FORMAT}", name=PARTS)
    return parts


def _read_part(row: dict[str, str], where: str) -> PartBox:
    try:
        x, y, width, height = (float(row[name]) for name in _COLUMNS[2:])
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{where} does not have four numbers. {_FORMAT}", name=PARTS) from error
    if not (0 <= x < 1 and 0 <= y < 1 and 0 < width <= 1 and 0 < height <= 1) or row["part"] in ("", RANDOM):
        raise InvalidArgument(
            f"{where} is outside the picture, or its part is called {RANDOM!r}. {_FORMAT}", name=PARTS
        )
    return PartBox(row["picture"], row["part"], x, y, width, height)


def _load_input(path: Path, recipe: Recipe) -> tuple[NDArray[np.float32], Crop]:
    """Return the network's input, (3, H, W), and the view's edges as shares of the picture."""
    _, tensor, crop = decode_file(path, lambda data: preprocess_with_crop(data, recipe))
    return tensor, crop


def _box(part: PartBox, crop: Crop, px: int) -> Box:
    """Return the box of a part in a view of ``px`` pixels; it is at least one pixel wide and high."""
    left, top, right, bottom = crop
    x0, x1 = (round(px * (x - left) / (right - left)) for x in (part.x, part.x + part.width))
    y0, y1 = (round(px * (y - top) / (bottom - top)) for y in (part.y, part.y + part.height))
    if x0 >= px or y0 >= px or x1 <= 0 or y1 <= 0:
        raise InvalidArgument(
            f"part {part.part!r} of {part.picture!r} lies outside the square that the network sees", name=part.picture
        )
    x0, y0 = max(x0, 0), max(y0, 0)
    return x0, y0, min(max(x1, x0 + 1), px), min(max(y1, y0 + 1), px)


def _random_boxes(box: Box, room: Box, seed: int) -> list[Box]:
    """Return boxes of the same size at random places inside ``room``, or at its upper left if it is smaller."""
    left, top, right, bottom = room
    width, height = box[2] - box[0], box[3] - box[1]
    rng = np.random.default_rng(seed)
    xs = rng.integers(left, max(left, right - width) + 1, _RANDOM_MASKS).tolist()
    ys = rng.integers(top, max(top, bottom - height) + 1, _RANDOM_MASKS).tolist()
    return [(x, y, x + width, y + height) for x, y in zip(xs, ys, strict=True)]


def _signs(
    run: RunGraph, outputs: Sequence[str], tensor: NDArray[np.float32], boxes: Sequence[Box]
) -> list[NDArray[np.int8]]:
    """Return the sign of each unit's change under each mask, (masks, units) for each layer."""
    inputs = np.repeat(tensor[np.newaxis], 1 + len(boxes), axis=0)
    for masked, (left, top, right, bottom) in zip(inputs[1:], boxes, strict=True):
        masked[:, top:bottom, left:right] = 0  # after the recipe, the mean colour is zero
    signs = []
    for values in run(inputs, outputs):
        eps = (values[:1] - values[1:]).reshape(len(boxes), -1)
        signs.append(np.where(np.abs(eps) > _ROUNDING * np.abs(values).max(), np.sign(eps), 0).astype(np.int8))
    return signs


def _compare(signs: Sequence[NDArray[np.int8]]) -> NDArray[np.float64]:
    """Return the share of units whose signs differ, and the same divided by chance: (2, pairs of pictures x masks).

    Chance is the share that would differ if the changes in the two pictures were independent.
    """
    scores = []
    for a, b in combinations(signs, 2):
        different = (a != b).mean(axis=1)
        chance = 1 - sum((a == sign).mean(axis=1) * (b == sign).mean(axis=1) for sign in (-1, 0, 1))
        scores.append(np.stack([different, different / np.maximum(chance, 1e-12)]))
    return np.concatenate(scores, axis=1)


def _row(part: str, layer: str, compared: NDArray[np.float64], pictures: int) -> Correspondence:
    (mean, relative), (deviation, relative_deviation) = compared.mean(axis=1).tolist(), compared.std(axis=1).tolist()
    return Correspondence(part, layer, mean, deviation, relative, relative_deviation, pictures, compared.shape[1])
