"""Random views of a whole batch at once, each a function of its pictures and of uniform random numbers.

The numbers are drawn outside, ``distort.DRAWS`` a picture, so that several processes that share a batch see the
same views as one process that has it all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fc7_models.training.distortion import distort
from fc7_models.training.recipes import Views

AREA = (0.3, 1.0)  # share of the picture's area that a crop keeps
ASPECT = (0.8, 1.25)  # width over height of a crop
TURN_DEGREES = 10.0
BRIGHTNESS = (0.6, 1.4)
SATURATION = (0.5, 1.5)
GREY = 0.15  # share of pictures that lose their colour

Augment = Callable[[Tensor, int, Tensor], Tensor]
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # and the centre, as shares of the room


def affine(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop, turn, mirror and recolour a batch.

    Parameters
    ----------
    pixels
        uint8 or float32 (N, 3, H, W) in 0..255.
    size_px
        Side of the squares returned.
    draws
        float32 (N, DRAWS), uniform in 0..1, on the CPU.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, size_px, size_px) in 0..255.

    References
    ----------
    Szegedy et al. 2014, section 6, for crops of random area and aspect;
    Krizhevsky et al. 2012, section 4.1, for mirroring and colour.
    """
    n, column = len(pixels), iter(draws.to(pixels.device).T)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * next(column)

    area, aspect = uniform(*AREA), uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    turn = uniform(-TURN_DEGREES, TURN_DEGREES).deg2rad()
    mirror = (uniform(0, 1) < 0.5) * 2.0 - 1
    matrix = pixels.new_zeros((n, 2, 3), dtype=torch.float32)  # output square -> input, both in -1..1
    matrix[:, 0, 0], matrix[:, 0, 1] = width * turn.cos() * mirror, -height * turn.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = width * turn.sin() * mirror, height * turn.cos()
    matrix[:, 0, 2] = (1 - width) * uniform(-1, 1)
    matrix[:, 1, 2] = (1 - height) * uniform(-1, 1)
    grid = functional.affine_grid(matrix, [n, 3, size_px, size_px], align_corners=False)
    x = functional.grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)

    grey = x.mean(1, keepdim=True)
    keep = uniform(*SATURATION) * (uniform(0, 1) >= GREY)
    x = torch.lerp(grey, x, keep[:, None, None, None])
    return (x * uniform(*BRIGHTNESS)[:, None, None, None]).clamp(0, 255)


def crops(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Cut a square at a random place of each picture and mirror half of them (2012, section 4.1)."""
    return _cut(pixels, size_px, draws[:, 0], draws[:, 1], draws[:, 2] < 0.5)


def ten_crops(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Cut a corner or the centre of each picture and mirror half of them (2013, section 3)."""
    places = torch.tensor(_CORNERS)[(draws[:, 0] * len(_CORNERS)).long()]  # (N, 2)
    return _cut(pixels, size_px, places[:, 0], places[:, 1], draws[:, 2] < 0.5)


def whole(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Cut the centre of each picture: no augmentation."""
    middle = torch.full_like(draws[:, 0], 0.5)
    return _cut(pixels, size_px, middle, middle, middle > 1)


AUGMENTATIONS: dict[Views, Augment] = {
    "affine": affine,
    "distorted": distort,
    "crops": crops,
    "ten crops": ten_crops,
    "whole": whole,
}


def principal_colours(pixels: NDArray[np.uint8]) -> Tensor:
    """Return the eigenvectors of the pixels' RGB covariance, each times its eigenvalue.

    The formula of 2012 depends on the scale of the pixels, which the paper does not print. Here, as in most
    of what followed it, eigenvalues are those of pixels in 0..1; the shifts are returned in 0..255.

    Parameters
    ----------
    pixels
        uint8 (..., 3).

    Returns
    -------
    torch.Tensor
        float32 (3, 3), a direction a row.

    References
    ----------
    Krizhevsky et al. 2012, section 4.1.
    """
    values = torch.from_numpy(pixels).reshape(-1, 3).double() / 255
    strength, directions = torch.linalg.eigh(torch.cov(values.T))
    return (255 * strength[:, None] * directions.T).float()


def shift_colours(x: Tensor, colours: Tensor, deviation: float, draws: Tensor) -> Tensor:
    """Add to each picture of ``x`` (N, 3, H, W) a normal multiple of each principal colour; the last three draws."""
    amounts = deviation * torch.special.ndtri(draws[:, -3:].clamp(1e-6, 1 - 1e-6)).to(x.device)
    return x + (amounts @ colours)[:, :, None, None]


def _cut(pixels: Tensor, size_px: int, down: Tensor, right: Tensor, mirror: Tensor) -> Tensor:
    room = torch.tensor([pixels.shape[2] - size_px, pixels.shape[3] - size_px]) + 1
    corners = torch.stack([down, right], 1) * room  # a share of one would be beyond the last place
    places = corners.long().minimum(room - 1).tolist()
    rows = [p[:, top : top + size_px, left : left + size_px] for p, (top, left) in zip(pixels, places, strict=True)]
    x = torch.stack(rows).float()
    return torch.where(mirror.to(x.device)[:, None, None, None], x.flip(3), x)
