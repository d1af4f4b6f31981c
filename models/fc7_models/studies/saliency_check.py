"""Check saliency maps: whether their pixels matter to the network, and whether they depend on the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fc7_models.data.inference import Report, open_model
from fc7_models.studies.saliency import METHODS, ExplainedNetwork, backward_graph, baseline_maps, shuffle_weights
from fc7_models.studies.study_inputs import load_view, require_logits, sample_pictures
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import to_tensor

STEPS = 32  # of the deletion and insertion curves
_BLUR = 16  # insertion begins with a view blurred by its side over this
_WINDOW_PX = 7  # of structural similarity
_DRAWN = 4  # pictures whose maps are kept for the figures

Map = NDArray[np.float32]  # (H, W)


@dataclass(frozen=True, slots=True)
class CurveScore:
    """Areas under the curves of one method: mean and standard deviation over pictures."""

    method: str
    deletion: float  # area under the class's probability while pixels are removed; less is better
    deletion_deviation: float
    insertion: float  # the same while pixels are added; more is better
    insertion_deviation: float
    count: int


@dataclass(frozen=True, slots=True)
class RandomisationScore:
    """How similar a method's maps stay when the network's last layers are shuffled: mean over pictures."""

    method: str
    shuffled_to: str  # this layer and all after it
    rank_correlation: float
    structural_similarity: float
    count: int


@dataclass(slots=True)
class SaliencyCheck:
    """The results of both tests on some pictures."""

    model: str
    scores: list[CurveScore] = field(default_factory=list)
    similarities: list[RandomisationScore] = field(default_factory=list)
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # method -> (2, STEPS + 1)
    views: list[NDArray[np.uint8]] = field(default_factory=list)  # of the first pictures
    maps: list[dict[str, Map]] = field(default_factory=list)  # of the same pictures, with the baselines
    shuffled: dict[str, dict[str, Map]] = field(default_factory=dict)  # layer -> maps of the first picture


def check_saliency(folder: Path, model: str, count: int, report: Report) -> SaliencyCheck:
    """Compare five methods with random and edge maps, and with their own maps of networks with shuffled weights.

    The deconvnet, gradients, guided backpropagation, occlusion and Grad-CAM each explain the most probable class of
    every picture. Pixels are ranked by their values in the map.

    - Deletion replaces pixels by the recipe's mean, the highest first. Insertion adds them to a blurred picture in the
      same order. A faithful map makes the probability of the class fall, or rise, at once.
    - Randomisation shuffles the weights of the logits, then also those of the layer before, and so on to the first. A
      map that depends on the network changes; its absolute values are compared with those of the original map.

    Parameters
    ----------
    folder, model, count
        See ``measure_invariance``.
    report
        Called with the steps done and all steps.

    Raises
    ------
    NotFound
        No such folder or bundle.
    InvalidArgument
        No picture in the folder.
    FailedPrecondition
        The network has no classes, or no deconvnet.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Petsiuk, Das & Saenko 2018 (arXiv 1806.07421); Adebayo et al. 2018 (arXiv 1810.03292), cascading randomisation.
    """
    bundle, paths = open_model(model), sample_pictures(folder, count)
    require_logits(bundle)
    graph, recipe = bundle.graph(), bundle.recipe
    backward = backward_graph(graph, recipe.crop_px)
    total = len(paths) * (1 + len(backward.weights))
    network, views = ExplainedNetwork(graph, backward), [load_view(path, recipe) for path in paths]
    tensors = np.stack([to_tensor(pixels, recipe) for pixels in views])
    numbers = network.probabilities(tensors).argmax(axis=1).tolist()
    maps: list[dict[str, Map]] = []
    curves: dict[str, list[NDArray[np.float32]]] = {}
    for i, (pixels, tensor, number) in enumerate(zip(views, tensors, numbers, strict=True)):
        maps.append(network.maps(tensor, number) | baseline_maps(pixels, seed=i))
        blurred = _blurred(pixels, recipe)
        for name, ranking in maps[i].items():
            curves.setdefault(name, []).append(_curves(network, tensor, blurred, number, ranking))
        report(i + 1, total)
    result = SaliencyCheck(bundle.name, views=views[:_DRAWN], maps=maps[:_DRAWN])
    for name, pairs in curves.items():
        result.curves[name] = np.mean(pairs, axis=0)
        result.scores.append(_score(name, np.stack(pairs)))
    weights: list[str] = []
    for n, (layer, own) in enumerate(reversed(backward.weights), 1):
        weights += own
        shuffled, changed = ExplainedNetwork(shuffle_weights(graph, weights, seed=0), backward), []
        for i, (tensor, number) in enumerate(zip(tensors, numbers, strict=True), 1):
            changed.append(shuffled.maps(tensor, number))
            report(n * len(paths) + i, total)
        result.similarities += [_similarity(method, layer, maps, changed) for method in METHODS]
        result.shuffled[layer] = changed[0]
    return result


def rank_correlation(a: Map, b: Map) -> float:
    """Return Spearman's correlation of two maps; 0 if all values of one are equal."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def structural_similarity(a: Map, b: Map) -> float:
    """Return the mean structural similarity of two maps, each scaled to a largest value of one.

    References
    ----------
    Wang et al. 2004, equation 13, over squares of 7 pixels.
    """
    from skimage.metrics import structural_similarity as ssim

    x, y = (values.astype(np.float64) / max(float(values.max()), 1e-30) for values in (a, b))
    return float(ssim(x, y, win_size=_WINDOW_PX, data_range=1.0, use_sample_covariance=False))


def _similarity(
    method: str, layer: str, maps: Sequence[dict[str, Map]], changed: Sequence[dict[str, Map]]
) -> RandomisationScore:
    pairs = [(np.abs(own[method]), np.abs(new[method])) for own, new in zip(maps, changed, strict=True)]
    ranks, structure = (
        float(np.mean([measure(*pair) for pair in pairs])) for measure in (rank_correlation, structural_similarity)
    )
    return RandomisationScore(method, layer, ranks, structure, len(pairs))


def _blurred(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(len(pixels) / _BLUR))
    return to_tensor(np.asarray(image, np.uint8), recipe)


def _curves(
    network: ExplainedNetwork, tensor: NDArray[np.float32], blurred: NDArray[np.float32], number: int, ranking: Map
) -> NDArray[np.float32]:
    """Return the probability of the class while pixels are removed, and while they are added: (2, STEPS + 1)."""
    random_order = np.random.default_rng(0).permutation(ranking.size)  # so that ties are broken at random
    order = random_order[np.argsort(-ranking.ravel()[random_order], kind="stable")]
    rank = np.empty(ranking.size, np.int64)
    rank[order] = np.arange(ranking.size)
    taken = np.linspace(0, ranking.size, STEPS + 1).round().astype(int)
    is_taken = (rank < taken[:, np.newaxis]).reshape(-1, 1, *ranking.shape)  # (STEPS + 1, 1, H, W)
    deleted = np.where(is_taken, np.float32(0), tensor)
    inserted = np.where(is_taken, tensor, blurred)
    return network.probabilities(np.concatenate([deleted, inserted]))[:, number].reshape(2, -1)


def _score(method: str, curves: NDArray[np.float32]) -> CurveScore:
    """Return the areas under the curves (pictures, 2, STEPS + 1) over the share of pixels, 0 to 1."""
    areas = ((curves[..., 1:] + curves[..., :-1]) / 2).mean(axis=2)
    (deletion, insertion), (deletion_deviation, insertion_deviation) = (
        areas.mean(axis=0).tolist(),
        areas.std(axis=0).tolist(),
    )
    return CurveScore(method, deletion, deletion_deviation, insertion, insertion_deviation, len(curves))
