"""Golden pictures: drawn, so that a bundle gives none of its training pictures away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
