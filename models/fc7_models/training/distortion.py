"""Views altered as copies of pictures usually are: cropped, rotated, resized, compressed, blurred, recoloured.

Nearly all of it is a few matrix products for a whole batch. Costlier alterations are applied to a share of the
pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fc7_models.training.jpeg import jpeg_round_trip
from fc7_models.training.resampling import BOX, CUBIC, TRIANGLE, blur_matrices, resample, resampling_matrices

N_DRAWS = 20  # random numbers per picture
AREA = (0.08, 1.0)  # share of the picture's area that a crop keeps (Szegedy et al. 2014, section 6)
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop
ROTATED, ROTATION_DEGREES = 0.5, 20.0
COMPRESSED, COMPRESSED_SIZE, QUALITY = 0.5, (0.6, 1.4), (30.0, 95.0)  # as JPEG; its size over the final size
FILTERED, SIGMA, SHARPNESS = 0.4, (0.3, 1.5), (0.2, 1.5)  # half blurred, half sharpened; sigma in 1/64 of the side
MIRRORED, GREY = 0.5, 0.2
SATURATION, BRIGHTNESS = (0.5, 1.5), (0.6, 1.4)
# (kernel, antialias) of resampling. The first is that of fc7's own preprocessing, as frequent as all others together.
_KERNELS = ((TRIANGLE, 1.0), (CUBIC, 1.0), (BOX, 1.0), (TRIANGLE, 0.0), (BOX, 0.0))


def distort(pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
    """Crop, rotate, mirror, resample, compress, blur or sharpen, and recolour a batch.

    Parameters
    ----------
    pixels
        uint8 or float32 (N, 3, H, H) in 0..255.
    size_px
        Side of the returned squares.
    draws
        float32 (N, N_DRAWS), uniform in 0..1; on the CPU, so that no step waits for a GPU to choose pictures.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, size_px, size_px) in 0..255.
    """
    rotated = _rows(draws[:, 0], ROTATED)
    compressed, plain = _rows(draws[:, 1], COMPRESSED), _rows(1 - draws[:, 1], 1 - COMPRESSED)
    blurred, sharpened = _rows(draws[:, 2], FILTERED / 2), _rows(1 - draws[:, 2], FILTERED / 2)
    columns = iter(draws[:, 3:].to(pixels.device).T)

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * next(columns)

    x, source_px = pixels.to(torch.float32, memory_format=torch.contiguous_format), pixels.shape[2]
    degrees = uniform(-ROTATION_DEGREES, ROTATION_DEGREES)
    _change(x, rotated, lambda some, rows: _rotate(some, degrees[rows]))

    area, aspect = uniform(*AREA), uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = (1 - width) * uniform(), (1 - height) * uniform()
    is_mirrored = uniform() < MIRRORED
    left, width = torch.where(is_mirrored, left + width, left), torch.where(is_mirrored, -width, width)
    crop = source_px * torch.stack([top, height, left, width])  # (4, N)

    final_px, kernel, last_kernel = torch.full_like(area, size_px), uniform(), uniform()
    compressed_px, quality = (uniform(*COMPRESSED_SIZE) * size_px).round(), uniform(*QUALITY)
    views = x.new_empty((len(x), 3, size_px, size_px))

    def resize(rows: Tensor, n_out: Tensor, canvas_px: int) -> Tensor:
        """Return the crops of some pictures, each ``n_out`` pixels wide, on canvases of one size."""
        n_in, shape = torch.full_like(n_out, source_px), (canvas_px, source_px)
        matrices = [
            resampling_matrices(first[rows], length[rows], n_out, *_kernels(kernel[rows]), n_in=n_in, shape=shape)
            for first, length in (crop[:2], crop[2:])
        ]
        return resample(x[rows], *matrices)

    if len(plain):
        views[plain] = resize(plain, final_px[plain], size_px)
    if len(compressed):
        canvas_px, n_in = 16 * math.ceil(COMPRESSED_SIZE[1] * size_px / 16), compressed_px[compressed]
        decoded = jpeg_round_trip(resize(compressed, n_in, canvas_px).clamp_(0, 255), quality[compressed])
        kernels, shape = _kernels(last_kernel[compressed]), (size_px, canvas_px)
        matrix = resampling_matrices(0 * n_in, n_in, final_px[compressed], *kernels, n_in=n_in, shape=shape)
        views[compressed] = resample(decoded, matrix, matrix)

    sigma, amount = uniform(*SIGMA) * size_px / 64, uniform(*SHARPNESS)
    _change(views, blurred, lambda some, rows: _filter(some, sigma[rows], torch.ones_like(sigma[rows])))
    _change(views, sharpened, lambda some, rows: _filter(some, sigma[rows], -amount[rows]))

    saturation = torch.where(uniform() < GREY, 0.0, uniform(*SATURATION))
    views = torch.lerp(views.mean(1, keepdim=True), views, saturation[:, None, None, None])
    return views.mul_(uniform(*BRIGHTNESS)[:, None, None, None]).clamp_(0, 255)


def _rows(draw: Tensor, share: float) -> Tensor:
    """Return the rows of a share of the pictures: int64, on the CPU."""
    return (draw < share).nonzero()[:, 0]


def _change(x: Tensor, rows: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change some pictures of ``x`` in place."""
    if len(rows):
        rows = rows.to(x.device)
        x[rows] = change(x[rows], rows)


def _rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Rotate squares (N, 3, H, H) about their centres; reflections fill the corners."""
    angle = degrees.deg2rad()
    matrix = x.new_zeros((len(x), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos(), -angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin(), angle.cos()
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _filter(x: Tensor, sigma: Tensor, amount: Tensor) -> Tensor:
    matrix = blur_matrices(sigma, amount, x.shape[2])
    return resample(x, matrix, matrix)


def _kernels(draw: Tensor) -> tuple[Tensor, Tensor]:
    """Return each picture's kernel and whether it antialiases; see ``resampling_matrices``."""
    number = ((2 * draw - 1).clamp(min=0) * (len(_KERNELS) - 1)).ceil().long()  # half of the draws give the first
    kernel, antialias = zip(*_KERNELS, strict=True)
    return torch.tensor(kernel, device=draw.device)[number], torch.tensor(antialias, device=draw.device)[number]
