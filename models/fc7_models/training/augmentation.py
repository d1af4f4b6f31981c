"""Augmentation: random views of a whole batch, computed from its pictures and from uniform random numbers.

The caller draws the numbers, ``N_DRAWS`` per picture. So several processes that share a batch see the same views as
one process that has the whole batch.
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
ROTATION_DEGREES = 10.0
BRIGHTNESS = (0.6, 1.4)
SATURATION = (0.5, 1.5)
GREY = 0.15  # share of pictures that lose their colour

Augment = Callable[[Tensor, int, Tensor], Tensor]
# The four corners and the centre, as shares of the room that a crop has to move.
_TEN_CROPS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def random_affine(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop, rotate, mirror and recolour a batch.

    Parameters
    ----------
    pixels
        uint8 or float32 (N, 3, H, W) in 0..255.
    size_px
        Side of the returned squares.
    draws
        float32 (N, N_DRAWS), uniform in 0..1, on the CPU.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, size_px, size_px) in 0..255.

    References
    ----------
    Szegedy et al. 2014, section 6: crops of random area and aspect.
    Krizhevsky et al. 2012, section 4.1: mirroring and colour.
    """
    n, columns = len(pixels), iter(draws.to(pixels.device).T)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * next(columns)

    area, aspect = uniform(*AREA), uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    angle = uniform(-ROTATION_DEGREES, ROTATION_DEGREES).deg2rad()
    mirror = (uniform(0, 1) < 0.5) * 2.0 - 1
    matrix = pixels.new_zeros((n, 2, 3), dtype=torch.float32)  # from the output square to the input, both in -1..1
    matrix[:, 0, 0], matrix[:, 0, 1] = width * angle.cos() * mirror, -height * angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = width * angle.sin() * mirror, height * angle.cos()
    matrix[:, 0, 2] = (1 - width) * uniform(-1, 1)
    matrix[:, 1, 2] = (1 - height) * uniform(-1, 1)
    grid = functional.affine_grid(matrix, [n, 3, size_px, size_px], align_corners=False)
    x = functional.grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)

    grey = x.mean(1, keepdim=True)
    saturation = uniform(*SATURATION) * (uniform(0, 1) >= GREY)
    x = torch.lerp(grey, x, saturation[:, None, None, None])
    return (x * uniform(*BRIGHTNESS)[:, None, None, None]).clamp(0, 255)


def random_crops(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop a square at a random place of each picture and mirror half of them (Krizhevsky 2012, section 4.1)."""
    return _crop(pixels, size_px, draws[:, 0], draws[:, 1], draws[:, 2] < 0.5)


def ten_crops(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop a corner or the centre of each picture and mirror half of them (Zeiler & Fergus 2013, section 3)."""
    places = torch.tensor(_TEN_CROPS)[(draws[:, 0] * len(_TEN_CROPS)).long()]  # (N, 2)
    return _crop(pixels, size_px, places[:, 0], places[:, 1], draws[:, 2] < 0.5)


def centre_crop(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop the centre of each picture: no augmentation."""
    middle = torch.full_like(draws[:, 0], 0.5)
    return _crop(pixels, size_px, middle, middle, middle > 1)


AUGMENTATIONS: dict[Views, Augment] = {
    "affine": random_affine,
    "distorted": distort,
    "crops": random_crops,
    "ten crops": ten_crops,
    "whole": centre_crop,
}


def principal_colours(pixels: NDArray[np.uint8]) -> Tensor:
    """Return the eigenvectors of the pixels' RGB covariance, each multiplied by its eigenvalue.

    The paper's formula depends on the scale of the pixels, which it does not state. Here, as in most later work, the
    eigenvalues are those of pixels in 0..1; the returned shifts are for pixels in 0..255.

    Parameters
    ----------
    pixels
        uint8 (..., 3).

    Returns
    -------
    torch.Tensor
        float32 (3, 3), one direction per row.

    References
    ----------
    Krizhevsky et al. 2012, section 4.1.
    """
    values = torch.from_numpy(pixels).reshape(-1, 3).double() / 255
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(values.T))
    return (255 * eigenvalues[:, None] * eigenvectors.T).float()


def shift_colours(x: Tensor, colours: Tensor, deviation: float, draws: Tensor) -> Tensor:
    """Add a normally distributed multiple of each principal colour to each picture.

    Parameters
    ----------
    x
        float32 (N, 3, H, W) in 0..255.
    colours
        See ``principal_colours``.
    deviation
        Standard deviation of the multiples; the paper has 0.1.
    draws
        float32 (N, N_DRAWS), uniform in 0..1, of which the last three columns are used.

    References
    ----------
    Krizhevsky et al. 2012, section 4.1.
    """
    amounts = deviation * torch.special.ndtri(draws[:, -3:].clamp(1e-6, 1 - 1e-6)).to(x.device)
    return x + (amounts @ colours)[:, :, None, None]


def _crop(pixels: Tensor, size_px: int, down: Tensor, right: Tensor, mirror: Tensor) -> Tensor:
    """Crop at a share ``down`` and ``right`` (N,) of the room, and mirror where ``mirror`` (N,) is true."""
    room = torch.tensor([pixels.shape[2] - size_px, pixels.shape[3] - size_px]) + 1
    corners = torch.stack([down, right], 1) * room
    places = corners.long().minimum(room - 1).tolist()  # a share of exactly 1 would lie beyond the last place
    rows = [p[:, top : top + size_px, left : left + size_px] for p, (top, left) in zip(pixels, places, strict=True)]
    x = torch.stack(rows).float()
    return torch.where(mirror.to(x.device)[:, None, None, None], x.flip(3), x)
