"""Pooled conv5 of larger pictures, whitened: the layer for photographs.

The maximum of conv5 in each cell of a 3 x 3 grid (which is pool5), of the picture and of the same at half its size. Of
each the mean over training pictures is taken away, and the directions in which it varies most are brought to one
variance. ``bench/pooled_layer_sizes.py`` compares picture sizes and lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fc7.errors import InvalidArgument
from fc7_models.data.inference import Report, read_batches
from fc7_models.networks import Network
from fc7_service.bundle.bundle import Layer
from fc7_service.bundle.recipe import Recipe

POOLED_LAYER = "conv5_pooled"
HALF_SIZE_POOL5 = "pool5/half"  # pool5 of the picture at half its size: a tensor of the graph that is no layer
IMAGE_PX = 128  # side of the pictures
DIM_WHOLE, DIM_HALF = 1024, 512  # numbers of each size, at most; fewer of few pictures
MAX_IMAGES = 10_000  # to learn from, a fixed random choice
SHRINK = 16.0  # of the mean variance, added to each: weak directions, which a crop or a turn changes, weigh less


class WithPooledLayer(nn.Module):
    """A network with the layer beside its own.

    Parameters
    ----------
    network
        Gives pool5.
    whole, half
        Whitening of pool5 at the two sizes.
    recipe
        Of the pictures that the layer sees.
    n_pictures
        So many it was learnt from.
    """

    def __init__(self, network: nn.Module, whole: Whitening, half: Whitening, recipe: Recipe, n_pictures: int) -> None:
        super().__init__()
        self.network, self.of_whole, self.of_half = network, whole, half
        self.n_pictures = n_pictures
        dim = len(whole.scale) + len(half.scale)
        self.layer = Layer(
            POOLED_LAYER, (dim,), f"max3x3-at-{IMAGE_PX}-and-{IMAGE_PX // 2}-px,pca-whitened-{dim}", recipe
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the network's layers of ``x`` (N, 3, H, W), with two more before the logits: the last is (N, D)."""
        layers: dict[str, Tensor] = self.network(x)
        logits, half = layers.pop("logits"), self.network(half_size(x))["pool5"]
        pooled = torch.cat([self.of_whole(layers["pool5"].flatten(1)), self.of_half(half.flatten(1))], 1)
        return layers | {HALF_SIZE_POOL5: half, POOLED_LAYER: pooled, "logits": logits}

    def paragraph(self) -> str:
        """Return what a card says of the layer, Markdown."""
        return f"""
## {POOLED_LAYER}

The layer for photographs. It holds the maximum of conv5 in each cell of a 3 x 3 grid, once for the picture at
{IMAGE_PX} pixels and once at {IMAGE_PX // 2}. Each of the two is whitened by the principal components of
{self.n_pictures:,} training pictures. Together they have {self.layer.dim} dimensions.
"""


def half_size(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) at half their size."""
    return nn.functional.avg_pool2d(x, 2)


def pool_both_sizes(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return pool5 of pictures (N, 3, H, W), and of the same at half their size: (N, 9 C) both."""
    return network(x)["pool5"].flatten(1), network(half_size(x))["pool5"].flatten(1)


@torch.no_grad()
def add_pooled_layer(module: nn.Module, network: Network, pictures: Sequence[Path], report: Report) -> WithPooledLayer:
    """Learn the layer of a network from pictures.

    Parameters
    ----------
    module
        What ``network`` built, for inference.
    network
        Its entry of the table.
    pictures
        Files, of which ``MAX_IMAGES`` at most are read.
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
            f"the network takes pictures of {network.recipe.crop_px} pixels alone, so it has no {POOLED_LAYER}: "
            "export it without pictures",
            name="pictures",
        )
    if len(pictures) < 2:
        raise InvalidArgument(f"{len(pictures)} pictures: {POOLED_LAYER} is learnt from two at least", name="pictures")
    recipe = replace(network.recipe, resize_px=IMAGE_PX, crop_px=IMAGE_PX)
    chosen = np.sort(np.random.default_rng(0).permutation(len(pictures))[:MAX_IMAGES])
    batches = read_batches([pictures[i] for i in chosen], recipe, report)
    whole, half = zip(*(pool_both_sizes(module, torch.from_numpy(batch)) for batch in batches), strict=True)
    whitenings = fit_whitening(torch.cat(whole), DIM_WHOLE), fit_whitening(torch.cat(half), DIM_HALF)
    return WithPooledLayer(module, *whitenings, recipe, len(chosen))


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
def fit_whitening(features: Tensor, dim: int, shrink: float = SHRINK) -> Whitening:
    """Return the map of ``features`` (N, D) to min(dim, N - 1, D) uncorrelated numbers of about one variance.

    References
    ----------
    Jegou & Chum 2012, "Negative evidences and co-occurrences in image retrieval"; Babenko & Lempitsky 2015, section 4.
    """
    mean = features.mean(0)
    _, sizes, directions = torch.linalg.svd(features - mean, full_matrices=False)
    variances = sizes**2 / (len(features) - 1)
    shrunk = (variances + shrink * variances.sum() / features.shape[1]).clamp_min(1e-12)
    n = min(dim, len(features) - 1, features.shape[1])
    return Whitening(directions[:n] / shrunk[:n, None].sqrt(), mean)
