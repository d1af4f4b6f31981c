"""Run a bundle's graph on pictures of a folder, one batch at a time. Needs no torch."""

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

Report = Callable[[int, int], None]  # is called with the number done and the total
RunGraph = Callable[[NDArray[np.float32], Sequence[str]], list[NDArray[np.float32]]]


def open_model(name: str) -> Bundle:
    """Open a bundle by name or path, as a server does. An empty name means the first shipped bundle.

    Raises
    ------
    NotFound
        There is no such bundle.
    """
    return folder.open_model(name or next(iter(folder.shipped_bundles()), name))


def open_graph(graph: bytes, *, threads: int = 0, device: str = "cpu") -> RunGraph:
    """Return a function that runs an ONNX file.

    The function takes inputs (N, 3, H, W) and the names of outputs, and returns their values in that order.

    Parameters
    ----------
    graph
        Content of the file.
    threads
        0 means one thread per core.
    device
        "cpu", or "cuda" for the first GPU; ONNX Runtime falls back to the CPU where it cannot use one.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    providers = [name for name in [*wanted, "CPUExecutionProvider"] if name in ort.get_available_providers()]
    session = ort.InferenceSession(graph, options, providers=providers)
    image = session.get_inputs()[0].name
    return lambda inputs, names: session.run(list(names), {image: inputs})


def group_by_recipe(bundle: Bundle, layers: Iterable[str]) -> dict[Recipe, list[str]]:
    """Return the layers that each recipe prepares pictures for; see ``recipe_of``."""
    groups: dict[Recipe, list[str]] = {}
    for layer in layers:
        groups.setdefault(recipe_of(bundle, layer), []).append(layer)
    return groups


def recipe_of(bundle: Bundle, output: str) -> Recipe:
    """Return the recipe of an output: that of the layer, or the network's if the bundle does not name the output."""
    return bundle.recipe_of(output) if output in bundle.layers else bundle.recipe


def read_batches(
    paths: Sequence[Path], recipe: Recipe, report: Report, n_views: int = 1
) -> Iterator[NDArray[np.float32]]:
    """Yield the inputs of pictures, in order, as batches float32 (N, 3, H, W) with N at most 100.

    Parameters
    ----------
    paths
        Files of pictures.
    recipe
        How to prepare them.
    report
        Called after each batch with the number of pictures done and the total.
    n_views
        Views per picture, which follow each other in the batch.

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read. The message names it.
    """
    read, step = partial(preprocess_views, recipe=recipe, n_views=n_views), _BATCH // n_views
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(paths), step):
            yield np.concatenate(list(pool.map(lambda path: decode_file(path, read), paths[i : i + step])))
            report(min(i + step, len(paths)), len(paths))
