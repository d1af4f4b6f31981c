"""Muon's orthogonal step, the learning rate schedules, and colour augmentation.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Loshchilov & Hutter 2017, equation 5;
Krizhevsky, Sutskever & Hinton 2012, sections 4.1 and 5.
"""

from __future__ import annotations

import math

import numpy as np


def orthogonalise(matrix: np.ndarray) -> np.ndarray:
    """Apply the quintic polynomial three times to every singular value, which leaves the singular vectors alone.

    Newton-Schulz computes the same polynomial by products of matrices, without finding singular values.
    """
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    values = values / (np.sqrt((values**2).sum()) + 1e-7)
    for _ in range(3):
        values = np.array([3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5 for s in values])
    return left @ np.diag(values) @ right


def cosine_learning_rates(n_steps: int) -> list[float]:
    """Return every step's factor of the peak rate: a linear rise, then half a cosine down to zero."""
    n_warm = n_steps / 2 if n_steps < 400 else 200.0  # 200 steps, but at most half of the run
    n_warm = max(n_warm, n_steps / 20)
    factors = []
    for step in range(n_steps):
        if step < n_warm:
            factors.append(step / n_warm)
        else:
            angle = math.pi * (step - n_warm) / (n_steps - n_warm)
            factors.append((1 + math.cos(angle)) / 2)
    return factors


def plateau_learning_rates(errors: list[float]) -> list[float]:
    """Return the factor after each epoch: a tenth whenever three epochs in a row set no record, three times at most."""
    factors, factor = [], 1.0
    since_record = 0
    for epoch, error in enumerate(errors):
        since_record += 1
        if all(error < earlier for earlier in errors[:epoch]):
            since_record = 0
        if since_record == 3 and factor > 0.002:
            factor, since_record = factor / 10, 0
        factors.append(factor)
    return factors


def colour_shift(pixels: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return the shift of R, G and B: ``[p1, p2, p3] [a1 l1, a2 l2, a3 l3]``, as section 4.1 writes it.

    ``pixels`` (N, 3) in 0..1 give the covariance with eigenvectors p and eigenvalues l; ``alphas`` are drawn at random.
    """
    mean = pixels.mean(axis=0)
    covariance = np.zeros((3, 3))
    for pixel in pixels.astype(np.float64):
        covariance += np.outer(pixel - mean, pixel - mean) / (len(pixels) - 1)
    eigenvalues, eigenvectors = np.linalg.eig(covariance)
    order = np.argsort(eigenvalues)
    shift = np.zeros(3)
    for alpha, i in zip(alphas, order, strict=True):
        shift += eigenvectors[:, i] * alpha * eigenvalues[i]
    return shift


def limit_filter_rms(filters: np.ndarray, radius: float) -> np.ndarray:
    """Renormalise each filter whose RMS exceeds ``radius`` to it (Zeiler & Fergus 2013, section 3)."""
    limited = filters.astype(np.float64).copy()
    for i, weights in enumerate(filters):
        rms = math.sqrt(sum(float(w) ** 2 for w in weights.ravel()) / weights.size)
        if rms > radius:
            limited[i] *= radius / rms
    return limited
