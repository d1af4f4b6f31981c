"""What the recipe does with pixels, one pixel at a time."""

from __future__ import annotations

import math

import numpy as np


def over_white(pixel: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Return the RGB of an RGBA pixel on white (Porter & Duff 1984, section 4.3, "over" an opaque background)."""
    *colours, opacity = pixel
    red, green, blue = (round((colour * opacity + 255 * (255 - opacity)) / 255) for colour in colours)
    return red, green, blue


def grey_of_16_bits(value: int) -> int:
    """Return the high byte: 256 levels of 16 bits become one level of 8 bits."""
    return value // 256


def resize_and_crop(pixels: np.ndarray, resize_px: int, crop_px: int) -> np.ndarray:
    """Return the centre square (crop_px, crop_px, 3) of an image (H, W, 3) whose shorter side becomes ``resize_px``.

    Bilinear with antialiasing: each output pixel is the mean of the input, weighted by a triangle that is one output
    pixel wide to either side, or one input pixel if the image grows.
    """
    height, width = pixels.shape[:2]
    shrink = resize_px / min(height, width)
    new_height, new_width = max(resize_px, round(height * shrink)), max(resize_px, round(width * shrink))
    rows = [_triangle(top, height, height / new_height) for top in _centre(new_height, crop_px)]
    columns = [_triangle(left, width, width / new_width) for left in _centre(new_width, crop_px)]
    out = np.zeros((crop_px, crop_px, 3))
    for y, row_weights in enumerate(rows):
        for x, column_weights in enumerate(columns):
            for i, row_weight in row_weights.items():
                for j, column_weight in column_weights.items():
                    out[y, x] += row_weight * column_weight * pixels[i, j]
    return out


def _centre(size: int, crop_px: int) -> range:
    first = (size - crop_px) // 2
    return range(first, first + crop_px)


def _triangle(index: int, size: int, scale: float) -> dict[int, float]:
    """Return the weight of each input pixel for an output pixel; ``scale`` is input pixels per output pixel."""
    centre, radius = (index + 0.5) * scale, max(1.0, scale)
    weights = {}
    for i in range(max(0, math.floor(centre - radius)), min(size, math.ceil(centre + radius) + 1)):
        weight = 1 - abs(i + 0.5 - centre) / radius
        if weight > 0:
            weights[i] = weight
    total = sum(weights.values())
    return {i: weight / total for i, weight in weights.items()}
