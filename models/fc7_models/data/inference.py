"""Pictures of a folder through a bundle's graph, a batch at a time. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fc7_models.data.dataset import decode_file
from fc7_service.bundle import folder
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess_views

_BATCH = 100

Report = Callable[[int, int], None]  # takes what is done and what there is in all
RunGraph = Callable[[NDArray[np.float32], Sequence[str]], list[NDArray[np.float32]]]


def open_model(name: str) -> Bundle:
    """Open a bundle as a server does; the first shipped one for an empty name.

    Raises
    ------
    NotFound
        No such bundle.
    """
    return folder.open_model(name or next(iter(folder.shipped_bundles()), name))


def open_graph(graph: bytes, *, threads: int = 0) -> RunGraph:
    """Return the function that runs an ONNX file on the CPU: inputs (N, 3, H, W) and outputs' names to their values.

    Without ``threads`` it takes one a core.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0].name
    return lambda inputs, names: session.run(list(names), {image: inputs})


def group_by_recipe(bundle: Bundle, layers: Iterable[str]) -> dict[Recipe, list[str]]:
    """Return the layers of each recipe; see ``recipe_of``."""
    sizes: dict[Recipe, list[str]] = {}
    for layer in layers:
        sizes.setdefault(recipe_of(bundle, layer), []).append(layer)
    return sizes


def recipe_of(bundle: Bundle, output: str) -> Recipe:
    """Return how pictures are prepared for an output; one that the bundle does not name sees what the network sees."""
    return bundle.recipe_of(output) if output in bundle.layers else bundle.recipe


def read_batches(
    paths: Sequence[Path], recipe: Recipe, report: Report, n_views: int = 1
) -> Iterator[NDArray[np.float32]]:
    """Yield the tensors of pictures in order, ``n_views`` a picture, float32 (N, 3, H, W) of at most 100 each.

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    read, step = partial(preprocess_views, recipe=recipe, n_views=n_views), _BATCH // n_views
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(paths), step):
            yield np.concatenate(list(pool.map(lambda path: decode_file(path, read), paths[i : i + step])))
            report(min(i + step, len(paths)), len(paths))
