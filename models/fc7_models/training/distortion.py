"""Views as pictures get about: cut, turned, mirrored, saved at another size as JPEG, blurred, sharpened, greyed.

Nearly all of it is a few matrix products for a whole batch. What costs more is done to a share of the pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fc7_models.training.jpeg import compress
from fc7_models.training.resampling import BOX, CUBIC, TRIANGLE, blurs, filters, resample

DRAWS = 20  # random numbers a picture
AREA = (0.08, 1.0)  # share of the picture's area that a crop keeps (Szegedy et al. 2014, section 6)
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop
TURNED, TURN_DEGREES = 0.5, 20.0
SAVED, SAVED_SIZE, QUALITY = 0.5, (0.6, 1.4), (30.0, 95.0)  # as JPEG, at a share of the last size
FILTERED, SIGMA, SHARPNESS = 0.4, (0.3, 1.5), (0.2, 1.5)  # half blurred, sigma in 1/64 of the side; half sharpened
MIRRORED, GREY = 0.5, 0.2
SATURATION, BRIGHTNESS = (0.5, 1.5), (0.6, 1.4)
# Kernel, and whether it widens against aliasing. The first, fc7's own, is as frequent as the others together.
_KERNELS = ((TRIANGLE, 1.0), (CUBIC, 1.0), (BOX, 1.0), (TRIANGLE, 0.0), (BOX, 0.0))


def distort(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Cut, turn, mirror, resample, compress, blur or sharpen, and recolour a batch.

    Parameters
    ----------
    pixels
        uint8 or float32 (N, 3, H, H) in 0..255.
    size_px
        Side of the squares returned.
    draws
        float32 (N, DRAWS), uniform in 0..1; on the CPU, so that no step waits for a GPU to choose pictures.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, size_px, size_px) in 0..255.
    """
    turned, saved, plain = _rows(draws[:, 0], TURNED), _rows(draws[:, 1], SAVED), _rows(1 - draws[:, 1], 1 - SAVED)
    blurred, sharpened = _rows(draws[:, 2], FILTERED / 2), _rows(1 - draws[:, 2], FILTERED / 2)
    column = iter(draws[:, 3:].to(pixels.device).T)

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * next(column)

    x, source_px = pixels.to(torch.float32, memory_format=torch.contiguous_format), pixels.shape[2]
    degrees = uniform(-TURN_DEGREES, TURN_DEGREES)
    _change(x, turned, lambda some, rows: _turn(some, degrees[rows]))

    area, aspect = uniform(*AREA), uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = (1 - width) * uniform(), (1 - height) * uniform()
    is_mirrored = uniform() < MIRRORED
    left, width = torch.where(is_mirrored, left + width, left), torch.where(is_mirrored, -width, width)
    cut = source_px * torch.stack([top, height, left, width])  # (4, N)

    whole, kernel, last_kernel = torch.full_like(area, size_px), uniform(), uniform()
    saved_px, quality = (uniform(*SAVED_SIZE) * size_px).round(), uniform(*QUALITY)
    views = x.new_empty((len(x), 3, size_px, size_px))

    def resized(rows: Tensor, n_out: Tensor, canvas_px: int) -> Tensor:
        source = torch.full_like(n_out, source_px)
        matrices = [
            filters(
                first[rows], length[rows], n_out, *_kernels(kernel[rows]), n_in=source, shape=(canvas_px, source_px)
            )
            for first, length in (cut[:2], cut[2:])
        ]
        return resample(x[rows], *matrices)

    if len(plain):
        views[plain] = resized(plain, whole[plain], size_px)
    if len(saved):
        canvas_px, n_in = 16 * math.ceil(SAVED_SIZE[1] * size_px / 16), saved_px[saved]
        file = compress(resized(saved, n_in, canvas_px).clamp_(0, 255), quality[saved])
        kernels = _kernels(last_kernel[saved])
        back = filters(0 * n_in, n_in, whole[saved], *kernels, n_in=n_in, shape=(size_px, canvas_px))
        views[saved] = resample(file, back, back)

    sigma, amount = uniform(*SIGMA) * size_px / 64, uniform(*SHARPNESS)
    _change(views, blurred, lambda some, rows: _filter(some, sigma[rows], torch.ones_like(sigma[rows])))
    _change(views, sharpened, lambda some, rows: _filter(some, sigma[rows], -amount[rows]))

    keep = torch.where(uniform() < GREY, 0.0, uniform(*SATURATION))
    views = torch.lerp(views.mean(1, keepdim=True), views, keep[:, None, None, None])
    return views.mul_(uniform(*BRIGHTNESS)[:, None, None, None]).clamp_(0, 255)


def _rows(draw: Tensor, share: float) -> Tensor:
    """Return the rows of the pictures that fall into a share: int64, on the CPU."""
    return (draw < share).nonzero()[:, 0]


def _change(x: Tensor, rows: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change some pictures of ``x`` in place."""
    if len(rows):
        rows = rows.to(x.device)
        x[rows] = change(x[rows], rows)


def _turn(x: Tensor, degrees: Tensor) -> Tensor:
    """Turn squares (N, 3, H, H) about their centres; corners are filled with reflections."""
    turn = degrees.deg2rad()
    matrix = x.new_zeros((len(x), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = turn.cos(), -turn.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = turn.sin(), turn.cos()
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _filter(x: Tensor, sigma: Tensor, amount: Tensor) -> Tensor:
    matrix = blurs(sigma, amount, x.shape[2])
    return resample(x, matrix, matrix)


def _kernels(draw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kernel and its reach of each picture; see ``filters``."""
    number = ((2 * draw - 1).clamp(min=0) * (len(_KERNELS) - 1)).ceil().long()  # half of the draws give the first
    kernel, reach = zip(*_KERNELS, strict=True)
    return torch.tensor(kernel, device=draw.device)[number], torch.tensor(reach, device=draw.device)[number]
