"""The pictures that a study of explanations looks at, the classes they are of, and the layers that are asked."""

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

# Inputs (N, 3, H, W) and a unit each, of which the strongest position is meant -> the outputs.
RunUnits = Callable[[NDArray[np.float32], Sequence[int]], list[NDArray[np.float32]]]

LOGITS = "logits"


class ComparedLayers(NamedTuple):
    """The layers that studies compare."""

    first: str
    maps: str  # conv5, else the deepest with maps
    last: str  # fc7, else the last before the logits


def sample_pictures(folder: Path, count: int) -> list[Path]:
    """Return at most ``count`` pictures of a folder, at any depth, evenly along their sorted names.

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
            f"folder {str(folder)!r} holds no picture: {', '.join(sorted(READ))} are read", name=str(folder)
        )
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)]


def view(path: Path, recipe: Recipe) -> NDArray[np.uint8]:
    """Return what a network sees of a file, uint8 (crop_px, crop_px, 3).

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        The picture is damaged or cannot be read; it is named.
    """
    return decode_file(path, lambda data: preprocess_with_crop(data, recipe)[0])


def compared_layers(bundle: Bundle, anatomy: GraphLayers) -> ComparedLayers:
    """Return the layers to compare, among those that see pictures as the bundle's recipe says."""
    layers = group_by_recipe(bundle, anatomy.layers)[bundle.recipe]
    inner = [layer for layer in layers if layer != LOGITS]
    maps = [layer for layer in inner if layer not in bundle.layers or len(bundle.layers[layer].shape) == 3]
    return ComparedLayers(
        inner[0], "conv5" if "conv5" in maps else (maps or inner)[-1], "fc7" if "fc7" in inner else inner[-1]
    )


def picture_class(path: Path, bundle: Bundle, logits: NDArray[np.float32]) -> int:
    """Return the class that the picture's folder bears the id or the name of, else the most probable one."""
    known = (i for i, one in enumerate(bundle.classes) if path.parent.name in (one.id, one.name))
    return next(known, int(logits.argmax()))


def require_logits(bundle: Bundle) -> None:
    """Refuse a network that tells no classes.

    Raises
    ------
    FailedPrecondition
        It has no logits.
    """
    if LOGITS not in bundle.layers:
        raise FailedPrecondition(
            f"model {bundle.name!r} has no logits: this study needs a network that tells classes", name=bundle.name
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities, rows (N, classes) that sum to one."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return chances


def open_unit_graph(graph: bytes, outputs: Sequence[str]) -> RunUnits:
    """Return the function that runs the part of a graph with a way back that computes ``outputs``."""
    session = ort.InferenceSession(cut_graph(graph, outputs), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(inputs: NDArray[np.float32], units: Sequence[int]) -> list[NDArray[np.float32]]:
        given = {UNIT: np.asarray(units, np.int64), POSITION: np.full(len(units), -1)}
        found: list[NDArray[np.float32]] = session.run(list(outputs), {name: given.get(name, inputs) for name in names})
        return found

    return run
