"""How features and class probability change when a picture is moved: Zeiler & Fergus, figure 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from fc7_models.data.dataset import decode_file
from fc7_models.data.inference import Report, open_graph, open_model
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.study_inputs import (
    LOGITS,
    compared_layers,
    picture_class,
    require_logits,
    sample_pictures,
)
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import decode_upright, resize_and_crop, to_tensor

# The paper's ranges. Shifts are in pixels of a view of 224 pixels; other views are shifted by the same share.
AMOUNTS: dict[str, NDArray[np.float64]] = {
    "shift": np.arange(-60.0, 61, 5),
    "scale": np.linspace(1, 1.8, 17),
    "rotation": np.arange(0.0, 361, 10),
}
_SHIFT_VIEW_PX = 224
_DRAWN = 5  # views of each curve that are kept for the figure


@dataclass(frozen=True, slots=True)
class InvarianceCurve:
    """One picture under one transformation."""

    picture: str
    label: str  # the class whose probability is measured
    transform: str
    amounts: NDArray[np.float64]  # (A,)
    distances: dict[str, NDArray[np.float32]]  # layer -> (A,)
    probabilities: NDArray[np.float32]  # (A,)
    views: NDArray[np.uint8]  # (5, H, W, 3), evenly along the amounts

    def rows(self) -> list[dict[str, float | str]]:
        """Return one row per amount."""
        named = {"picture": self.picture, "label": self.label, "transform": self.transform}
        columns: dict[str, NDArray[Any]] = {"amount": self.amounts, **self.distances, "probability": self.probabilities}
        return [{**named, **{k: float(v[i]) for k, v in columns.items()}} for i in range(len(self.amounts))]


def measure_invariance(folder: Path, model: str, count: int, report: Report) -> list[InvarianceCurve]:
    """Shift, enlarge and rotate pictures; measure how far features move and how the probability of a class changes.

    A distance is Euclidean, divided by the length of the unchanged picture's feature, so that layers can be compared.
    The class is the one that the picture's folder is named after; if the network does not know that name, it is the
    most probable class of the unchanged picture. Areas beyond the picture's edge get the recipe's mean colour.

    Parameters
    ----------
    folder
        Pictures, at any depth.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    count
        Pictures to use, evenly spaced in the order of their names.
    report
        Called with the pictures done and all pictures.

    Returns
    -------
    list of InvarianceCurve
        For each picture "shift" (downwards), "scale" and "rotation" (in degrees, anticlockwise), with distances in the
        network's first layer and in fc7, or in the last layer before the logits.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument, FailedPrecondition
        No picture in the folder, or the network has no classes.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), section 4.1 and figure 5.
    """
    bundle, paths = open_model(model), sample_pictures(folder, count)
    require_logits(bundle)
    graph_layers = find_layers(bundle)
    first, _, last = compared_layers(bundle, graph_layers)
    layers = {layer: graph_layers.layers[layer] for layer in (first, last)} | {LOGITS: LOGITS}
    run, curves = open_graph(graph_layers.graph), []
    for i, path in enumerate(paths, 1):
        image = decode_file(path, lambda data: _open(data, bundle.recipe))
        (logits,) = run(to_tensor(resize_and_crop(image, bundle.recipe), bundle.recipe)[np.newaxis], [LOGITS])
        number = picture_class(path, bundle, logits[0])
        for transform, amounts in AMOUNTS.items():
            views = [
                resize_and_crop(_move(image, transform, amount, bundle.recipe), bundle.recipe) for amount in amounts
            ]
            tensors = np.stack([to_tensor(pixels, bundle.recipe) for pixels in views])
            outputs = dict(zip(layers, run(tensors, list(layers.values())), strict=True))
            probabilities = softmax(outputs.pop(LOGITS), axis=1)[:, number]
            unchanged = int(np.abs(amounts - (transform == "scale")).argmin())
            distances = {layer: _distances(features, unchanged) for layer, features in outputs.items()}
            drawn = np.stack(views)[np.linspace(0, len(views) - 1, _DRAWN).round().astype(int)]
            name, label = str(path.relative_to(folder)), bundle.classes[number].name
            curves.append(InvarianceCurve(name, label, transform, amounts, distances, probabilities, drawn))
        report(i, len(paths))
    return curves


def mean_curves(curves: list[InvarianceCurve]) -> list[dict[str, float | str]]:
    """Return the means over pictures, one row per transformation and amount."""
    rows = []
    for transform, amounts in AMOUNTS.items():
        own = [curve.rows() for curve in curves if curve.transform == transform]
        for i, amount in enumerate(amounts):
            columns = [key for key in own[0][i] if key not in ("picture", "label", "transform", "amount")]
            row: dict[str, float | str] = {"transform": transform, "amount": float(amount)}
            rows.append(row | {key: float(np.mean([float(rows_of[i][key]) for rows_of in own])) for key in columns})
    return rows


def _open(data: bytes, recipe: Recipe) -> Image.Image:
    """Return the picture with a shorter side of twice the recipe's, so that enlarging it loses no detail."""
    image = decode_upright(data, recipe)
    share = 2 * recipe.resize_px / min(image.size)
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BILINEAR)


def _move(image: Image.Image, transform: str, amount: float, recipe: Recipe) -> Image.Image:
    r, g, b = (round(mean / recipe.scale) for mean in recipe.mean)
    if transform == "rotation":
        return image.rotate(amount, Image.Resampling.BILINEAR, fillcolor=(r, g, b))
    scale, shift = (amount, 0.0) if transform == "scale" else (1.0, amount * 2 * recipe.crop_px / _SHIFT_VIEW_PX)
    x, y = ((side - side / scale) / 2 for side in image.size)
    matrix = (1 / scale, 0, x, 0, 1 / scale, y - shift)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(r, g, b))


def _distances(features: NDArray[np.float32], unchanged: int) -> NDArray[np.float32]:
    """Return the distance of each row from row ``unchanged``, divided by that row's length."""
    flat = features.reshape(len(features), -1)
    reference = flat[unchanged]
    distances: NDArray[np.float32] = np.linalg.norm(flat - reference, axis=1)
    return distances / max(float(np.linalg.norm(reference)), 1e-12)
