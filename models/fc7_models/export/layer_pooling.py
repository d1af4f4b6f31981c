"""Add the layer for photographs, ``conv5_pooled``, to a network: conv5 of larger pictures, pooled and whitened.

It takes the maximum of conv5 in each cell of a 3 x 3 grid, which is pool5, once for the picture and once for the
picture at half its size. From both, the mean over training pictures is subtracted, and the directions of largest
variance are scaled to about the same variance. ``bench/pooled_layer_sizes.py`` compares picture sizes and lengths.
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
HALF_SIZE_POOL5 = "pool5/half"  # pool5 of the picture at half its size; a tensor of the graph, not a layer
IMAGE_PX = 128  # height and width of the pictures
DIM_WHOLE, DIM_HALF = 1024, 512  # largest number of dimensions from each size; few pictures give fewer
MAX_IMAGES = 10_000  # pictures to learn from, a fixed random choice
SHRINK = 16.0  # times the mean variance is added to each: weak directions, which a crop changes, then count less


class WithPooledLayer(nn.Module):
    """A network with ``conv5_pooled`` beside its own layers.

    Parameters
    ----------
    network
        A network with a layer pool5.
    whole, half
        Whitening of pool5 of the picture, and of pool5 at half its size.
    recipe
        How pictures are prepared for this layer.
    n_pictures
        Number of pictures that it was learnt from.
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
        """Return the paragraph about the layer for the model card, as Markdown."""
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
    """Return pool5 of pictures (N, 3, H, W), and pool5 of the pictures at half their size, both (N, 9 C)."""
    return network(x)["pool5"].flatten(1), network(half_size(x))["pool5"].flatten(1)


@torch.no_grad()
def add_pooled_layer(module: nn.Module, network: Network, pictures: Sequence[Path], report: Report) -> WithPooledLayer:
    """Learn ``conv5_pooled`` of a network from pictures.

    Parameters
    ----------
    module
        Built by ``network``, in evaluation mode.
    network
        The entry of the table of networks.
    pictures
        Files. At most ``MAX_IMAGES`` are read.
    report
        Called with the number of pictures read and their total.

    Raises
    ------
    InvalidArgument
        The network takes pictures of one size only, or there are fewer than two pictures.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read. The message names it.
    """
    if not network.is_any_size:
        raise InvalidArgument(
            f"layer {POOLED_LAYER!r} needs a network that takes any size, but this one takes "
            f"{network.recipe.crop_px} pixels only. "
            "Leave out --pictures",
            name="pictures",
        )
    if len(pictures) < 2:
        raise InvalidArgument(
            f"layer {POOLED_LAYER!r} is learnt from at least two pictures (got {len(pictures)})", name="pictures"
        )
    recipe = replace(network.recipe, resize_px=IMAGE_PX, crop_px=IMAGE_PX)
    chosen = np.sort(np.random.default_rng(0).permutation(len(pictures))[:MAX_IMAGES])
    batches = read_batches([pictures[i] for i in chosen], recipe, report)
    whole, half = zip(*(pool_both_sizes(module, torch.from_numpy(batch)) for batch in batches), strict=True)
    whitenings = fit_whitening(torch.cat(whole), DIM_WHOLE), fit_whitening(torch.cat(half), DIM_HALF)
    return WithPooledLayer(module, *whitenings, recipe, len(chosen))


class Whitening(nn.Module):
    """A linear map with 8-bit weights and one scale per output, in a quarter of the space of fp32.

    On 3,068 pictures, the smallest cosine between its features and those of fp32 weights was 0.9999.
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
        """Return the whitened ``x`` (N, D) as (N, dim)."""
        return nn.functional.linear(x, self.weight) * self.scale + self.bias


@torch.no_grad()
def fit_whitening(features: Tensor, dim: int, shrink: float = SHRINK) -> Whitening:
    """Return the whitening learnt from ``features`` (N, D).

    Its outputs, min(dim, N - 1, D) of them, are uncorrelated over ``features``. An output of variance v is divided by
    ``sqrt(v + shrink * mean variance)``.

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
