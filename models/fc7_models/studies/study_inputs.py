"""What the studies of explanations work on: sampled pictures, their classes, and the layers they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fc7.contract.formats import READ, suffix_of
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7_models.data.dataset import decode_file
from fc7_models.data.inference import group_by_recipe
from fc7_models.deconv.projection import POSITION, UNIT
from fc7_models.studies.graph_layers import GraphLayers
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.onnx_file import cut_graph
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess_with_crop

# Takes inputs (N, 3, H, W) and one unit for each, explained at its strongest position; returns the outputs.
RunUnits = Callable[[NDArray[np.float32], Sequence[int]], list[NDArray[np.float32]]]

LOGITS = "logits"


class ComparedLayers(NamedTuple):
    """The layers that studies compare."""

    first: str
    maps: str  # conv5, or the deepest layer with maps
    last: str  # fc7, or the last layer before the logits


def sample_pictures(folder: Path, count: int) -> list[Path]:
    """Return at most ``count`` pictures of a folder, at any depth, evenly spaced in the order of their names.

    Raises
    ------
    NotFound
        No such folder.
    InvalidArgument
        No picture in it.
    """
    if not folder.is_dir():
        raise NotFound(f"folder {str(folder)!r} does not exist", name=str(folder))
    files = sorted(path for path in folder.rglob("*") if suffix_of(path.name) in READ)
    paths = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not paths:
        raise InvalidArgument(
            f"folder {str(folder)!r} holds no pictures. fc7 reads {', '.join(sorted(READ))}", name=str(folder)
        )
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)]


def load_view(path: Path, recipe: Recipe) -> NDArray[np.uint8]:
    """Return the part of a picture that a network sees, uint8 (crop_px, crop_px, 3).

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        The picture is damaged or cannot be read; it is named.
    """
    return decode_file(path, lambda data: preprocess_with_crop(data, recipe)[0])


def compared_layers(bundle: Bundle, graph_layers: GraphLayers) -> ComparedLayers:
    """Return the layers to compare, among those that use the bundle's own recipe."""
    layers = group_by_recipe(bundle, graph_layers.layers)[bundle.recipe]
    inner = [layer for layer in layers if layer != LOGITS]
    maps = [layer for layer in inner if layer not in bundle.layers or len(bundle.layers[layer].shape) == 3]
    return ComparedLayers(
        inner[0], "conv5" if "conv5" in maps else (maps or inner)[-1], "fc7" if "fc7" in inner else inner[-1]
    )


def picture_class(path: Path, bundle: Bundle, logits: NDArray[np.float32]) -> int:
    """Return the class that the picture's folder is named after, or the most probable class if there is none."""
    known = (i for i, label in enumerate(bundle.classes) if path.parent.name in (label.id, label.name))
    return next(known, int(logits.argmax()))


def require_logits(bundle: Bundle) -> None:
    """Refuse a network without classes.

    Raises
    ------
    FailedPrecondition
        It has no logits.
    """
    if LOGITS not in bundle.layers:
        raise FailedPrecondition(
            f"model {bundle.name!r} has no logits. This study needs a network that predicts classes", name=bundle.name
        )


def open_unit_graph(graph: bytes, outputs: Sequence[str]) -> RunUnits:
    """Return the function that computes some outputs of a network and its backward graph.

    Parameters
    ----------
    graph
        An ONNX network followed by nodes that lead from a unit back to the pixels.
    outputs
        Names of the tensors to return; only the nodes that they need are kept.
    """
    session = ort.InferenceSession(cut_graph(graph, outputs), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: NDArray[np.float32], units: Sequence[int]) -> list[NDArray[np.float32]]:
        given = {UNIT: np.asarray(units, np.int64), POSITION: np.full(len(units), -1)}
        values: list[NDArray[np.float32]] = session.run(
            list(outputs), {name: given.get(name, inputs) for name in names}
        )
        return values

    return run
