"""The losses of JPEG compression, simulated in torch for a batch of pictures, each at its own quality."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# ITU-T T.81, tables K.1 and K.2: quantisation steps at quality 50, for brightness and for colour.
_BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_COLOUR = (
    (17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99),
)  # fmt: skip
_COLOUR_REST = 99  # in the other rows and columns
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF 1.02


def jpeg_round_trip(x: Tensor, quality: Tensor) -> Tensor:
    """Return pictures as they look after JPEG compression with colours at half resolution (4:2:0).

    Parameters
    ----------
    x
        float32 (N, 3, H, W) RGB in 0..255; H and W are multiples of 16.
    quality
        float32 (N,) in 1..100, on libjpeg's scale.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, H, W), whole numbers in 0..255.

    References
    ----------
    ITU-T T.81; libjpeg's quality scale (jcparam.c).
    """
    to_ycc = x.new_tensor(_TO_YCC)
    ycc = _recolour(x, to_ycc)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    bright = _quantise(ycc[:, :1] - 128, _steps(_BRIGHTNESS, scale)) + 128
    colour = _quantise(functional.avg_pool2d(ycc[:, 1:], 2), _steps(_COLOUR, scale))
    colour = functional.interpolate(colour, scale_factor=2, mode="bilinear")
    return _recolour(torch.cat([bright, colour], 1), torch.linalg.inv(to_ycc)).round_().clamp_(0, 255)


def _recolour(x: Tensor, matrix: Tensor) -> Tensor:
    return (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])


def _steps(table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """Return the quantisation steps of each picture: (N, 64)."""
    full = torch.full((8, 8), float(_COLOUR_REST))
    full[: len(table), : len(table)] = torch.tensor(table)
    return ((full.flatten().to(scale.device) * scale[:, None] + 50) / 100).floor().clamp(1, 255)


def _quantise(maps: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine transform of each 8 x 8 block of ``maps`` (N, C, H, W) to multiples of ``steps`` (N, 64)."""
    n, c, height, width = maps.shape
    blocks = maps.reshape(n, c, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(n, -1, 64)
    transform = _cosine_transform(maps.device)
    rounded = (blocks @ transform.T).div_(steps[:, None]).round_().mul_(steps[:, None]) @ transform
    return rounded.reshape(n, c, height // 8, width // 8, 8, 8).transpose(3, 4).reshape(maps.shape)


def _cosine_transform(device: torch.device) -> Tensor:
    """Return the cosine transform of an 8 x 8 block as an orthonormal matrix (64, 64)."""
    index = torch.arange(8, device=device, dtype=torch.float32)
    one_axis = torch.cos(math.pi / 8 * index[:, None] * (index + 0.5)) / 2
    one_axis[0] /= math.sqrt(2)
    return torch.kron(one_axis, one_axis)
