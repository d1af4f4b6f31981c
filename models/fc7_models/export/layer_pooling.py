"""Add two layers that pool conv5 of larger pictures: ``conv5_pooled`` to tell classes apart, ``conv5_gem`` for views.

Both look at the picture and at the picture at half its size. ``conv5_pooled`` takes the maximum of conv5 in each cell
of a 3 x 3 grid, which is pool5. ``conv5_gem`` takes the generalised mean of each map, whatever its place, and so
changes less when a picture is cut, turned or mirrored. From both, the mean over training pictures is subtracted, and
the directions of largest variance are scaled to about the same variance. ``bench/pooling.py`` compares poolings,
``bench/pooled_layer_sizes.py`` picture sizes and lengths.
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

POOLED_LAYER, GEM_LAYER = "conv5_pooled", "conv5_gem"
HALF_SIZE_POOL5 = "pool5/half"  # pool5 of the picture at half its size; a tensor of the graph, not a layer
IMAGE_PX = 128  # height and width of the pictures
DIM_WHOLE, DIM_HALF = 1024, 512  # most dimensions of conv5_pooled from each size; few pictures give fewer
DIM_GEM = 512  # most dimensions of conv5_gem, of both sizes together
GEM_POWER = 3.0  # that of the loss in training; bench/pooling.py compares it with others
GEM_MIN = 1e-6  # least value of a map, so that the root has a slope at zero
MAX_IMAGES = 10_000  # pictures to learn from, a fixed random choice
SHRINK = 16.0  # times the mean variance is added to each: weak directions, which a crop changes, then count less
RECOMMENDED = {"views": GEM_LAYER, "classes": POOLED_LAYER}  # task -> layer

Layers = dict[str, Tensor]


class WithPooledLayers(nn.Module):
    """A network with ``conv5_pooled`` and ``conv5_gem`` beside its own layers.

    Parameters
    ----------
    network
        A network with layers conv5 and pool5.
    whole, half
        Whitening of pool5 of the picture, and of pool5 at half its size.
    gem
        Whitening of the generalised means of both sizes.
    recipe
        How pictures are prepared for these layers.
    n_pictures
        Number of pictures that they were learnt from.
    """

    def __init__(
        self, network: nn.Module, whole: Whitening, half: Whitening, gem: Whitening, recipe: Recipe, n_pictures: int
    ) -> None:
        super().__init__()
        self.network, self.of_whole, self.of_half, self.of_gem = network, whole, half, gem
        self.n_pictures = n_pictures
        dim, gem_dim = len(whole.scale) + len(half.scale), len(gem.scale)
        sizes = f"{IMAGE_PX}-and-{IMAGE_PX // 2}-px"
        self.layers = (
            Layer(POOLED_LAYER, (dim,), f"max3x3-at-{sizes},pca-whitened-{dim}", recipe),
            Layer(GEM_LAYER, (gem_dim,), f"gem{GEM_POWER:g}-at-{sizes},l2-each,pca-whitened-{gem_dim}", recipe),
        )

    def forward(self, x: Tensor) -> Layers:
        """Return the network's layers of ``x`` (N, 3, H, W), with three more before the logits, the last two (N, D)."""
        layers, half = run_both_sizes(self.network, x)
        cells, half_cells = pool_cells(layers, half)
        pooled = torch.cat([self.of_whole(cells), self.of_half(half_cells)], 1)
        gem = self.of_gem(pool_gem(layers, half))
        logits = layers.pop("logits")
        return layers | {HALF_SIZE_POOL5: half["pool5"], POOLED_LAYER: pooled, GEM_LAYER: gem, "logits": logits}

    def paragraphs(self) -> str:
        """Return the paragraphs about both layers for the model card, as Markdown."""
        pooled, gem = self.layers
        return f"""
## {POOLED_LAYER}

The layer to tell classes of photographs apart. It holds the maximum of conv5 in each cell of a 3 x 3 grid, once for the
picture at {IMAGE_PX} pixels and once at {IMAGE_PX // 2}. Each of the two is whitened by the principal components of
{self.n_pictures:,} training pictures. Together they have {pooled.dim} dimensions.

## {GEM_LAYER}

The layer to find the same picture again after it was cut, turned, mirrored or recompressed. It holds the generalised
mean (power {GEM_POWER:g}) of each map of conv5, once for the picture at {IMAGE_PX} pixels and once at {IMAGE_PX // 2}.
Each of the two is scaled to length one. Both together are whitened by the principal components of the same pictures,
to {gem.dim} dimensions. This layer is not a sum over positions of the picture.
"""


def half_size(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) at half their size."""
    return nn.functional.avg_pool2d(x, 2)


def run_both_sizes(network: nn.Module, x: Tensor) -> tuple[Layers, Layers]:
    """Return the layers of pictures (N, 3, H, W), and those of the pictures at half their size."""
    return network(x), network(half_size(x))


def pool_cells(whole: Layers, half: Layers) -> tuple[Tensor, Tensor]:
    """Return pool5, the maximum of conv5 in each cell, of both sizes: (N, 9 C) each."""
    return whole["pool5"].flatten(1), half["pool5"].flatten(1)


def pool_gem(whole: Layers, half: Layers) -> Tensor:
    """Return the generalised mean of each map of conv5, scaled to length one for each size: (N, 2 C).

    References
    ----------
    Radenovic, Tolias & Chum 2018, "Fine-tuning CNN image retrieval with no human annotation", equation 3.
    """
    return torch.cat([nn.functional.normalize(generalised_mean(one["conv5"])) for one in (whole, half)], 1)


def generalised_mean(maps: Tensor) -> Tensor:
    """Return the root of order ``GEM_POWER`` of the mean of that power of each map: (N, C, H, W) to (N, C)."""
    return maps.clamp(min=GEM_MIN).pow(GEM_POWER).mean((2, 3)).pow(1 / GEM_POWER)


@torch.no_grad()
def add_pooled_layers(
    module: nn.Module, network: Network, pictures: Sequence[Path], report: Report
) -> WithPooledLayers:
    """Learn ``conv5_pooled`` and ``conv5_gem`` of a network from pictures.

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
    rows = []
    for batch in read_batches([pictures[i] for i in chosen], recipe, report):
        both = run_both_sizes(module, torch.from_numpy(batch))
        rows.append((*pool_cells(*both), pool_gem(*both)))
    whole, half, gem = (torch.cat(part) for part in zip(*rows, strict=True))
    whitenings = fit_whitening(whole, DIM_WHOLE), fit_whitening(half, DIM_HALF), fit_whitening(gem, DIM_GEM)
    return WithPooledLayers(module, *whitenings, recipe, len(chosen))


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
