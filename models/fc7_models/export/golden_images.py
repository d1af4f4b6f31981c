"""Golden images: drawn by a program, so that a bundle shows none of its training pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess_pixels

COUNT = 4


def draw_golden_images(size_px: int) -> NDArray[np.uint8]:
    """Draw ``COUNT`` pictures with edges, gradients and textures in colour.

    Returns
    -------
    numpy.ndarray
        uint8 (COUNT, size_px, size_px, 3), the same on every machine.
    """
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0 : 1 : complex(size_px), 0 : 1 : complex(size_px)]
    pictures = np.empty((COUNT, size_px, size_px, 3), np.uint8)
    for picture in pictures:
        values = np.full((size_px, size_px, 3), 0.5)
        for _ in range(6):  # waves: gradients and textures
            angle, cycles = rng.uniform(0, np.pi), 2 ** rng.uniform(0, 4)
            wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
            values += 0.12 * wave[:, :, None] * rng.uniform(-1, 1, 3)
        for _ in range(5):  # discs and boxes: edges
            cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.08, 0.3)
            is_disc = rng.random() < 0.5
            inside = np.hypot(x - cx, y - cy) if is_disc else np.maximum(abs(x - cx), abs(y - cy))
            values[inside < radius] = rng.uniform(0, 1, 3)
        picture[...] = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return pictures


def draw_golden_inputs(recipe: Recipe) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw the golden images of a recipe and prepare them for the network.

    The images have the size that the recipe resizes to: a server that receives them only cuts their centre.

    Returns
    -------
    tuple
        Images, uint8 (COUNT, resize_px, resize_px, 3), and inputs, float32 (COUNT, 3, crop_px, crop_px).
    """
    pixels = draw_golden_images(recipe.resize_px)
    return pixels, np.stack([preprocess_pixels(p, recipe) for p in pixels])


def read_golden_inputs(bundle: Bundle) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield each layer's name and its golden inputs, float32 (N, 3, H, W), prepared by the layer's own recipe."""
    golden = read_golden(bundle)
    for layer in bundle.layers:
        inputs = golden.inputs
        if layer in golden.own_pixels:
            recipe = bundle.recipe_of(layer)
            inputs = np.stack([preprocess_pixels(pixels, recipe) for pixels in golden.own_pixels[layer]])
        yield layer, inputs
