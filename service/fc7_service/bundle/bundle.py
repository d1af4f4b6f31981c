"""The bundle: a folder with everything that belongs to one network. It is trained, shipped and served as one.

manifest.json   name, network, layers, default layer, recommended layers, recipes, hashes and sizes of the other files,
                versions
model.onnx      dynamic batch; one output per layer; metadata "sums" names the maps in which a layer is linear
labels.tsv      per line a class id, a tab and a readable name, in the order of the logits
golden.npz      pixels, their input tensors, and the output of every layer
golden.files.npz    (not in bundles of release 0.1) small encoded files, and the output of the smallest layer for each
card.md         data, recipe, hours, accuracy, transfer, licence, intended use

If the network is a chain without branches, its deconvnet:

deconv.onnx     only the nodes of the way back; appended to model.onnx, the two are a graph that runs forth and back

If it was made, the int8 form of the network, which is opened as NAME.int8:

model.int8.onnx    the same inputs and outputs
golden.int8.npz    the output of every layer for the inputs of golden.npz
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fc7.errors import DataLoss, InvalidArgument, NotFound, Reason
from fc7_service.bundle.onnx_file import has_external_data
from fc7_service.bundle.provenance import NO_TRANSFORM, Provenance
from fc7_service.bundle.recipe import RECIPE_VERSION, Recipe

GOLDEN_FILES = "golden.files.npz"
MODEL, LABELS, GOLDEN, CARD = "model.onnx", "labels.tsv", "golden.npz", "card.md"
DECONV = "deconv.onnx"
INT8_MODEL, INT8_GOLDEN = "model.int8.onnx", "golden.int8.npz"
REQUIRED = (MODEL, LABELS, GOLDEN, CARD)
INT8_SUFFIX = ".int8"  # of the name of the int8 form
VERSION_MARK = "@"  # NAME@1 is the bundle NAME with version 1 of its recipes
SUMS = "sums"  # metadata of model.onnx, JSON: layer -> tensors, maps of the same units, in which it is linear together


@dataclass(frozen=True, slots=True)
class Layer:
    """A named output of a network."""

    name: str
    shape: tuple[int, ...]  # for the recipe's picture size, before flattening
    transform: str = NO_TRANSFORM
    recipe: Recipe | None = None  # if it differs from the bundle's recipe

    @property
    def dim(self) -> int:
        """Length of the feature."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A class that the network was trained on."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: the manifest and the labels are read, larger files only when they are needed."""

    path: Path
    name: str
    network: str
    layers: dict[str, Layer]  # first to last
    default_layer: str
    recipe: Recipe
    files: dict[str, tuple[str, int]]  # file -> SHA-256 (hex), bytes
    classes: tuple[ClassLabel, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    precision: Literal["fp32", "int8"] = "fp32"
    # Task -> layer. "views" is to find altered copies of a picture, "classes" to tell classes apart; more may follow.
    recommended: dict[str, str] = field(default_factory=dict)

    @property
    def graph_sha256(self) -> str:
        """SHA-256 (hex) of the ONNX graph."""
        return self.files[self._graph_file][0]

    @property
    def _graph_file(self) -> str:
        return MODEL if self.precision == "fp32" else INT8_MODEL

    def in_int8(self) -> Bundle:
        """Return the int8 form: a model with its own name, without the files that belong to the fp32 graph.

        Raises
        ------
        NotFound
            The bundle has no int8 form.
        """
        kept = (*REQUIRED, INT8_MODEL, INT8_GOLDEN)
        if not set(kept) <= set(self.files):
            raise NotFound(f"bundle {self.name!r} has no int8 form. Make one with: fc7 model quantize", name=self.name)
        files = {file: self.files[file] for file in kept}
        return replace(self, name=self.name + INT8_SUFFIX, files=files, precision="int8")

    def with_recipe_version(self, version: int) -> Bundle:
        """Return the bundle with another version of its recipes; its name becomes NAME@VERSION."""
        layers = {
            name: replace(layer, recipe=layer.recipe and layer.recipe.in_version(version))
            for name, layer in self.layers.items()
        }
        name = f"{self.name}{VERSION_MARK}{version}"
        return replace(self, name=name, layers=layers, recipe=self.recipe.in_version(version))

    def recipe_of(self, layer: str) -> Recipe:
        """Return the recipe of ``layer``, which must be one of ``layers``."""
        return self.layers[layer].recipe or self.recipe

    def layers_by_recipe(self) -> dict[Recipe, list[str]]:
        """Return, for each recipe, the names of the layers that use it."""
        layers: dict[Recipe, list[str]] = {}
        for layer in self.layers:
            layers.setdefault(self.recipe_of(layer), []).append(layer)
        return layers

    def provenance(self, layer: str) -> Provenance:
        """Return the provenance of the features of ``layer``; an empty name is the default layer.

        Raises
        ------
        NotFound
            There is no such layer; the message lists those that exist.
        """
        layer = layer or self.default_layer
        if layer not in self.layers:
            raise NotFound(
                f"model {self.name!r} has no layer {layer[:64]!r}. It has {', '.join(self.layers)}",
                name=layer[:64],
                reason=Reason.LAYER_NOT_FOUND,
            )
        return Provenance(
            model=self.name,
            graph_sha256=self.graph_sha256,
            recipe_sha256=self.recipe_of(layer).digest(),
            layer=layer,
            transform=self.layers[layer].transform,
            precision=self.precision,
        )

    def read(self, file: str) -> bytes:
        """Return the bytes of a file, after comparing them with the manifest.

        Raises
        ------
        DataLoss
            The file is missing, or differs from what the manifest says.
        """
        sha256, size = self.files[file]
        try:
            if (self.path / file).stat().st_size != size:
                raise DataLoss(
                    f"file {file!r} of bundle {self.name!r} does not have the {size} bytes that its manifest says",
                    name=file,
                    reason=Reason.BUNDLE_DAMAGED,
                )
            data = (self.path / file).read_bytes()
        except OSError as error:
            raise DataLoss(
                f"file {file!r} of bundle {self.name!r} cannot be read: {error.strerror}",
                name=file,
                reason=Reason.BUNDLE_DAMAGED,
            ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataLoss(
                f"file {file!r} of bundle {self.name!r} does not match the hash in its manifest",
                name=file,
                reason=Reason.BUNDLE_DAMAGED,
            )
        return data

    def graph(self) -> bytes:
        """Return the ONNX file.

        Raises
        ------
        DataLoss
            As ``read``.
        InvalidArgument
            The graph refers to data outside the file.
        """
        return self._onnx(self._graph_file)

    def deconv(self) -> bytes:
        """Return the nodes of the way back, to be appended to the graph; no bytes if the bundle has no deconvnet.

        Raises
        ------
        DataLoss, InvalidArgument
            As ``graph``.
        """
        return self._onnx(DECONV) if DECONV in self.files else b""

    def _onnx(self, file: str) -> bytes:
        data = self.read(file)
        try:
            is_outside = has_external_data(data)
        except DataLoss as error:
            text = f"file {file!r} of bundle {self.name!r} cannot be read: {error.message}"
            raise DataLoss(text, name=file, reason=Reason.BUNDLE_DAMAGED) from error
        if is_outside:
            raise InvalidArgument(
                f"file {file!r} of bundle {self.name!r} refers to other files. Store the graph as one file", name=file
            )
        return data

    def check_files(self) -> None:
        """Compare every file with the manifest, and check that no graph refers to other files.

        Raises
        ------
        DataLoss, InvalidArgument
            As ``graph``; the file is named.
        """
        for file in self.files:
            self._onnx(file) if file.endswith(".onnx") else self.read(file)

    def card(self) -> str:
        """Return the model card, Markdown."""
        return self.read(CARD).decode(errors="replace")


def find_bundle(bundles: Mapping[str, Bundle], model: str) -> Bundle:
    """Return a bundle by its name; NAME@VERSION chooses a version of its recipes, an empty name the first bundle.

    Raises
    ------
    NotFound
        There is no such model; the message lists those that exist.
    """
    name, mark, version = model.partition(VERSION_MARK)
    name = name or next(iter(bundles))
    versions = [str(number + 1) for number in range(RECIPE_VERSION)]
    if name not in bundles or (mark and version not in versions):
        raise NotFound(
            f"model {model[:64]!r} is not served. Choose one of {', '.join(bundles)}, "
            "or start the server with its bundle: fc7 serve --model BUNDLE",
            name=model[:64],
            reason=Reason.MODEL_NOT_FOUND,
        )
    return bundles[name].with_recipe_version(int(version)) if mark else bundles[name]


def find_maker(bundles: Mapping[str, Bundle], provenance: Provenance) -> Bundle | None:
    """Return the bundle, and version of its recipes, that makes features of ``provenance``; None if there is none."""
    for bundle in bundles.values():
        if provenance.layer in bundle.layers and provenance.graph_sha256 == bundle.graph_sha256:
            others = (bundle.with_recipe_version(number + 1) for number in range(RECIPE_VERSION))
            for one in (bundle, *others):
                if one.provenance(provenance.layer).digest == provenance.digest:
                    return one
    return None


def check_same_classes(bundles: Sequence[Bundle]) -> None:
    """Refuse networks whose probabilities cannot be averaged, because their classes differ.

    Raises
    ------
    InvalidArgument
        Two of them do not have the same class ids in the same order; both are named.
    """
    first = bundles[0]
    for other in bundles[1:]:
        if [c.id for c in other.classes] != [c.id for c in first.classes]:
            raise InvalidArgument(
                f"models {first.name!r} and {other.name!r} do not have the same classes ({len(first.classes)} and "
                f"{len(other.classes)}). An ensemble averages probabilities. Choose models with the same classes",
                name="ensemble",
            )
