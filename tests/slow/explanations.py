"""How a number is split over units and positions, and how a picture is occluded: one term, one square at a time."""

from __future__ import annotations

import math

import numpy as np


def split_cosine(query: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """Return what each number adds to the cosine of two features: a term of their inner product, normalised."""
    lengths = math.sqrt(sum(float(a) ** 2 for a in query)) * math.sqrt(sum(float(b) ** 2 for b in neighbour))
    return np.array([float(a) * float(b) / lengths for a, b in zip(query, neighbour, strict=True)])


def split_logit(feature: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what each number of a feature adds to ``(feature - mean) @ weights``."""
    return np.array([(float(f) - float(m)) * float(w) for f, m, w in zip(feature, mean, weights, strict=True)])


def split_over_maps(terms: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of terms over each map (C,) and over each position (H, W) of a layer flattened in C order."""
    n_maps, height, width = shape
    by_map, by_position = np.zeros(n_maps), np.zeros((height, width))
    for index, term in enumerate(terms):
        by_map[index // (height * width)] += term
        by_position[index % (height * width) // width, index % width] += term
    return by_map, by_position


def occlude(tensor: np.ndarray, row: int, column: int, *, grid: int, square_px: int) -> np.ndarray:
    """Return a picture (3, P, P) with the mean colour in a square around the centre of one cell of the grid.

    Zeiler & Fergus 2013, section 4.2. The mean colour is 0, because the recipe has subtracted it.
    """
    out, px = tensor.copy(), tensor.shape[1]
    first_row = int((row + 0.5) * px / grid) - square_px // 2
    first_column = int((column + 0.5) * px / grid) - square_px // 2
    for y in range(px):
        for x in range(px):
            if first_row <= y < first_row + square_px and first_column <= x < first_column + square_px:
                out[:, y, x] = 0
    return out
