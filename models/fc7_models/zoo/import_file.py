"""Make a bundle from a local file: weights of a network in the table, or an ONNX image network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fc7.errors import InvalidArgument, NotFound
from fc7_models.export.golden_images import draw_golden_inputs
from fc7_models.export.pack_bundle import BundleContents, check_output, pack_bundle, run_graph
from fc7_models.zoo.onnx_import import OnnxNetwork, name_layers, read_onnx
from fc7_models.zoo.pretrained_networks import TORCHVISION, ZOO, imagenet_classes
from fc7_models.zoo.pull import bundle_from_weights
from fc7_service.bundle.bundle import Bundle, ClassLabel
from fc7_service.bundle.recipe import RECIPE_VERSION, Recipe

_MAX_RECIPE_BYTES = 2**16
_SAME = 1e-4  # largest difference of a row alone from the same row in a batch, relative to the layer's largest value

# Caffe subtracts ImageNet's mean from values of 0 to 255. The order is R, G, B here, as in every recipe.
_CAFFE = Recipe(resize_px=256, crop_px=224, scale=1.0, mean=(123.68, 116.779, 103.939), std=(1.0,) * 3)
_SIGNED = Recipe(resize_px=256, crop_px=224, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """How a network wants its pictures prepared."""

    recipe: Recipe
    is_bgr: bool = False

    def to_dict(self, px: int) -> dict[str, Any]:
        """Return the JSON object that ``--recipe`` reads, for pictures of ``px`` pixels."""
        fields = self.recipe.to_dict() | {"crop_px": px, "resize_px": round(px * 8 / 7)}
        return fields | {"order": "BGR" if self.is_bgr else "RGB"}


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """What is known of a published file."""

    network: str
    input: NetworkInput
    has_imagenet_classes: bool = True


INPUT_CONVENTIONS = {
    "torchvision": NetworkInput(TORCHVISION),
    "Caffe": NetworkInput(_CAFFE, is_bgr=True),
    "TensorFlow": NetworkInput(_SIGNED),
}
_BGR, _RGB = INPUT_CONVENTIONS["Caffe"], INPUT_CONVENTIONS["torchvision"]

# Files of the ONNX Model Zoo by their SHA-256, which its git-lfs pointers state.
PUBLISHED_FILES = {
    "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945": PublishedFile("bvlc-alexnet", _BGR),
    "ef3c82dad5c512f969dbf701fe35c0b3feb1585687d541f765eb68730c0a8af7": PublishedFile("bvlc-alexnet", _BGR),
    "ea563e5c47d1f58e1717cf1a2d8bf288b8adc07af0ad228b622096cd243aeecb": PublishedFile("caffenet", _BGR),
    "802138332cf3e423c82a9a80c76e4f9227dd4effb3aba55413601fa4345cfd36": PublishedFile("caffenet", _BGR),
    "c975ca6a24c0a2e1584c6f82667e0ac9c06084fc7769d267f71b4a154d1f1c72": PublishedFile("zfnet-512", _BGR),
    "55e3cb74e3d1744e0a8d9fecadd79e9f52887891e2e17df639670ac7293d99ba": PublishedFile("zfnet-512", _BGR),
    "4aadb5ac806e82f89bac7dea77c838ba828dccbe5d624d8a44ebd513953571d9": PublishedFile("rcnn-ilsvrc13", _BGR, False),
    "722c42f53ca03a5480296bf8f9c85a151de3eed9ec982d7d2302ff6e2900c67b": PublishedFile("vgg16", _RGB),
    "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e": PublishedFile("googlenet", _BGR),
    "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526": PublishedFile("resnet50-v1", _RGB),
    "d1fef6de9abfd04669ff0c450eaf02609f544c47623e6b80346180737863f5ee": PublishedFile("alexnet", _RGB),
}

_CARD = """\
# {name}

Network `{network}`, imported by fc7 from the file `{file}`. The default layer is `{layer}`.

| | |
|---|---|
| SHA-256 of the file | {sha256} |
| Preprocessing | {recipe} |
| Channels | {order} inside the network; R, G, B in the recipe |
| Classes | {classes} |
| Licence | as stated by the publisher of the file |

## Intended use

Features for similarity search and for softmax heads on new labels. The publisher of the file says what is allowed and
which pictures the network was trained on. The golden pictures of this bundle are drawn by a program.
"""


def import_file(file: Path, output: Path, *, model: str, recipe: Path | None = None) -> Bundle:
    """Make a bundle from ``file``.

    Parameters
    ----------
    file
        Weights (``.pth``) of a network in the table, recognised by their SHA-256, or an ONNX file.
    output
        Folder of the bundle; must not exist.
    model
        Name of the bundle.
    recipe
        JSON file that says how pictures are prepared for an unknown ONNX network; see ``read_input``.

    Raises
    ------
    NotFound
        ``file`` does not exist.
    AlreadyExists
        ``output`` exists.
    DataLoss
        The file is damaged.
    InvalidArgument
        The weights are unknown, an unknown ONNX file comes without ``recipe``, the file breaks a rule, or ``model``
        is not a valid name.
    """
    check_output(output, model)
    if not file.is_file():
        raise NotFound(f"file {str(file)!r} does not exist", name=str(file))
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if file.suffix in (".pth", ".pt"):
        return _import_weights(file, sha256, output, model)
    known = PUBLISHED_FILES.get(sha256)
    found = read_onnx(file)
    wanted = read_input(recipe) if recipe else known.input if known else _refuse_unknown(found, file)
    graph = name_layers(found, wanted.recipe.crop_px, is_bgr=wanted.is_bgr)
    n_classes = _check_batches(graph, wanted.recipe, file)
    has_names = known is not None and known.has_imagenet_classes
    layer = list(found.layers)[-2]
    card = _CARD.format(
        name=model,
        network=known.network if known else file.stem,
        file=file.name,
        layer=layer,
        sha256=sha256,
        recipe="as published" if known and not recipe else "as given when it was imported",
        order="B, G, R" if wanted.is_bgr else "R, G, B",
        classes="ImageNet's" if has_names else f"{n_classes}, numbered, without names",
    )
    classes = imagenet_classes() if has_names else [ClassLabel(str(i), str(i)) for i in range(n_classes)]
    network = known.network if known else file.stem
    return pack_bundle(
        BundleContents(network, graph, wanted.recipe, classes, card, default_layer=layer), output, name=model
    )


def read_input(file: Path) -> NetworkInput:
    """Read how a network wants its pictures prepared.

    The file is a recipe as a JSON object, with one more field, "order": "RGB" or "BGR". Mean and deviation are always
    in the order R, G, B.

    Raises
    ------
    NotFound
        ``file`` does not exist.
    InvalidArgument
        It is not such an object.
    """
    if not file.is_file():
        raise NotFound(f"recipe {str(file)!r} does not exist", name=str(file))
    try:
        if file.stat().st_size > _MAX_RECIPE_BYTES:
            raise ValueError(f"more than {_MAX_RECIPE_BYTES} bytes")
        fields = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"recipe {str(file)!r} is not JSON: {error}", name=str(file)) from error
    if not isinstance(fields, dict) or fields.get("order", "RGB") not in ("RGB", "BGR"):
        raise InvalidArgument(f'recipe {str(file)!r} must be a JSON object, with "order" RGB or BGR', name=str(file))
    order = fields.pop("order", "RGB")
    return NetworkInput(Recipe.from_dict({"version": RECIPE_VERSION} | fields), is_bgr=order == "BGR")


def _import_weights(file: Path, sha256: str, output: Path, model: str) -> Bundle:
    for network, entry in ZOO.items():
        head = Path(entry.weights).stem.rpartition("-")[2]
        if head and sha256.startswith(head):
            return bundle_from_weights(entry, file, output, network=network, model=model)
    files = ", ".join(Path(entry.weights).name for entry in ZOO.values() if entry.weights)
    raise InvalidArgument(
        f"the weights {file.name!r} (SHA-256 {sha256[:16]}...) are not among those that fc7 knows: {files}. "
        "Import other networks as ONNX files",
        name=file.name,
    )


def _refuse_unknown(found: OnnxNetwork, file: Path) -> NoReturn:
    px = found.size_px or TORCHVISION.crop_px
    candidates = "; ".join(f"{name}: {json.dumps(one.to_dict(px))}" for name, one in INPUT_CONVENTIONS.items())
    raise InvalidArgument(
        f"fc7 does not know {file.name!r}, so it cannot tell how pictures are prepared. Write one of these to a "
        f"file and pass it with --recipe. {candidates}",
        name="recipe",
    )


def _check_batches(graph: bytes, recipe: Recipe, file: Path) -> int:
    """Refuse a graph in which rows of a batch affect each other; return its number of classes."""
    _, inputs = draw_golden_inputs(recipe)
    try:
        together = run_graph(graph, inputs)
        alone = [run_graph(graph, inputs[i : i + 1]) for i in range(2)]
    except Exception as error:  # the runtime's errors share no base but Exception
        raise InvalidArgument(
            f"{file.name!r} cannot be run on batches of 1 and {len(inputs)} ({error}). Export it with a dynamic batch"
        ) from error
    for name, values in together.items():
        if len(values) != len(inputs):
            raise InvalidArgument(
                f"layer {name!r} of {file.name!r} has a fixed batch: shape {values.shape} for {len(inputs)} pictures. "
                "Export it with a dynamic batch",
                name=name,
            )
        if not np.isfinite(values).all():
            raise InvalidArgument(f"layer {name!r} of {file.name!r} contains NaN or infinity", name=name)
        for i, one in enumerate(alone):
            _check_row(name, values[i], one)
    return int(together["logits"].reshape(len(inputs), -1).shape[1])


def _check_row(name: str, values: Any, alone: Mapping[str, Any]) -> None:
    difference = float(np.abs(values - alone[name][0]).max())
    if not difference <= _SAME * float(np.abs(values).max()):
        raise InvalidArgument(
            f"layer {name!r} of a picture depends on the other pictures of the batch: it differs by {difference:.1e}",
            name=name,
        )
