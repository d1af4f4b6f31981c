"""The bundle: a folder that is trained, shipped, imported and served as one.

manifest.json   name, network, layers, default layer, recipes, hashes and sizes of the other files, versions
model.onnx      dynamic batch; one output a layer
labels.tsv      class id, readable name; in the order of the logits
golden.npz      pixels, their input tensors, every layer's output
card.md         data, recipe, hours, accuracy, transfer, licence, intended use

Where the network is a chain without branches, its deconvnet:

deconv.onnx     the nodes of the way back alone; put behind model.onnx it is the graph that runs forth and back

Where it was made, the int8 form of the network, which is opened as NAME.int8:

model.int8.onnx    the same inputs and outputs
golden.int8.npz    every layer's output for the inputs of golden.npz
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from fc7_service.bundle.graph import refers_outside
from fc7_service.bundle.names import check_name
from fc7_service.bundle.provenance import NO_TRANSFORM, Provenance
from fc7_service.bundle.recipe import Recipe

FORMAT = 2  # has layers with a recipe of their own, which a reader of format 1 would overlook
MANIFEST, MODEL, LABELS, GOLDEN, CARD = "manifest.json", "model.onnx", "labels.tsv", "golden.npz", "card.md"
DECONV = "deconv.onnx"
INT8_MODEL, INT8_GOLDEN = "model.int8.onnx", "golden.int8.npz"
REQUIRED = (MODEL, LABELS, GOLDEN, CARD)

_SHIPPED = Path(__file__).parent.parent / "bundles"
_INT8_SUFFIX = ".int8"
_MAX_MANIFEST_BYTES = 2**20
_MAX_FILE_BYTES = 2 * 2**30 - 1  # the limit of a protobuf message, so of an ONNX file


@dataclass(frozen=True, slots=True)
class Layer:
    """A named output of a network."""

    name: str
    shape: tuple[int, ...]  # for the recipe's picture size, before flattening
    transform: str = NO_TRANSFORM
    recipe: Recipe | None = None  # where it sees pictures otherwise than the bundle's recipe says

    @property
    def dim(self) -> int:
        """Length of the feature."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A class that the network was trained on."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Golden:
    """Pictures, and what the network made of them where it was exported."""

    pixels: NDArray[np.uint8]  # (N, H, W, 3), of the size that the recipe resizes to
    inputs: NDArray[np.float32]  # (N, 3, H, W)
    layers: dict[str, NDArray[np.float32]]  # (N, D) each
    own_pixels: dict[str, NDArray[np.uint8]]  # in place of ``pixels`` for layers with a recipe of their own


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: manifest and labels are read, larger files when asked for."""

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

    @property
    def graph_sha256(self) -> str:
        """SHA-256 (hex) of the ONNX graph."""
        return self.files[self._graph_file][0]

    @property
    def _graph_file(self) -> str:
        return MODEL if self.precision == "fp32" else INT8_MODEL

    def in_int8(self) -> Bundle:
        """Return the int8 form, a model of its own name without what goes with the other graph.

        Raises
        ------
        NotFound
            It was not made.
        """
        kept = (*REQUIRED, INT8_MODEL, INT8_GOLDEN)
        if not set(kept) <= set(self.files):
            raise NotFound(
                f"bundle {self.name!r} has no int8 form: make a bundle that has with fc7 model quantize", name=self.name
            )
        files = {file: self.files[file] for file in kept}
        return replace(self, name=self.name + _INT8_SUFFIX, files=files, precision="int8")

    def recipe_of(self, layer: str) -> Recipe:
        """Return how pictures are prepared for ``layer``, one of ``layers``."""
        return self.layers[layer].recipe or self.recipe

    def layers_by_recipe(self) -> dict[Recipe, list[str]]:
        """Return the names of the layers that see pictures alike, for each way of preparing them."""
        layers: dict[Recipe, list[str]] = {}
        for layer in self.layers:
            layers.setdefault(self.recipe_of(layer), []).append(layer)
        return layers

    def provenance(self, layer: str) -> Provenance:
        """Return the provenance of the features of ``layer``, the default one for an empty name.

        Raises
        ------
        NotFound
            No such layer; the message lists those that exist.
        """
        layer = layer or self.default_layer
        if layer not in self.layers:
            raise NotFound(
                f"model {self.name!r} has no layer {layer[:64]!r}: it has {', '.join(self.layers)}", name=layer[:64]
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
        """Return the bytes of a file after comparing them with the manifest.

        Raises
        ------
        DataLoss
            The file is missing or is not what the manifest says.
        """
        sha256, size = self.files[file]
        try:
            if (self.path / file).stat().st_size != size:
                raise DataLoss(f"{file} of bundle {self.name!r} has not the {size} bytes of its manifest", name=file)
            data = (self.path / file).read_bytes()
        except OSError as error:
            raise DataLoss(f"{file} of bundle {self.name!r} cannot be read: {error.strerror}", name=file) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataLoss(f"{file} of bundle {self.name!r} does not match the hash of its manifest", name=file)
        return data

    def graph(self) -> bytes:
        """Return the ONNX file.

        Raises
        ------
        DataLoss
            As ``read``.
        InvalidArgument
            It refers to data outside the file.
        """
        return self._onnx(self._graph_file)

    def deconv(self) -> bytes:
        """Return the nodes of the way back, to be put behind the graph; none where the bundle has no deconvnet.

        Raises
        ------
        DataLoss, InvalidArgument
            As ``graph``.
        """
        return self._onnx(DECONV) if DECONV in self.files else b""

    def _onnx(self, file: str) -> bytes:
        data = self.read(file)
        if refers_outside(data):
            raise InvalidArgument(f"{file} of bundle {self.name!r} refers to other files: store it as one", name=file)
        return data

    def golden(self) -> Golden:
        """Return the golden vectors.

        Raises
        ------
        DataLoss
            A file of them is damaged, or lacks an array or has one of another shape or dtype.
        """
        arrays = self._arrays(GOLDEN)
        outputs = arrays if self.precision == "fp32" else self._arrays(INT8_GOLDEN)

        def take(source: dict[str, NDArray[Any]], name: str, dtype: type, *shape: int | None) -> NDArray[Any]:
            array = source.get(name)
            fits = array is not None and array.dtype == dtype and array.ndim == len(shape)
            if array is None or not fits or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
                raise DataLoss(f"golden vectors of bundle {self.name!r} lack {name}, or it is malformed", name=GOLDEN)
            return array

        inputs = take(arrays, "inputs", np.float32, None, 3, None, None)
        n = len(inputs)
        return Golden(
            pixels=take(arrays, "pixels", np.uint8, n, None, None, 3),
            inputs=inputs,
            layers={name: take(outputs, name, np.float32, n, layer.dim) for name, layer in self.layers.items()},
            own_pixels={
                name: take(arrays, f"pixels/{name}", np.uint8, n, None, None, 3)
                for name, layer in self.layers.items()
                if layer.recipe
            },
        )

    def _arrays(self, file: str) -> dict[str, NDArray[Any]]:
        data = self.read(file)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # what NumPy, zipfile and zlib raise for damage shares no base but Exception
            raise DataLoss(f"{file} of bundle {self.name!r} is malformed: {error}", name=file) from error

    def card(self) -> str:
        """Return the model card, Markdown."""
        return self.read(CARD).decode(errors="replace")


def check_same_classes(bundles: Sequence[Bundle]) -> None:
    """Refuse networks whose probabilities cannot be averaged.

    Raises
    ------
    InvalidArgument
        Two of them have not the same class ids in the same order; both are named.
    """
    first = bundles[0]
    for other in bundles[1:]:
        if [c.id for c in other.classes] != [c.id for c in first.classes]:
            raise InvalidArgument(
                f"models {first.name!r} and {other.name!r} have not the same classes ({len(first.classes)} and "
                f"{len(other.classes)}): an ensemble averages probabilities of the same classes, so choose others",
                name="ensemble",
            )


def shipped_bundles() -> dict[str, Path]:
    """Return the bundles inside this installation by name, the default first."""
    return {path.parent.name: path.parent for path in sorted(_SHIPPED.glob(f"*/{MANIFEST}"))}


def locate_bundle(name: str) -> Path:
    """Return the folder of a shipped bundle, by name, or of any other, by path.

    Raises
    ------
    NotFound
        Neither; the message lists what is shipped.
    """
    shipped = shipped_bundles()
    if name in shipped:
        return shipped[name]
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    raise NotFound(
        f"model {name!r} is neither shipped ({', '.join(shipped) or 'none is'}) nor a folder with a {MANIFEST}",
        name=name,
    )


def open_model(name: str) -> Bundle:
    """Open a shipped bundle, by name, or any other, by path; with ".int8" behind it, its int8 form.

    Raises
    ------
    NotFound
        No such bundle, or it has no int8 form.
    DataLoss, FailedPrecondition
        As ``open_bundle``.
    """
    if not name.endswith(_INT8_SUFFIX) or (Path(name) / MANIFEST).is_file():
        return open_bundle(locate_bundle(name))
    return open_bundle(locate_bundle(name.removesuffix(_INT8_SUFFIX))).in_int8()


def open_bundle(path: Path) -> Bundle:
    """Open the bundle in ``path``, checking all that can be checked without reading its large files.

    Raises
    ------
    NotFound
        No manifest there.
    DataLoss
        The manifest or the labels are damaged, or a file is missing or of another size.
    FailedPrecondition
        A format newer than this version of fc7 knows.
    """
    manifest = _read_manifest(path)
    try:
        bundle = Bundle(
            path=path,
            name=check_name(manifest["name"], "bundle"),
            network=str(manifest["network"]),
            layers={name: _layer(name, values) for name, values in manifest["layers"].items()},
            default_layer=_default_layer(list(manifest["layers"]), manifest.get("default_layer")),
            recipe=Recipe.from_dict(manifest["recipe"]),
            files={check_name(f, "file"): (str(v["sha256"]), int(v["size"])) for f, v in manifest["files"].items()},
            versions={str(k): str(v) for k, v in manifest.get("versions", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataLoss(f"manifest of bundle {str(path)!r} is malformed: {error!r}", name=str(path)) from error
    for file in REQUIRED:
        if file not in bundle.files:
            raise DataLoss(f"manifest of bundle {str(path)!r} does not list {file}", name=file)
    for file, (_, size) in bundle.files.items():
        if not (path / file).is_file() or not (path / file).stat().st_size == size <= _MAX_FILE_BYTES:
            raise DataLoss(f"{file} of bundle {bundle.name!r} is missing or has not {size} bytes", name=file)
    classes = tuple(_classes(bundle.read(LABELS).decode("utf-8", "replace")))
    if "logits" in bundle.layers and bundle.layers["logits"].dim != len(classes):
        raise DataLoss(
            f"bundle {bundle.name!r} has {len(classes)} labels for {bundle.layers['logits'].dim} logits", name=LABELS
        )
    return replace(bundle, classes=classes)


def write_bundle(
    path: Path,
    *,
    name: str,
    network: str,
    layers: list[Layer],
    recipe: Recipe,
    versions: dict[str, str],
    default_layer: str | None = None,
) -> Bundle:
    """Write the manifest over the files that lie in ``path``; return the bundle, opened.

    Without ``default_layer`` it is "fc7" where there is one, else the last layer before the logits.

    Raises
    ------
    InvalidArgument
        A name that cannot be one.
    DataLoss
        A required file is missing.
    """
    files = sorted(p for p in path.iterdir() if p.is_file() and p.name != MANIFEST and not p.name.startswith("."))
    manifest = {
        "format": FORMAT if any(layer.recipe for layer in layers) else 1,
        "name": check_name(name, "bundle"),
        "network": network,
        "layers": {layer.name: _layer_values(layer) for layer in layers},
        "default_layer": _default_layer([layer.name for layer in layers], default_layer),
        "recipe": recipe.to_dict(),
        "files": {
            p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest(), "size": p.stat().st_size} for p in files
        },
        "versions": versions,
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return open_bundle(path)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise NotFound(f"folder {str(path)!r} is not a bundle: it has no {MANIFEST}", name=str(path))
    try:
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {_MAX_MANIFEST_BYTES} bytes")
        manifest = json.loads(file.read_bytes())
        version = int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataLoss(f"manifest of bundle {str(path)!r} is damaged: {error!r}", name=str(path)) from error
    if version > FORMAT:
        raise FailedPrecondition(
            f"bundle {str(path)!r} has format {version}: this fc7 reads up to {FORMAT}, so update it", name=str(path)
        )
    return dict(manifest)


def _layer(name: str, values: dict[str, Any]) -> Layer:
    shape = tuple(int(n) for n in values["shape"])
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or np.prod(shape) > 2**24:
        raise ValueError(f"shape {shape} of layer {name!r}")
    recipe = Recipe.from_dict(values["recipe"]) if "recipe" in values else None
    return Layer(check_name(name, "layer"), shape, str(values.get("transform", NO_TRANSFORM)), recipe)


def _layer_values(layer: Layer) -> dict[str, Any]:
    values = {"shape": list(layer.shape), "transform": layer.transform}
    return values | ({"recipe": layer.recipe.to_dict()} if layer.recipe else {})


def _default_layer(names: list[str], chosen: str | None) -> str:
    if not names:
        raise ValueError("no layer")
    if chosen is None:
        before = [name for name in names if name != "logits"]
        return "fc7" if "fc7" in names else (before or names)[-1]
    if chosen not in names:
        raise ValueError(f"default layer {chosen!r} is none of {names}")
    return chosen


def _classes(text: str) -> list[ClassLabel]:
    rows = (line.split("\t", 1) for line in text.splitlines() if line)
    return [ClassLabel(row[0], row[-1]) for row in rows]
