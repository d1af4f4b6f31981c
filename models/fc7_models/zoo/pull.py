"""Download a network that others trained, and make a bundle from it."""

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
from fc7_models.export.golden_images import draw_golden_inputs
from fc7_models.export.pack_bundle import BundleContents, check_output, pack_bundle, run_graph
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
_TIMEOUT_S = 60  # of silence
_CARD = """\
---
license: {licence}
pipeline_tag: image-feature-extraction
---
# {name}

Network `{network}` with weights for ImageNet (ILSVRC-2012, 1.28 million pictures of 1,000 classes), trained by others
and exported by fc7. The default layer is `{layer}`.

| | |
|---|---|
| Weights | {source} |
| Licence | {licence} |
| Picture size | {px} pixels, cut from the centre after resizing to {resize} |
| Resizing | bilinear with antialiasing, as everywhere in fc7; the authors may have used another filter |

## Intended use

Features of everyday photographs for similarity search and for softmax heads on new labels.
Not for identifying people, and not for decisions about them. The training pictures were collected from the web around
2010 and carry the biases of that selection. The golden pictures of this bundle are drawn by a program.
"""


def pull(name: str, output: Path, *, model: str, report: Callable[[int, int], object]) -> Bundle:
    """Make the bundle of a network in the table, with its published weights.

    Parameters
    ----------
    name
        A network of ``pretrained_networks.ZOO``.
    output
        Folder of the bundle; must not exist.
    model
        Name of the bundle.
    report
        Called during the download with the bytes received and their total.

    Raises
    ------
    NotFound
        The table has no such network.
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``model`` is not a valid name.
    Unavailable
        The weights cannot be downloaded.
    DataLoss
        The SHA-256 of the weights is not the one in the table.
    ModuleNotFoundError
        A package of the extra "zoo" is missing.
    """
    entry = find_pretrained(name)
    check_output(output, model)
    if not entry.weights:
        return bundle_from_module(entry, _build_with_timm_weights(entry), output, network=name, model=model)
    address = resolve_address(entry.weights)
    if not address.startswith(("http://", "https://")):
        return bundle_from_weights(entry, package_file(address), output, network=name, model=model)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file = Path(folder) / "weights.pth"
        download(address, file, report)
        return bundle_from_weights(entry, file, output, network=name, model=model)


def bundle_from_weights(entry: Pretrained, file: Path, output: Path, *, network: str, model: str) -> Bundle:
    """Make a bundle from the state dict in ``file``, after checking its SHA-256.

    Raises
    ------
    DataLoss
        The file is not the one that ``entry`` names.
    """
    check_hash(file, Path(entry.weights).stem.rpartition("-")[2])
    module = entry.build()
    module.load_state_dict(load_state(file))
    return bundle_from_module(entry, module, output, network=network, model=model)


def bundle_from_module(entry: Pretrained, module: nn.Module, output: Path, *, network: str, model: str) -> Bundle:
    """Make a bundle from the network of ``entry``, with weights.

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
        source=resolve_address(entry.weights) or "from timm",
        px=entry.recipe.crop_px,
        resize=entry.recipe.resize_px,
    )
    contents = BundleContents(network, graph, entry.recipe, imagenet_classes(), card, default_layer=layer)
    return pack_bundle(contents, output, name=model)


def _build_with_timm_weights(entry: Pretrained) -> nn.Module:
    """Return the network with the weights that timm downloads from its hub."""
    try:
        return entry.build(pretrained=True)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the hub's client has its own error classes
        raise Unavailable(f"timm cannot download its weights: {error}. Try again") from error


def download(url: str, file: Path, report: Callable[[int, int], object]) -> None:
    """Download ``url`` to ``file``.

    Raises
    ------
    Unavailable
        The download failed or ended early.
    DataLoss
        The file has more than 1 GiB.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310  # an address from our table
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > _MAX_BYTES:
                    raise DataLoss(
                        f"{url} has more than {_MAX_BYTES} bytes, which no network in the table has", name=url
                    )
                out.write(chunk)
                report(done, total)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"{url} cannot be downloaded: {error}. Try again", name=url) from error
    if done < total:
        raise Unavailable(f"the download of {url} broke off after {done} of {total} bytes. Try again", name=url)


def check_hash(file: Path, head: str) -> None:
    """Check that the SHA-256 of a file begins with ``head``.

    Raises
    ------
    DataLoss
        It does not.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(head):
        raise DataLoss(
            f"the SHA-256 of the weights should begin with {head} (got {found[:16]}...). Download them again", name=head
        )


def load_state(file: Path) -> dict[str, Any]:
    """Return a state dict. Code that a pickle may hold is not run.

    Raises
    ------
    DataLoss
        The file is damaged, or holds anything but tensors.
    """
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # the unpickler's own errors share no base
        raise DataLoss(f"{str(file)!r} is damaged or not a state dict of tensors: {error}", name=str(file)) from error
