"""Write a new bundle: graph, deconvnet, labels, golden vectors, card and manifest."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fc7.errors import AlreadyExists, FailedPrecondition
from fc7_models.deconv.build import build_deconv
from fc7_models.export.golden_files import draw_golden_files
from fc7_models.export.golden_images import draw_golden_inputs
from fc7_service.bundle.bundle import CARD, DECONV, GOLDEN, LABELS, MODEL, Bundle, ClassLabel, Layer
from fc7_service.bundle.disk import new_folder
from fc7_service.bundle.folder import open_bundle, write_bundle
from fc7_service.bundle.golden import GoldenFile, write_golden_files
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess

_LIBRARIES = ("fc7", "torch", "onnx", "onnxruntime", "pillow")


@dataclass(frozen=True, slots=True)
class BundleContents:
    """What goes into a bundle. Its golden vectors are computed when it is packed."""

    network: str
    graph: bytes  # an ONNX file whose outputs are the layers, in order
    recipe: Recipe
    classes: Iterable[ClassLabel]
    card: str  # Markdown
    default_layer: str | None = None
    own_recipe: tuple[Layer, ...] = ()  # layers with a recipe of their own
    recommended: Mapping[str, str] = field(default_factory=dict)  # see ``Bundle``


def check_output(output: Path, name: str) -> None:
    """Refuse early a bundle that could not be written later.

    Raises
    ------
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``name`` is not valid.
    """
    if output.exists():
        raise AlreadyExists(
            f"{str(output)!r} exists already. Bundles are never overwritten: name another folder", name=str(output)
        )
    check_name(name, "model")


def pack_bundle(contents: BundleContents, output: Path, *, name: str) -> Bundle:
    """Write a bundle in one step into ``output``, a new folder. It has a deconvnet if the network allows one.

    Raises
    ------
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``name`` is not valid.
    """
    check_output(output, name)
    output.parent.mkdir(parents=True, exist_ok=True)
    recipe = contents.recipe
    pixels, inputs = draw_golden_inputs(recipe)
    layers = run_graph(contents.graph, inputs)
    own = {layer.name: layer for layer in contents.own_recipe}
    own_pixels: dict[str, Any] = {}
    for layer in contents.own_recipe:
        own_pixels[f"pixels/{layer.name}"], own_inputs = draw_golden_inputs(layer.recipe or recipe)
        layers[layer.name] = run_graph(contents.graph, own_inputs)[layer.name]
    with new_folder(output, output.parent) as folder:
        (folder / MODEL).write_bytes(contents.graph)
        with contextlib.suppress(FailedPrecondition):  # a network with branches is served without one
            (folder / DECONV).write_bytes(build_deconv(contents.graph, recipe.crop_px))
        labels = "".join(f"{c.id}\t{c.name}\n" for c in contents.classes)
        (folder / LABELS).write_text(labels, encoding="utf-8")
        arrays: dict[str, Any] = {k: v.reshape(len(v), -1) for k, v in layers.items()}
        np.savez_compressed(folder / GOLDEN, pixels=pixels, inputs=inputs, **arrays, **own_pixels)
        shaped = [own.get(k, Layer(k, v.shape[1:])) for k, v in layers.items()]
        write_golden_files(folder, compute_golden_files(contents.graph, recipe, shaped))
        (folder / CARD).write_text(contents.card, encoding="utf-8")
        write_bundle(
            folder,
            name=name,
            network=contents.network,
            layers=shaped,
            recipe=recipe,
            versions={lib: importlib.metadata.version(lib) for lib in _LIBRARIES},
            default_layer=contents.default_layer,
            recommended=contents.recommended,
        )
    return open_bundle(output)


def compute_golden_files(graph: bytes, recipe: Recipe, layers: Sequence[Layer]) -> list[GoldenFile]:
    """Return the golden files of a network, with the output of its smallest layer.

    Parameters
    ----------
    graph
        An ONNX file.
    recipe
        Of the layers that have none of their own.
    layers
        Outputs of the graph.
    """
    layer = min(layers, key=lambda one: one.dim)
    files = draw_golden_files(layer.recipe or recipe)
    inputs = np.stack([preprocess(data, layer.recipe or recipe) for data in files.values()])
    values = run_graph(graph, inputs)[layer.name].reshape(len(files), -1)
    return [GoldenFile(name, data, layer.name, row) for (name, data), row in zip(files.items(), values, strict=True)]


def run_graph(graph: bytes, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return every output of an ONNX file for ``inputs`` (N, 3, H, W), in the order of the file and not flattened."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: inputs}), strict=True))
