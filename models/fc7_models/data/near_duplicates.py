"""Find pictures that are nearly the same: one was resized, squashed, cropped, compressed again or mirrored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


class Thresholds(NamedTuple):
    """Two pictures are nearly the same if both cosines are above these."""

    coarse: float  # cosine of the pictures at ``COARSE_PX``, minus their mean colours
    fine: float  # cosine of the detail at ``FINE_PX`` that the coarse pictures lack


# Measured in docs/experiments/training.md: different pictures of a sky over dark ground reach a coarse cosine of 0.95,
# and garments on white reach 0.82 in detail. Blurred pictures have no detail of their own.
BETWEEN_FOLDERS = Thresholds(0.97, 0.7)
WITHIN_FOLDER = Thresholds(0.98, 0.85)  # stricter: pictures of one folder often look alike
COARSE_PX, FINE_PX = 8, 32
# Shares of height and width that are compared. One data set squashes pictures of 4:3 and 3:2 to squares, another one
# cuts out their centre.
_CENTRES = ((1, 1), (1, 3 / 4), (1, 2 / 3), (3 / 4, 1), (2 / 3, 1))
METHOD = hashlib.sha256(repr((COARSE_PX, FINE_PX, _CENTRES)).encode()).hexdigest()[:8]
_CHUNK = 1000
_FLOATS = 100  # pictures converted to float32 at a time
T = TypeVar("T", np.uint8, np.int64)


def find_near_duplicates(
    pixels: NDArray[np.uint8], others: NDArray[np.uint8], thresholds: Thresholds = BETWEEN_FOLDERS
) -> NDArray[np.bool_]:
    """Return which pictures, or their centres, are nearly the same as one of ``others`` or its mirror image.

    Parameters
    ----------
    pixels
        uint8 (N, H, W, 3).
    others
        uint8 (M, H, W, 3).
    thresholds
        How similar they must be.

    Returns
    -------
    numpy.ndarray
        bool (N,), True for a near-duplicate.
    """
    coarse = _shrink(others, COARSE_PX, 1)
    both = torch.stack([coarse, coarse.flip(3)]).flatten(2)  # (2, M, D)
    found = np.zeros(len(pixels), bool)
    for start, part in _chunks(pixels):
        for shares in _CENTRES:
            centres = _centre(part, *shares)
            small = _shrink(centres, COARSE_PX, 1).flatten(1)
            for i, mirrored in enumerate(both):
                for _, few in _chunks(_pairs(small @ mirrored.T, thresholds.coarse)):
                    a = _shrink(centres[few[:, 0]], FINE_PX, COARSE_PX)
                    b = _shrink(others[few[:, 1]], FINE_PX, COARSE_PX)
                    same = (a * (b.flip(3) if i else b)).sum((1, 2, 3)) > thresholds.fine
                    found[start + few[same.numpy(), 0]] = True
    return found


def _pairs(cosines: Tensor, least: float) -> NDArray[np.int64]:
    """Return the row and column of each cosine above ``least``, int64 (P, 2)."""
    rows = (cosines.amax(1) > least).nonzero()[:, 0]  # only a few; a search of all columns would take most of the time
    pairs = (cosines[rows] > least).nonzero()
    return torch.stack([rows[pairs[:, 0]], pairs[:, 1]], 1).numpy()


def _centre(pixels: NDArray[np.uint8], height: float, width: float) -> NDArray[np.uint8]:
    top, left = (round(size * (1 - share) / 2) for size, share in zip(pixels.shape[1:3], (height, width), strict=True))
    return pixels[:, top : pixels.shape[1] - top, left : pixels.shape[2] - left]


def _chunks(rows: NDArray[T], size: int = _CHUNK) -> Iterator[tuple[int, NDArray[T]]]:
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def _shrink(pixels: NDArray[np.uint8], px: int, without_px: int) -> Tensor:
    """Return pictures at ``px`` pixels minus the same at ``without_px`` pixels, (N, 3, px, px), each of length one."""
    small = [
        functional.adaptive_avg_pool2d(torch.tensor(part).permute(0, 3, 1, 2).float(), px)
        for _, part in _chunks(pixels, _FLOATS)
    ]
    x = torch.cat(small)
    x = x - functional.interpolate(functional.adaptive_avg_pool2d(x, without_px), px)
    return functional.normalize(x.flatten(1), dim=1).reshape_as(x)
