"""What raw pixels reach: nearest neighbours and ridge regression on pictures of 32 x 32 pixels.

Features should do much better than this baseline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SIDE_PX = 32
_PENALTIES = 10.0**-4, 10.0**-3, 10.0**-2, 10.0**-1, 1.0, 10.0  # times the mean eigenvalue


def pixel_values(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return the pixels of each image at 32 x 32: float32 (N, 3072) from 0 to 1."""
    size = (SIDE_PX, SIDE_PX)
    return np.stack([np.asarray(image.convert("RGB").resize(size), np.float32).ravel() / 255 for image in images])


def nearest_rows(queries: NDArray[np.float32], items: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return, for each query, the rows of the ``k`` items of largest cosine: (Q, k), best first."""
    scores = _normalised(queries) @ _normalised(items).T
    order: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order


def ridge_labels(train: NDArray[np.float32], labels: Sequence[str], test: NDArray[np.float32]) -> list[str]:
    """Fit ridge regression to the labels of ``train``, and return the predicted label of each row of ``test``.

    Values are standardised and labels one-hot. The penalty with the least leave-one-out error is used, so that the
    baseline is as good as it can be.

    References
    ----------
    Golub, Heath & Wahba 1979, Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter.
    """
    classes = sorted(set(labels))
    one_hot = np.array([[float(label == name) for name in classes] for label in labels])  # (N, C)
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    x, z = (train - mean) / deviation, (test - mean) / deviation
    best, _, _ = min(ridge_fits(x, one_hot), key=lambda fit: float((fit[1] ** 2).mean()))
    return [classes[i] for i in (z @ (x.T @ best)).argmax(1)]


def ridge_fits(
    x: NDArray[np.float32], targets: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Fit ridge regression with an intercept, once per penalty.

    Parameters
    ----------
    x
        float32 (N, D). Columns are centred here.
    targets
        float64 (N, C).

    Yields
    ------
    tuple
        The dual weights (N, C), of which ``x.T @ dual`` are the weights. The residuals (N, C), each of a fit that
        leaves its row out. The penalty.
    """
    centred = x - x.mean(0, dtype=np.float64)
    eigenvalues, vectors = np.linalg.eigh(centred @ centred.T)  # (N,), (N, N)
    turned = vectors.T @ (targets - targets.mean(0))  # (N, C)
    for factor in _PENALTIES:
        penalty = float(factor * eigenvalues.mean())
        shrunk = 1 / (eigenvalues + penalty)
        dual = vectors @ (shrunk[:, None] * turned)
        # Centring takes the constant direction out of x. It belongs to the intercept, which has no penalty: its
        # share is 1/N of every row.
        freedom = (vectors**2) @ shrunk - 1 / (len(x) * penalty)
        yield dual, dual / freedom[:, None], penalty


def _normalised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return unit
