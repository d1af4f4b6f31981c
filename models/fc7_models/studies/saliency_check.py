"""How far explanations can be trusted: whether their pixels matter to the network, and the network to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fc7_models.data.inference import Report, open_model
from fc7_models.studies.saliency import METHODS, ExplainedNetwork, backward_graph, baselines, shuffle
from fc7_models.studies.study_inputs import require_logits, sample_pictures, view
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import to_tensor

STEPS = 32  # of a curve
_BLUR = 16  # the radius of what insertion begins with is the view's side over this
_WINDOW = 7  # px, of structural similarity
_KEPT = 4  # pictures whose maps are kept to be drawn

Map = NDArray[np.float32]  # (H, W)


@dataclass(frozen=True, slots=True)
class Score:
    """Areas under the curves of one method, mean and deviation over pictures."""

    method: str
    deletion: float  # of the class's probability while the first pixels go: less is better
    deletion_deviation: float
    insertion: float  # while they come: more is better
    insertion_deviation: float
    count: int


@dataclass(frozen=True, slots=True)
class Similarity:
    """How like a method's maps are to themselves when the network's last layers are shuffled, mean over pictures."""

    method: str
    shuffled_to: str  # this layer and all behind it
    rank_correlation: float
    structural_similarity: float
    count: int


@dataclass(slots=True)
class Check:
    """What the methods are worth on some pictures."""

    model: str
    scores: list[Score] = field(default_factory=list)
    similarities: list[Similarity] = field(default_factory=list)
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # method -> (2, STEPS + 1): out, in
    views: list[NDArray[np.uint8]] = field(default_factory=list)  # of the first pictures
    maps: list[dict[str, Map]] = field(default_factory=list)  # theirs, with the baselines'
    shuffled: dict[str, dict[str, Map]] = field(default_factory=dict)  # layer -> maps of the first picture


def check(folder: Path, model: str, count: int, report: Report) -> Check:
    """Measure five methods against a random order and edges, and against networks whose weights are shuffled.

    The deconvnet, gradients, guided backpropagation, occlusion and Grad-CAM explain the most probable class of a
    picture. Pixels are ranked by the sum of absolute values over colours.

    - Deletion: the highest pixels become the recipe's mean first. Insertion: they come first into a blurred picture.
    - Randomisation: the weights and biases of the logits, then of the layer before too, and so on down to the first
      are shuffled within their tensor; absolute maps of the same class are compared with the original ones.

    Parameters
    ----------
    folder
        Pictures, at any depth.
    model
        Name of a shipped bundle, or the folder of another; empty for the first shipped one.
    count
        Pictures taken, evenly along their sorted names.
    report
        Called with steps done and steps in all.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        No picture in the folder.
    FailedPrecondition
        A network without classes, or without a deconvnet.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Petsiuk, Das & Saenko 2018 (arXiv 1806.07421); Adebayo et al. 2018 (arXiv 1810.03292), cascading randomisation.
    """
    bundle, paths = open_model(model), sample_pictures(folder, count)
    require_logits(bundle)
    graph, recipe = bundle.graph(), bundle.recipe
    back = backward_graph(graph, recipe.crop_px)
    total = len(paths) * (1 + len(back.products))
    lens, views = ExplainedNetwork(graph, back), [view(path, recipe) for path in paths]
    tensors = np.stack([to_tensor(pixels, recipe) for pixels in views])
    numbers = lens.probabilities(tensors).argmax(axis=1).tolist()
    maps: list[dict[str, Map]] = []
    curves: dict[str, list[NDArray[np.float32]]] = {}
    for i, (pixels, tensor, number) in enumerate(zip(views, tensors, numbers, strict=True)):
        maps.append(lens.maps(tensor, number) | baselines(pixels, seed=i))
        blurred = _blurred(pixels, recipe)
        for name, ranking in maps[i].items():
            curves.setdefault(name, []).append(_curve(lens, tensor, blurred, number, ranking))
        report(i + 1, total)
    found = Check(bundle.name, views=views[:_KEPT], maps=maps[:_KEPT])
    for name, each in curves.items():
        found.curves[name] = np.mean(each, axis=0)
        found.scores.append(_score(name, np.stack(each)))
    weights: list[str] = []
    for n, (layer, own) in enumerate(reversed(back.products), 1):
        weights += own
        other, changed = ExplainedNetwork(shuffle(graph, weights, seed=0), back), []
        for i, (tensor, number) in enumerate(zip(tensors, numbers, strict=True), 1):
            changed.append(other.maps(tensor, number))
            report(n * len(paths) + i, total)
        found.similarities += [_similarity(method, layer, maps, changed) for method in METHODS]
        found.shuffled[layer] = changed[0]
    return found


def rank_correlation(a: Map, b: Map) -> float:
    """Return Spearman's correlation of two maps, ties sharing their mean rank; 0 where a map is the same all over."""
    x, y = (_ranks(values.ravel()) for values in (a, b))
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / lengths if lengths else 0.0


def structural_similarity(a: Map, b: Map) -> float:
    """Return the mean structural similarity of two maps, each scaled to a largest value of one.

    References
    ----------
    Wang et al. 2004, equation 13, over squares of 7 pixels.
    """
    x, y = (values.astype(np.float64) / max(float(values.max()), 1e-30) for values in (a, b))
    mean_x, mean_y = _smooth(x), _smooth(y)
    spread = _smooth(x * x) - mean_x**2 + _smooth(y * y) - mean_y**2
    together = _smooth(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return float(
        np.mean((2 * mean_x * mean_y + c1) * (2 * together + c2) / ((mean_x**2 + mean_y**2 + c1) * (spread + c2)))
    )


def _similarity(
    method: str, layer: str, maps: Sequence[dict[str, Map]], changed: Sequence[dict[str, Map]]
) -> Similarity:
    pairs = [(np.abs(one[method]), np.abs(other[method])) for one, other in zip(maps, changed, strict=True)]
    ranks, structure = (
        float(np.mean([measure(*pair) for pair in pairs])) for measure in (rank_correlation, structural_similarity)
    )
    return Similarity(method, layer, ranks, structure, len(pairs))


def _ranks(values: Map) -> NDArray[np.float64]:
    """Return ranks around their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    found: NDArray[np.float64] = ranks[which] - (len(values) + 1) / 2
    return found


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = sliding_window_view(values, (min(_WINDOW, len(values)),) * 2).mean(axis=(2, 3))
    return means


def _blurred(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(len(pixels) / _BLUR))
    return to_tensor(np.asarray(image, np.uint8), recipe)


def _curve(
    lens: ExplainedNetwork, tensor: NDArray[np.float32], blurred: NDArray[np.float32], number: int, ranking: Map
) -> NDArray[np.float32]:
    """Return the class's probability while pixels go, and while they come, (2, STEPS + 1)."""
    lot = np.random.default_rng(0).permutation(ranking.size)  # equal pixels in no order
    order = lot[np.argsort(-ranking.ravel()[lot], kind="stable")]
    place = np.empty(ranking.size, np.int64)
    place[order] = np.arange(ranking.size)
    taken = np.linspace(0, ranking.size, STEPS + 1).round().astype(int)
    is_taken = (place < taken[:, np.newaxis]).reshape(-1, 1, *ranking.shape)  # (STEPS + 1, 1, H, W)
    gone = np.where(is_taken, np.float32(0), tensor)
    come = np.where(is_taken, tensor, blurred)
    return lens.probabilities(np.concatenate([gone, come]))[:, number].reshape(2, -1)


def _score(method: str, curves: NDArray[np.float32]) -> Score:
    """Return the areas under the curves (pictures, 2, STEPS + 1), the share of pixels being the other axis."""
    areas = ((curves[..., 1:] + curves[..., :-1]) / 2).mean(axis=2)
    (out, come), (out_off, come_off) = areas.mean(axis=0).tolist(), areas.std(axis=0).tolist()
    return Score(method, out, out_off, come, come_off, len(curves))
