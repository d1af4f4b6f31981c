"""Fetch somebody else's trained network and make a bundle of it."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fc7.errors import DataLoss, Unavailable
from fc7_models.export.pack_bundle import BundleContents, check_output, draw_golden_inputs, pack_bundle, run_graph
from fc7_models.export.torch_to_onnx import check_parity, to_onnx
from fc7_models.networks import Network
from fc7_models.zoo.pretrained_networks import (
    Pretrained,
    WithNamedLayers,
    find_pretrained,
    imagenet_classes,
    package_file,
    resolve_address,
)
from fc7_service.bundle.bundle import Bundle

_MAX_BYTES = 2**30
_CHUNK_BYTES = 2**20
_TIMEOUT_S = 60  # without a byte
_CARD = """\
---
license: {licence}
pipeline_tag: image-feature-extraction
---
# {name}

Network `{network}` with weights for ImageNet (ILSVRC-2012, 1.28 million pictures of 1,000 classes), trained by others
and exported by fc7. Default layer: `{layer}`.

| | |
|---|---|
| Weights | {source} |
| Licence | {licence} |
| Picture size | {px} pixels, the centre of a picture of {resize} |
| Resizing | bilinear with antialiasing, as everywhere in fc7; its authors may have used another filter |

## Intended use

Features of everyday photographs for similarity search and for softmax heads on new labels.
Not for identifying people, nor for decisions about them. The pictures it learnt from show what the web
had around 2010, with the biases of that selection; the golden pictures are drawn by a program.
"""


def pull(name: str, output: Path, *, model: str, report: Callable[[int, int], object]) -> Bundle:
    """Make the bundle of a network of the table, with its published weights.

    Parameters
    ----------
    name
        Of the table in ``zoo/pretrained_networks.py``.
    output
        Folder of the bundle, new.
    model
        Name of the bundle.
    report
        Called with bytes done and bytes in all while weights are downloaded.

    Raises
    ------
    NotFound
        No such network.
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``model`` cannot be a name.
    Unavailable
        The weights cannot be downloaded.
    DataLoss
        They are not the file whose hash the table has.
    ModuleNotFoundError
        A package of the extra "zoo" is missing.
    """
    entry = find_pretrained(name)
    check_output(output, model)
    if not entry.weights:
        return bundle_from_module(entry, _of_timm(entry), output, network=name, model=model)
    address = resolve_address(entry.weights)
    if not address.startswith(("http://", "https://")):
        return bundle_from_weights(entry, package_file(address), output, network=name, model=model)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file = Path(folder) / "weights.pth"
        download(address, file, report)
        return bundle_from_weights(entry, file, output, network=name, model=model)


def bundle_from_weights(entry: Pretrained, file: Path, output: Path, *, network: str, model: str) -> Bundle:
    """Make a bundle of the state dict in ``file``, once its hash is that of the entry.

    Raises
    ------
    DataLoss
        It is not.
    """
    check_hash(file, Path(entry.weights).stem.rpartition("-")[2])
    module = entry.build()
    module.load_state_dict(load_state(file))
    return bundle_from_module(entry, module, output, network=network, model=model)


def bundle_from_module(entry: Pretrained, module: nn.Module, output: Path, *, network: str, model: str) -> Bundle:
    """Export ``module``, which is the network of ``entry``.

    Raises
    ------
    DataLoss
        ONNX Runtime does not reproduce torch's layers.
    """
    tapped = WithNamedLayers(module, entry.layers).eval()
    graph = to_onnx(tapped, Network(lambda n: tapped, entry.recipe, is_any_size=False))
    _, inputs = draw_golden_inputs(entry.recipe)
    check_parity(tapped, inputs, run_graph(graph, inputs))
    layer = list(entry.layers)[-1]
    card = _CARD.format(
        name=model,
        network=network,
        licence=entry.licence,
        layer=layer,
        source=resolve_address(entry.weights) or "those of timm",
        px=entry.recipe.crop_px,
        resize=entry.recipe.resize_px,
    )
    contents = BundleContents(network, graph, entry.recipe, imagenet_classes(), card, default_layer=layer)
    return pack_bundle(contents, output, name=model)


def _of_timm(entry: Pretrained) -> nn.Module:
    """Return the network with the weights that timm fetches from its hub."""
    try:
        return entry.build(pretrained=True)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the hub's client has errors of its own
        raise Unavailable(f"timm cannot fetch its weights: {error}") from error


def download(url: str, file: Path, report: Callable[[int, int], object]) -> None:
    """Write what is at ``url`` to ``file``.

    Raises
    ------
    Unavailable
        It cannot be had whole.
    DataLoss
        It has more than 1 GiB.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310  # of our table
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > _MAX_BYTES:
                    raise DataLoss(f"{url} has more than {_MAX_BYTES} bytes: that is no network of the table", name=url)
                out.write(chunk)
                report(done, total)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"{url} cannot be downloaded: {error}; try again", name=url) from error
    if done < total:
        raise Unavailable(f"{url} broke off after {done} of {total} bytes: try again", name=url)


def check_hash(file: Path, head: str) -> None:
    """Compare the SHA-256 of a file with its first digits.

    Raises
    ------
    DataLoss
        It begins otherwise.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(head):
        raise DataLoss(f"the weights have SHA-256 {found[:16]}...: {head}... is expected, so get them again", name=head)


def load_state(file: Path) -> dict[str, Any]:
    """Return a state dict, read without running what a pickle may hold.

    Raises
    ------
    DataLoss
        It is damaged, or holds more than tensors.
    """
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # the unpickler's own errors share no base
        raise DataLoss(
            f"{str(file)!r} holds no state dict of tensors, or is damaged: {error}", name=str(file)
        ) from error
