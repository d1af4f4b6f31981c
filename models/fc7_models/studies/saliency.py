"""Maps of the pixels that speak for a class: five methods and two baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from PIL import Image
from scipy.special import softmax

from fc7_models.deconv.backward_rules import RULES, BackwardWriter
from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import LayerChain, Step
from fc7_models.deconv.projection import UNIT
from fc7_models.deconv.signal_window import Signal, WindowWriter
from fc7_models.studies.study_inputs import LOGITS, open_unit_graph

METHODS: tuple[str, ...] = (*RULES, "occlusion", "grad-cam")
_GRID = 8  # positions of the occluding square along each side; its side is a quarter of the view's
_BATCH = 32
_MAPS_GRADIENT = "gradient/maps"


@dataclass(frozen=True, slots=True)
class BackwardGraph:
    """The nodes that lead from one logit back to the pixels, by each rule; appended to a network's graph."""

    nodes: bytes
    maps: str  # tensor of the last convolution, after its ReLU
    weights: list[tuple[str, list[str]]]  # (layer, its weight tensors), first to last


def backward_graph(graph: bytes, px: int) -> BackwardGraph:
    """Return the nodes from the logits of a network to its pixels, and the gradient at its last convolution.

    The signal begins with one, not with the logit's value as in ``deconv.onnx``. With shuffled weights the logit may
    be negative, which must not change the sign of the map.

    Parameters
    ----------
    graph
        A bundle's ``model.onnx`` with "logits" among its outputs.
    px
        Height and width of the picture.

    Raises
    ------
    FailedPrecondition
        The network branches, or has an operator that cannot be projected back.
    """
    chain = LayerChain(onnx.load_from_string(graph))
    steps = chain.walk(LOGITS)[::-1]
    shapes = chain.shapes(steps, px)
    deepest = max((i for i, step in enumerate(steps) if step.kind == "conv"), default=-1)
    deepest += steps[deepest + 1].kind == "relu"
    writer = GraphWriter()
    backward = BackwardWriter(writer, chain, WindowWriter(writer))
    writer.input(UNIT, TensorProto.INT64, ["N"])
    one_hot = writer.op("OneHot", UNIT, writer.constant(shapes[-1][0]), writer.constant([0, 1], np.float32), axis=-1)
    for rule in RULES:
        signal = Signal(one_hot)
        for i in reversed(range(len(steps))):
            if rule == "gradient" and i == deepest:
                writer.output(_MAPS_GRADIENT, signal.values)
            signal = backward.step(steps[i], signal, rule, shapes[i])
        writer.output(f"pixels/{rule}", signal.values)
    return BackwardGraph(writer.model.SerializeToString(), steps[deepest].output, _weighted_layers(steps))


def _weighted_layers(steps: Sequence[Step]) -> list[tuple[str, list[str]]]:
    """Return the layers with weights, numbered as in the papers, and the names of those weights."""
    own = [step for step in steps if step.kind in ("conv", "dense")]
    names = [f"{'conv' if step.kind == 'conv' else 'fc'}{i}" for i, step in enumerate(own, 1)]
    return [(name, list(step.node.input[1:])) for name, step in zip([*names[:-1], LOGITS], own, strict=True)]


def shuffle_weights(graph: bytes, weights: Sequence[str], seed: int) -> bytes:
    """Return the network with each of the named weight tensors in random order, which keeps its distribution."""
    model = onnx.load_from_string(graph)
    chain, rng = LayerChain(model), np.random.default_rng(seed)
    values = {name: chain.constant(name) for name in weights}
    nodes = [node for node in model.graph.node if not values.keys() & set(node.output)]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name not in values]
    for name, array in values.items():
        if array is not None:
            shuffled = rng.permutation(array.astype(np.float32).ravel()).reshape(array.shape)
            tensors.append(numpy_helper.from_array(shuffled, name))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    return bytes(model.SerializeToString())


class ExplainedNetwork:
    """A network and its backward graph: probabilities of pictures, and maps that explain them.

    Parameters
    ----------
    graph
        The network's ONNX file.
    backward
        Of this network, or of the same network with other weights.
    """

    def __init__(self, graph: bytes, backward: BackwardGraph) -> None:
        outputs = [*(f"pixels/{rule}" for rule in RULES), _MAPS_GRADIENT, backward.maps]
        self._project, self._predict = (
            open_unit_graph(graph + backward.nodes, outputs),
            open_unit_graph(graph, [LOGITS]),
        )

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of all classes, (N, classes), for pictures (N, 3, H, W)."""
        batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
        logits = np.concatenate([self._predict(batch, [0] * len(batch))[0] for batch in batches])
        return np.asarray(softmax(logits, axis=1), np.float32)

    def maps(self, tensor: NDArray[np.float32], number: int) -> dict[str, NDArray[np.float32]]:
        """Return the map of each of ``METHODS`` for one picture (3, H, W) and the class ``number``.

        Each map is float32 (H, W); a higher value speaks more for the class.
        """
        *projections, gradient, activation = self._project(tensor[np.newaxis], [number])
        maps: dict[str, NDArray[np.float32]] = {}
        for rule, pixels in zip(RULES, projections, strict=True):
            maps[rule] = np.abs(pixels[0]).sum(axis=0)
        maps["occlusion"] = self._occlusion_map(tensor, number)
        maps["grad-cam"] = _enlarge(grad_cam(activation[0], gradient[0]), tensor.shape[1])
        return maps

    def _occlusion_map(self, tensor: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """Return how much a grey square around each position lowers the probability of the class."""
        px = tensor.shape[1]
        half = max(1, px // 8)
        centres = ((np.arange(_GRID) + 0.5) * px / _GRID).astype(int)
        views = np.repeat(tensor[np.newaxis], 1 + _GRID**2, axis=0)
        for view, (y, x) in zip(views[1:], ((y, x) for y in centres for x in centres), strict=True):
            view[:, max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
        probabilities = self.probabilities(views)[:, number]
        return _enlarge((probabilities[0] - probabilities[1:]).reshape(_GRID, _GRID), px)


def grad_cam(activation: NDArray[np.float32], gradient: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of the maps (C, H, W), each weighted by its mean gradient, with negative values set to zero.

    If the logits are averages of the maps, this is the class activation map up to a factor.

    References
    ----------
    Selvaraju et al. 2017 (arXiv 1610.02391).
    """
    weighted: NDArray[np.float32] = np.einsum("chw,c->hw", activation, gradient.mean(axis=(1, 2)))
    return np.maximum(weighted, 0)


def baseline_maps(pixels: NDArray[np.uint8], seed: int) -> dict[str, NDArray[np.float32]]:
    """Return two maps (H, W) that use no network: random values, and the strength of edges (Sobel)."""
    grey = np.pad(pixels.astype(np.float32).mean(axis=2), 1, mode="edge")
    across = grey[:, 2:] - grey[:, :-2]
    down = grey[2:] - grey[:-2]
    x = across[:-2] + 2 * across[1:-1] + across[2:]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    noise = np.random.default_rng(seed).random(pixels.shape[:2], np.float32)
    return {"random": noise, "edges": np.hypot(x, y)}


def _enlarge(values: NDArray[np.float32], px: int) -> NDArray[np.float32]:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((px, px), Image.Resampling.BILINEAR), np.float32)
