"""Pooled conv5 of larger pictures, whitened: the layer for photographs.

The maximum of conv5 in each cell of a 3 x 3 grid (which is pool5) beside its mean over the whole map. Of these numbers
the mean over training pictures is taken away, and the directions in which they vary most are brought to one variance.
``bench/pooling.py`` compares picture sizes, grids and lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fc7.errors import InvalidArgument
from fc7_models.forward import Report, read_batches
from fc7_models.networks import Network
from fc7_service.bundle.bundle import Layer
from fc7_service.bundle.recipe import Recipe

NAME = "conv5_pooled"
PX = 96  # side of the pictures
DIM = 1024  # at most, fewer of few pictures; 512 are a point of accuracy worse
PICTURES = 10_000  # to learn from, a fixed random choice
SHRINK = 4.0  # of the mean variance, added to each: weak directions, which a crop or a turn changes, weigh less


class Pooled(nn.Module):
    """A network with the layer beside its own.

    Parameters
    ----------
    network
        Gives pool5 and conv5.
    whitening
        Of what ``pool`` returns.
    recipe
        Of the pictures that the layer sees.
    n_pictures
        So many it was learnt from.
    """

    def __init__(self, network: nn.Module, whitening: Whitening, recipe: Recipe, n_pictures: int) -> None:
        super().__init__()
        self.network = network
        self.whitening = whitening
        self.n_pictures = n_pictures
        dim = len(whitening.scale)
        self.layer = Layer(NAME, (dim,), f"max3x3+mean,pca-whitened-{dim}", recipe)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the network's layers of ``x`` (N, 3, H, W), and this one (N, D) before the logits."""
        layers: dict[str, Tensor] = self.network(x)
        logits = layers.pop("logits")
        return layers | {NAME: self.whitening(pool(layers)), "logits": logits}

    def paragraph(self) -> str:
        """Return what a card says of the layer, Markdown."""
        return f"""
## {NAME}

The layer for photographs: pictures at {PX} pixels, the maximum of conv5 in 3 x 3 cells beside its mean, whitened to
{self.layer.dim} numbers by the principal components of {self.n_pictures:,} training pictures.
"""


def pool(layers: dict[str, Tensor]) -> Tensor:
    """Return pool5 (N, C, 3, 3) beside the mean of conv5 (N, C, H, W): (N, 10 C)."""
    return torch.cat([layers["pool5"].flatten(1), layers["conv5"].mean((2, 3))], 1)


@torch.no_grad()
def add_pooled(module: nn.Module, network: Network, pictures: Sequence[Path], report: Report) -> Pooled:
    """Learn the layer of a network from pictures.

    Parameters
    ----------
    module
        What ``network`` built, for inference.
    network
        Its entry of the table.
    pictures
        Files, of which ``PICTURES`` at most are read.
    report
        Called with pictures read, and their number.

    Raises
    ------
    InvalidArgument
        The network takes pictures of one size alone, or there are fewer than two pictures.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    if not network.is_any_size:
        raise InvalidArgument(
            f"the network takes pictures of {network.recipe.crop_px} pixels alone, so it has no {NAME}: "
            "export it without pictures",
            name="pictures",
        )
    if len(pictures) < 2:
        raise InvalidArgument(f"{len(pictures)} pictures: {NAME} is learnt from two at least", name="pictures")
    recipe = replace(network.recipe, resize_px=PX, crop_px=PX)
    chosen = np.sort(np.random.default_rng(0).permutation(len(pictures))[:PICTURES])
    batches = read_batches([pictures[i] for i in chosen], recipe, report)
    features = torch.cat([pool(module(torch.from_numpy(batch))) for batch in batches])
    return Pooled(module, whiten(features), recipe, len(chosen))


class Whitening(nn.Module):
    """A linear map with weights of 8 bits and a scale for each number it gives: a quarter of the space of fp32.

    Against fp32 the least cosine of 3,068 pictures was 0.9999.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, mean: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(1).clamp_min(1e-12) / 127
        weight = (weight / scale[:, None]).round()
        self.register_buffer("weight", weight)  # (dim, D) whole numbers from -127 to 127
        self.register_buffer("scale", scale)
        self.register_buffer("bias", -scale * (weight @ mean))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, D), less the mean, in (N, dim)."""
        return nn.functional.linear(x, self.weight) * self.scale + self.bias


@torch.no_grad()
def whiten(features: Tensor, dim: int = DIM) -> Whitening:
    """Return the map of ``features`` (N, D) to min(dim, N - 1, D) uncorrelated numbers of about one variance.

    References
    ----------
    Jegou & Chum 2012, "Negative evidences and co-occurrences in image retrieval"; Babenko & Lempitsky 2015, section 4.
    """
    mean = features.mean(0)
    _, sizes, directions = torch.linalg.svd(features - mean, full_matrices=False)
    variances = sizes**2 / (len(features) - 1)
    shrunk = (variances + SHRINK * variances.sum() / features.shape[1]).clamp_min(1e-12)
    n = min(dim, len(features) - 1, features.shape[1])
    return Whitening(directions[:n] / shrunk[:n, None].sqrt(), mean)
