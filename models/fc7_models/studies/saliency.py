"""Which pixels speak for a class: five methods and two baselines, as maps that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from PIL import Image

from fc7_models.deconv.backward_rules import RULES, BackwardWriter
from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import LayerChain, Step
from fc7_models.deconv.projection import UNIT
from fc7_models.deconv.signal_window import Signal, WindowWriter
from fc7_models.studies.study_inputs import LOGITS, open_unit_graph, softmax

METHODS: tuple[str, ...] = (*RULES, "occlusion", "grad-cam")
_GRID = 8  # occluded views along each side; the square is a quarter of the view
_BATCH = 32
_MAPS_GRADIENT = "gradient/maps"


@dataclass(frozen=True, slots=True)
class BackwardGraph:
    """Nodes to be put behind a network's graph, from one logit to the pixels by each rule."""

    nodes: bytes
    maps: str  # tensor of the last convolution, after its ReLU
    products: list[tuple[str, list[str]]]  # layer, tensors of its weights; first to last


def backward_graph(graph: bytes, px: int) -> BackwardGraph:
    """Write the way back from the logits of a network, and the gradient at its last convolution.

    Unlike ``deconv.onnx`` it begins with one, not with the logit's value: a network whose weights are shuffled may
    answer the other way round, which turns no signal.

    Parameters
    ----------
    graph
        A bundle's ``model.onnx`` with "logits" among its outputs.
    px
        Height and width of the picture.

    Raises
    ------
    FailedPrecondition
        The network branches, or uses an operator that has no way back.
    """
    chain = LayerChain(onnx.load_from_string(graph))
    steps = chain.walk(LOGITS)[::-1]
    shapes = chain.shapes(steps, px)
    deepest = max((i for i, step in enumerate(steps) if step.kind == "conv"), default=-1)
    deepest += steps[deepest + 1].kind == "relu"
    to = GraphWriter()
    back = BackwardWriter(to, chain, WindowWriter(to))
    to.input(UNIT, TensorProto.INT64, ["N"])
    one_hot = to.op("OneHot", UNIT, to.constant(shapes[-1][0]), to.constant([0, 1], np.float32), axis=-1)
    for rule in RULES:
        signal = Signal(one_hot)
        for i in reversed(range(len(steps))):
            if rule == "gradient" and i == deepest:
                to.output(_MAPS_GRADIENT, signal.values)
            signal = back.step(steps[i], signal, rule, shapes[i])
        to.output(f"pixels/{rule}", signal.values)
    return BackwardGraph(to.model.SerializeToString(), steps[deepest].output, _products(steps))


def _products(steps: Sequence[Step]) -> list[tuple[str, list[str]]]:
    """Return the layers that have weights, by the papers' numbers."""
    own = [step for step in steps if step.kind in ("conv", "dense")]
    names = [f"{'conv' if step.kind == 'conv' else 'fc'}{i}" for i, step in enumerate(own, 1)]
    return [(name, list(step.node.input[1:])) for name, step in zip([*names[:-1], LOGITS], own, strict=True)]


def shuffle(graph: bytes, weights: Sequence[str], seed: int) -> bytes:
    """Return a network whose named weights are put in a random order, which keeps their distribution."""
    model = onnx.load_from_string(graph)
    chain, rng = LayerChain(model), np.random.default_rng(seed)
    values = {name: chain.constant(name) for name in weights}
    nodes = [node for node in model.graph.node if not values.keys() & set(node.output)]  # casts of what was stored
    tensors = [tensor for tensor in model.graph.initializer if tensor.name not in values]
    for name, array in values.items():
        if array is not None:
            mixed = rng.permutation(array.astype(np.float32).ravel()).reshape(array.shape)
            tensors.append(numpy_helper.from_array(mixed, name))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    return bytes(model.SerializeToString())


class ExplainedNetwork:
    """One network, and what it makes of pictures.

    Parameters
    ----------
    graph
        The network's ONNX file.
    back
        Of that network, or of the same with other weights.
    """

    def __init__(self, graph: bytes, back: BackwardGraph) -> None:
        outputs = [*(f"pixels/{rule}" for rule in RULES), _MAPS_GRADIENT, back.maps]
        self._project, self._answer = open_unit_graph(graph + back.nodes, outputs), open_unit_graph(graph, [LOGITS])

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of all classes, (N, classes), for pictures (N, 3, H, W)."""
        batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
        return softmax(np.concatenate([self._answer(batch, [0] * len(batch))[0] for batch in batches]))

    def maps(self, tensor: NDArray[np.float32], number: int) -> dict[str, NDArray[np.float32]]:
        """Return what each of ``METHODS`` says of one picture (3, H, W) and a class: (H, W), more is more for it."""
        *pixels, gradient, activity = self._project(tensor[np.newaxis], [number])
        found: dict[str, NDArray[np.float32]] = {}
        for rule, values in zip(RULES, pixels, strict=True):
            found[rule] = np.abs(values[0]).sum(axis=0)
        found["occlusion"] = self._occluded(tensor, number)
        found["grad-cam"] = _enlarge(grad_cam(activity[0], gradient[0]), tensor.shape[1])
        return found

    def _occluded(self, tensor: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """Return what probability a grey square around each place takes away."""
        px = tensor.shape[1]
        half = max(1, px // 8)
        centres = ((np.arange(_GRID) + 0.5) * px / _GRID).astype(int)
        views = np.repeat(tensor[np.newaxis], 1 + _GRID**2, axis=0)
        for one, (y, x) in zip(views[1:], ((y, x) for y in centres for x in centres), strict=True):
            one[:, max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
        chances = self.probabilities(views)[:, number]
        return _enlarge((chances[0] - chances[1:]).reshape(_GRID, _GRID), px)


def grad_cam(activity: NDArray[np.float32], gradient: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gradient-weighted sum of maps (C, H, W), rectified.

    Where the maps are averaged into the logits it is the class-activation map itself, but for a factor.

    References
    ----------
    Selvaraju et al. 2017 (arXiv 1610.02391).
    """
    weighted: NDArray[np.float32] = np.einsum("chw,c->hw", activity, gradient.mean(axis=(1, 2)))
    return np.maximum(weighted, 0)


def baselines(pixels: NDArray[np.uint8], seed: int) -> dict[str, NDArray[np.float32]]:
    """Return maps (H, W) that know no network: a random order, and the strength of edges (Sobel)."""
    grey = np.pad(pixels.astype(np.float32).mean(axis=2), 1, mode="edge")
    across = grey[:, 2:] - grey[:, :-2]
    down = grey[2:] - grey[:-2]
    x = across[:-2] + 2 * across[1:-1] + across[2:]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    lot = np.random.default_rng(seed).random(pixels.shape[:2], np.float32)
    return {"random": lot, "edges": np.hypot(x, y)}


def _enlarge(values: NDArray[np.float32], px: int) -> NDArray[np.float32]:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((px, px), Image.Resampling.BILINEAR), np.float32)
