"""How features and class probability move when a picture is shifted, enlarged or turned: Zeiler & Fergus, figure 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fc7_models.data.dataset import decode_file
from fc7_models.data.inference import Report, open_graph, open_model
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.study_inputs import (
    LOGITS,
    compared_layers,
    picture_class,
    require_logits,
    sample_pictures,
    softmax,
)
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import decode_upright, resize_and_crop, to_tensor

# The paper's ranges. Shifts are in pixels of a view of 224: of another size they are as large a share.
AMOUNTS: dict[str, NDArray[np.float64]] = {
    "shift": np.arange(-60.0, 61, 5),
    "scale": np.linspace(1, 1.8, 17),
    "rotation": np.arange(0.0, 361, 10),
}
_SHIFTED_PX = 224
_SHOWN = 5  # views of each curve that are kept to be drawn


@dataclass(frozen=True, slots=True)
class Curve:
    """One picture under one transformation."""

    picture: str
    label: str  # class whose probability is told
    transform: str
    amounts: NDArray[np.float64]  # (A,)
    distances: dict[str, NDArray[np.float32]]  # layer -> (A,)
    probabilities: NDArray[np.float32]  # (A,)
    views: NDArray[np.uint8]  # (5, H, W, 3), evenly along the amounts

    def rows(self) -> list[dict[str, float | str]]:
        """Return one row an amount."""
        named = {"picture": self.picture, "label": self.label, "transform": self.transform}
        columns: dict[str, NDArray[Any]] = {"amount": self.amounts, **self.distances, "probability": self.probabilities}
        return [{**named, **{k: float(v[i]) for k, v in columns.items()}} for i in range(len(self.amounts))]


def invariance(folder: Path, model: str, count: int, report: Report) -> list[Curve]:
    """Shift, enlarge and turn pictures; tell how far features go and what becomes of the class.

    A distance is Euclidean, over the length of the untouched picture's feature, so that layers compare. The class is
    that of the picture's folder where the network knows it, else the most probable one of the untouched picture. What
    comes into view from beyond the picture is the recipe's mean colour.

    Parameters
    ----------
    folder
        Pictures, at any depth.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    count
        Pictures taken, evenly along their sorted names.
    report
        Called with pictures done and pictures in all.

    Returns
    -------
    list of Curve
        For each picture "shift" (downwards), "scale" and "rotation" (in degrees, to the left); distances of the
        network's first layer and of fc7, else of the last before the logits.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument, FailedPrecondition
        No picture in the folder; a network without classes.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), section 4.1 and figure 5.
    """
    bundle, paths = open_model(model), sample_pictures(folder, count)
    require_logits(bundle)
    anatomy = find_layers(bundle)
    first, _, last = compared_layers(bundle, anatomy)
    layers = {layer: anatomy.layers[layer] for layer in (first, last)} | {LOGITS: LOGITS}
    run, curves = open_graph(anatomy.graph), []
    for i, path in enumerate(paths, 1):
        image = decode_file(path, lambda data: _open(data, bundle.recipe))
        (logits,) = run(to_tensor(resize_and_crop(image, bundle.recipe), bundle.recipe)[np.newaxis], [LOGITS])
        number = picture_class(path, bundle, logits[0])
        for transform, amounts in AMOUNTS.items():
            views = [
                resize_and_crop(_move(image, transform, amount, bundle.recipe), bundle.recipe) for amount in amounts
            ]
            tensors = np.stack([to_tensor(pixels, bundle.recipe) for pixels in views])
            found = dict(zip(layers, run(tensors, list(layers.values())), strict=True))
            probabilities = softmax(found.pop(LOGITS))[:, number]
            rest = int(np.abs(amounts - (transform == "scale")).argmin())  # where the picture is untouched
            distances = {layer: _distances(features, rest) for layer, features in found.items()}
            shown = np.stack(views)[np.linspace(0, len(views) - 1, _SHOWN).round().astype(int)]
            name, label = str(path.relative_to(folder)), bundle.classes[number].name
            curves.append(Curve(name, label, transform, amounts, distances, probabilities, shown))
        report(i, len(paths))
    return curves


def means(curves: list[Curve]) -> list[dict[str, float | str]]:
    """Return one row a transformation and amount, the means over pictures."""
    rows = []
    for transform, amounts in AMOUNTS.items():
        own = [curve.rows() for curve in curves if curve.transform == transform]
        for i, amount in enumerate(amounts):
            columns = [key for key in own[0][i] if key not in ("picture", "label", "transform", "amount")]
            row: dict[str, float | str] = {"transform": transform, "amount": float(amount)}
            rows.append(row | {key: float(np.mean([float(one[i][key]) for one in own])) for key in columns})
    return rows


def _open(data: bytes, recipe: Recipe) -> Image.Image:
    """Return a picture whose shorter side is twice that of the recipe's."""
    image = decode_upright(data, recipe)
    share = 2 * recipe.resize_px / min(image.size)
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BILINEAR)


def _move(image: Image.Image, transform: str, amount: float, recipe: Recipe) -> Image.Image:
    r, g, b = (round(mean / recipe.scale) for mean in recipe.mean)
    if transform == "rotation":
        return image.rotate(amount, Image.Resampling.BILINEAR, fillcolor=(r, g, b))
    scale, shift = (amount, 0.0) if transform == "scale" else (1.0, amount * 2 * recipe.crop_px / _SHIFTED_PX)
    x, y = ((side - side / scale) / 2 for side in image.size)
    matrix = (1 / scale, 0, x, 0, 1 / scale, y - shift)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(r, g, b))


def _distances(features: NDArray[np.float32], rest: int) -> NDArray[np.float32]:
    """Return how far each row lies from row ``rest``, over the length of that."""
    flat = features.reshape(len(features), -1)
    far: NDArray[np.float32] = np.linalg.norm(flat - flat[rest], axis=1) / max(float(np.linalg.norm(flat[rest])), 1e-12)
    return far
