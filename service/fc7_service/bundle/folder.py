"""The folder of a bundle: find it by name or path, open and check it, and write its manifest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fc7.errors import DataLoss, FailedPrecondition, NotFound, Reason
from fc7_service.bundle.bundle import INT8_SUFFIX, LABELS, REQUIRED, Bundle, ClassLabel, Layer
from fc7_service.bundle.name_rule import check_name
from fc7_service.bundle.provenance import NO_TRANSFORM
from fc7_service.bundle.recipe import Recipe

FORMAT = 2  # format 2 has layers with their own recipe, which a reader of format 1 would overlook
MANIFEST = "manifest.json"

_SHIPPED = Path(__file__).parent.parent / "bundles"
_MAX_MANIFEST_BYTES = 2**20
_LARGEST_LAYER = 2**24  # numbers
_MAX_FILE_BYTES = 2 * 2**30 - 1  # the limit of a protobuf message, and so of an ONNX file


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles that fc7 ships, by name, the default first."""
    return {path.parent.name: path.parent for path in sorted(_SHIPPED.glob(f"*/{MANIFEST}"))}


def locate_bundle(name: str) -> Path:
    """Return the folder of a bundle, given the name of a shipped one or the path of any other.

    Raises
    ------
    NotFound
        It is neither. The message lists the shipped bundles.
    """
    shipped = shipped_bundles()
    if name in shipped:
        return shipped[name]
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    raise NotFound(
        f"model {name!r} is neither a shipped bundle ({', '.join(shipped) or 'none'}) nor a folder with a {MANIFEST}",
        name=name,
        reason=Reason.MODEL_NOT_FOUND,
    )


def open_model(name: str) -> Bundle:
    """Open a bundle by name or path. With the suffix ".int8", open its int8 form.

    Raises
    ------
    NotFound
        There is no such bundle, or it has no int8 form.
    DataLoss, FailedPrecondition
        See ``open_bundle``.
    """
    if not name.endswith(INT8_SUFFIX) or (Path(name) / MANIFEST).is_file():
        return open_bundle(locate_bundle(name))
    return open_bundle(locate_bundle(name.removesuffix(INT8_SUFFIX))).in_int8()


def open_bundle(path: Path) -> Bundle:
    """Open the bundle in ``path``, and check everything except the content of its large files.

    Raises
    ------
    NotFound
        The folder has no manifest.
    DataLoss
        The manifest or the labels are damaged, or a file is missing or has another size.
    FailedPrecondition
        A newer version of fc7 wrote the bundle.
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
            recommended=_recommended(list(manifest["layers"]), manifest.get("recommended", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataLoss(
            f"the manifest of bundle {str(path)!r} is malformed: {error!r}",
            name=str(path),
            reason=Reason.BUNDLE_DAMAGED,
        ) from error
    for file in REQUIRED:
        if file not in bundle.files:
            raise DataLoss(
                f"the manifest of bundle {str(path)!r} does not list {file!r}", name=file, reason=Reason.BUNDLE_DAMAGED
            )
    for file, (_, size) in bundle.files.items():
        if not (path / file).is_file() or not (path / file).stat().st_size == size <= _MAX_FILE_BYTES:
            raise DataLoss(
                f"file {file!r} of bundle {bundle.name!r} is missing, or does not have {size} bytes",
                name=file,
                reason=Reason.BUNDLE_DAMAGED,
            )
    classes = tuple(_classes(bundle.read(LABELS).decode("utf-8", "replace")))
    if "logits" in bundle.layers and bundle.layers["logits"].dim != len(classes):
        raise DataLoss(
            f"bundle {bundle.name!r} has {len(classes)} labels for {bundle.layers['logits'].dim} logits",
            name=LABELS,
            reason=Reason.BUNDLE_DAMAGED,
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
    recommended: Mapping[str, str] | None = None,
) -> Bundle:
    """Write a manifest for the files in ``path``, and open the bundle.

    ``default_layer`` defaults to "fc7", or to the last layer before the logits if there is no "fc7".

    Raises
    ------
    InvalidArgument
        A name is not allowed.
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
        **({"recommended": _recommended([layer.name for layer in layers], recommended)} if recommended else {}),
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
        raise NotFound(
            f"folder {str(path)!r} is not a bundle: it has no {MANIFEST}", name=str(path), reason=Reason.MODEL_NOT_FOUND
        )
    try:
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {_MAX_MANIFEST_BYTES} bytes")
        manifest = json.loads(file.read_bytes(), object_pairs_hook=_without_twins)
        version = int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise DataLoss(
            f"the manifest of bundle {str(path)!r} is damaged: {error!r}", name=str(path), reason=Reason.BUNDLE_DAMAGED
        ) from error
    if version > FORMAT:
        raise FailedPrecondition(
            f"bundle {str(path)!r} has format {version}, but this fc7 reads only up to {FORMAT}. Upgrade fc7",
            name=str(path),
            reason=Reason.NEWER_FORMAT,
        )
    return dict(manifest)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"a key occurs twice among {[key for key, _ in pairs][:20]}")
    return fields


def _layer(name: str, values: dict[str, Any]) -> Layer:
    shape = tuple(int(n) for n in values["shape"])
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or math.prod(shape) > _LARGEST_LAYER:
        raise ValueError(f"layer {name!r} has the impossible shape {shape}")
    recipe = Recipe.from_dict(values["recipe"]) if "recipe" in values else None
    return Layer(check_name(name, "layer"), shape, str(values.get("transform", NO_TRANSFORM)), recipe)


def _layer_values(layer: Layer) -> dict[str, Any]:
    values = {"shape": list(layer.shape), "transform": layer.transform}
    return values | ({"recipe": layer.recipe.to_dict()} if layer.recipe else {})


def _default_layer(names: list[str], chosen: str | None) -> str:
    if not names:
        raise ValueError("it has no layer")
    if chosen is None:
        before = [name for name in names if name != "logits"]
        return "fc7" if "fc7" in names else (before or names)[-1]
    if chosen not in names:
        raise ValueError(f"default layer {chosen!r} is not one of {names}")
    return chosen


def _recommended(names: list[str], layers: Mapping[str, str]) -> dict[str, str]:
    """Return task -> layer, checked."""
    for task, layer in layers.items():
        if layer not in names:
            raise ValueError(f"the layer {layer!r}, recommended for {task!r}, is none of {names}")
    return {check_name(task, "task"): layer for task, layer in layers.items()}


def _classes(text: str) -> list[ClassLabel]:
    rows = (line.split("\t", 1) for line in text.splitlines() if line)
    return [ClassLabel(row[0], row[-1]) for row in rows]
