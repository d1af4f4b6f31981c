"""Occlusion, correspondence, and the deletion and insertion scores.

Zeiler & Fergus 2013, sections 4.2 (occlusion) and 4.3 (correspondence); Petsiuk, Das & Saenko 2018, section 3.1;
Wang et al. 2004, equation 13 (structural similarity).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

Predict = Callable[[np.ndarray], float]  # a picture (3, H, W) -> the probability of the class


def occlusion_grid(predict: Predict, picture: np.ndarray, n: int) -> np.ndarray:
    """Return how much the probability falls when a square of a quarter of the side covers each of n x n places."""
    side = picture.shape[1]
    half = max(1, side // 8)
    drops = np.zeros((n, n))
    for row in range(n):
        for column in range(n):
            y, x = math.floor((row + 0.5) * side / n), math.floor((column + 0.5) * side / n)
            covered = picture.copy()
            for i in range(side):
                for j in range(side):
                    if -half <= i - y < half and -half <= j - x < half:
                        covered[:, i, j] = 0
            drops[row, column] = predict(picture) - predict(covered)
    return drops


def correspondence(changes: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean and deviation of ``H(sign(e_i), sign(e_j)) / units`` over all pairs of pictures i < j.

    ``changes`` holds one vector ``e = x - x_masked`` per picture; H is the Hamming distance.
    """
    scores = []
    for i in range(len(changes)):
        for j in range(i + 1, len(changes)):
            different = 0
            for a, b in zip(changes[i], changes[j], strict=True):
                different += np.sign(a) != np.sign(b)
            scores.append(different / len(changes[i]))
    mean = sum(scores) / len(scores)
    return mean, math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))


def deletion_and_insertion(
    predict: Predict, picture: np.ndarray, blurred: np.ndarray, ranking: np.ndarray, n_steps: int
) -> tuple[float, float]:
    """Return the areas under both curves: pixels leave the picture, or enter the blurred one, highest ranking first."""
    _, height, width = picture.shape
    order = sorted(((i, j) for i in range(height) for j in range(width)), key=lambda place: -ranking[place])
    areas = []
    for start, filling in ((picture, np.zeros_like(picture)), (blurred, picture)):
        curve = []
        for step in range(n_steps + 1):
            current = start.copy()
            for i, j in order[: round(step * len(order) / n_steps)]:
                current[:, i, j] = filling[:, i, j]
            curve.append(predict(current))
        areas.append(sum((a + b) / 2 for a, b in pairwise(curve)) / n_steps)
    deletion, insertion = areas
    return deletion, insertion


def structural_similarity(a: np.ndarray, b: np.ndarray, side: int = 7) -> float:
    """Return the mean of equation 13 over every square of ``side`` pixels inside two pictures with values up to 1."""
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for i in range(a.shape[0] - side + 1):
        for j in range(a.shape[1] - side + 1):
            x, y = (picture[i : i + side, j : j + side].astype(np.float64) for picture in (a, b))
            covariance = ((x - x.mean()) * (y - y.mean())).mean()
            luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
            values.append(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))
    return sum(values) / len(values)
