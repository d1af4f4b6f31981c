"""Cropping, mirroring and resampling a batch, each picture with its own filter, as two matrix products.

A separable filter is one matrix for the rows and one for the columns. Every picture has its own pair. So one product
brings a whole batch to one size, although each picture is cropped and filtered differently.
"""

from __future__ import annotations

import torch
from torch import Tensor

BOX, TRIANGLE, CUBIC = range(3)  # kernels; Pillow calls the last two bilinear and bicubic


def resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply ``rows`` (N, h, H) and ``columns`` (N, w, W) to pictures (N, C, H, W); return (N, C, h, w)."""
    narrow = (x.flatten(1, 2) @ columns.mT).unflatten(1, x.shape[1:3])  # (N, C, H, w)
    return torch.stack([rows @ narrow[:, c] for c in range(x.shape[1])], 1)


def resampling_matrices(
    first: Tensor,
    length: Tensor,
    n_out: Tensor,
    kernel: Tensor,
    antialias: Tensor,
    *,
    n_in: Tensor,
    shape: tuple[int, int],
) -> Tensor:
    """Return the matrices that resample a section of an axis, one per picture.

    Parameters
    ----------
    first, length
        float32 (N,): where the section begins and how long it is, in input pixels. A negative length mirrors it.
    n_out
        float32 (N,): the output pixels. Rows of the matrix beyond them repeat the last one.
    kernel
        int64 (N,): ``BOX``, ``TRIANGLE`` or ``CUBIC``.
    antialias
        float32 (N,): 1 widens the kernel when downsampling, against aliasing; 0 does not.
    n_in
        float32 (N,): the input pixels. Columns of the matrix beyond them are zero.
    shape
        Rows and columns of the matrices: at least the largest ``n_out`` and ``n_in``.

    Returns
    -------
    torch.Tensor
        float32 (N, *shape); every row sums to one.
    """
    first, length, n_out, kernel, antialias, n_in = (
        value.view(-1, 1, 1) for value in (first, length, n_out, kernel, antialias, n_in)
    )
    step = length / n_out
    row, column = (torch.arange(n, device=first.device, dtype=torch.float32) for n in shape)
    centre = first + (row.view(1, -1, 1).minimum(n_out - 1) + 0.5) * step
    width = torch.lerp(torch.ones_like(step), step.abs().clamp(min=1), antialias)
    distance = (column + 0.5 - centre) / width  # (N, *shape)
    weights = _weights(distance, kernel).mul_(column < n_in)
    return weights.div_(weights.sum(2, keepdim=True))


def _weights(distance: Tensor, kernel: Tensor) -> Tensor:
    """Return a kernel's weight at a distance in kernel widths; the cubic kernel is that of Keys 1981 with a = -0.5."""
    far = distance.abs()
    box = ((distance > -0.5) & (distance <= 0.5)).float()
    near = (1.5 * far - 2.5) * far * far + 1
    beyond = ((2.5 - 0.5 * far) * far - 4) * far + 2
    cubic = torch.where(far < 1, near, torch.where(far < 2, beyond, 0.0))
    return torch.where(kernel == BOX, box, torch.where(kernel == CUBIC, cubic, (1 - far).clamp(min=0)))


def blur_matrices(sigma: Tensor, amount: Tensor, size: int) -> Tensor:
    """Return the matrices that blur or sharpen an axis, one per picture.

    Parameters
    ----------
    sigma
        float32 (N,): standard deviation of the Gaussian, in pixels.
    amount
        float32 (N,): 1 blurs, 0 changes nothing, a negative amount sharpens (an unsharp mask).
    size
        Pixels of the axis.

    Returns
    -------
    torch.Tensor
        float32 (N, size, size).
    """
    place = torch.arange(size, device=sigma.device, dtype=torch.float32)
    gauss = torch.exp(-0.5 * ((place[:, None] - place) / sigma.view(-1, 1, 1)) ** 2)
    gauss = gauss / gauss.sum(2, keepdim=True)
    return torch.lerp(torch.eye(size, device=sigma.device).expand_as(gauss), gauss, amount.view(-1, 1, 1))
