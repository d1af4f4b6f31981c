"""Augmentation of a whole batch at once: one affine resampling, then colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

AREA = (0.3, 1.0)  # share of the picture's area that a crop keeps
ASPECT = (0.8, 1.25)  # width over height of a crop
TURN_DEGREES = 10.0
BRIGHTNESS = (0.6, 1.4)
SATURATION = (0.5, 1.5)
GREY = 0.15  # share of pictures that lose their colour


def augment(pixels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    """Crop, turn, mirror and recolour a batch.

    Parameters
    ----------
    pixels
        float32 (N, 3, H, W) in 0..255.
    size_px
        Side of the squares returned.
    generator
        Source of all randomness.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, size_px, size_px) in 0..255.

    References
    ----------
    Szegedy et al. 2014, section 6, for crops of random area and aspect;
    Krizhevsky et al. 2012, section 4.1, for mirroring and colour.
    """
    n = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    area, aspect = uniform(*AREA), uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    turn = uniform(-TURN_DEGREES, TURN_DEGREES).deg2rad()
    mirror = (uniform(0, 1) < 0.5) * 2.0 - 1
    matrix = torch.zeros(n, 2, 3)  # output square -> input, both in -1..1
    matrix[:, 0, 0], matrix[:, 0, 1] = width * turn.cos() * mirror, -height * turn.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = width * turn.sin() * mirror, height * turn.cos()
    matrix[:, 0, 2] = (1 - width) * uniform(-1, 1)
    matrix[:, 1, 2] = (1 - height) * uniform(-1, 1)
    grid = functional.affine_grid(matrix, [n, 3, size_px, size_px], align_corners=False)
    x = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)

    grey = x.mean(1, keepdim=True)
    keep = uniform(*SATURATION) * (uniform(0, 1) >= GREY)
    x = grey + (x - grey) * keep[:, None, None, None]
    return (x * uniform(*BRIGHTNESS)[:, None, None, None]).clamp(0, 255)
