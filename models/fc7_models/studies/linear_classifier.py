"""Linear classifiers on frozen features, as both papers judge features: softmax regression and a linear SVM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_models.data.dataset import Dataset

Kind = Literal["softmax", "svm"]
Layers = Mapping[str, NDArray[np.float32]]  # name -> (N, ...)

PIXELS = "pixels"  # the network's input, pooled as the layers are
MAX_DIM = 4096  # of a feature; a larger map is pooled
MAX_PICTURES = 20_000  # their features are held in memory
HELD_OUT = 5  # one picture in five is tested on
# scikit-learn's C, for features of mean square length one; small values serve classes with many pictures.
STRENGTHS: dict[Kind, tuple[float, float, float]] = {"softmax": (3.0, 30.0, 300.0), "svm": (0.1, 1.0, 10.0)}
_MAX_ITERATIONS = 10_000


def pool_features(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flatten a layer (N, ...) to (N, D); a map of more than ``MAX_DIM`` values is averaged over a grid first.

    The grid is the largest g x g of which all channels together have at most ``MAX_DIM`` values. Cell i spans the
    rows ``floor(i * H / g)`` to ``ceil((i + 1) * H / g)``.
    """
    if values.ndim == 4 and values[0].size > MAX_DIM:
        grid = max(1, int((MAX_DIM / values.shape[1]) ** 0.5))
        for axis in (2, 3):
            size = values.shape[axis]
            cells = [slice(i * size // grid, -(-(i + 1) * size // grid)) for i in range(min(grid, size))]
            parts = [values[(slice(None),) * axis + (cell,)].mean(axis, keepdims=True) for cell in cells]
            values = np.concatenate(parts, axis)
    return values.reshape(len(values), -1)


def collect_features(
    batches: Iterable[NDArray[np.float32]], compute: Callable[[NDArray[np.float32]], Layers]
) -> dict[str, NDArray[np.float32]]:
    """Return the pooled features of all pictures, float32 (N, D) for each layer.

    Parameters
    ----------
    batches
        Inputs of the network, float32 (n, 3, H, W) each.
    compute
        Returns the layers of a batch.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {}
    for inputs in batches:
        for name, values in compute(inputs).items():
            parts.setdefault(name, []).append(pool_features(values))
    return {name: np.concatenate(values) for name, values in parts.items()}


def class_indices(data: Dataset) -> NDArray[np.int64]:
    """Return the class of each picture, 0 to C - 1, in the order of ``data.classes``.

    Raises
    ------
    InvalidArgument
        A class has fewer than five pictures, or there are more than ``MAX_PICTURES``.
    """
    if len(data.labels) > MAX_PICTURES:
        raise InvalidArgument(
            f"{len(data.labels)} pictures do not fit in memory; the limit is {MAX_PICTURES}. Take some of each class"
        )
    index = {name: i for i, name in enumerate(data.classes)}
    y = np.array([index[label] for label in data.labels])
    counts = np.bincount(y)
    if counts.min() < HELD_OUT:
        name = data.classes[int(counts.argmin())]
        raise InvalidArgument(
            f"class {name!r} has {counts.min()} pictures. Each class needs at least {HELD_OUT}, to be split into "
            "training and test pictures",
            name=name,
        )
    return y


def hold_out(y: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose a fifth of the rows at random, of each class in proportion; return their mask (N,)."""
    from sklearn.model_selection import train_test_split

    _, held = train_test_split(np.arange(len(y)), test_size=1 / HELD_OUT, stratify=y, random_state=seed)
    return np.isin(np.arange(len(y)), held)


def fit_and_score(
    kind: Kind, x: NDArray[np.float32], y: NDArray[np.int64], test_x: NDArray[np.float32], test_y: NDArray[np.int64]
) -> float:
    """Train a classifier and return its accuracy on test rows, each class weighing the same.

    Features are centred, and scaled by one number taken from the training rows. The strength of regularisation is
    the best of three on a fifth of the training rows, or the middle one if a class has fewer than five of them.

    Parameters
    ----------
    kind
        Softmax regression or a linear SVM.
    x, test_x
        Features, (N, D) and (M, D).
    y, test_y
        Classes, (N,) and (M,).
    """
    x, test_x = _standardise(x, test_x)
    first, middle, last = STRENGTHS[kind]
    strength = middle
    if np.bincount(y).min() >= HELD_OUT:
        held = hold_out(y, seed=0)
        scores = {c: _score(_fit(kind, c, x[~held], y[~held]), x[held], y[held]) for c in (middle, first, last)}
        strength = max(scores, key=lambda c: scores[c])
    return _score(_fit(kind, strength, x, y), test_x, test_y)


def _standardise(
    x: NDArray[np.float32], test_x: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre and scale; with fewer rows than dimensions, rotate both into the rows' own space, which loses nothing."""
    mean = x.mean(0)
    x, test_x = x - mean, test_x - mean
    scale = np.float32(np.sqrt(np.einsum("nd,nd->", x, x) / len(x)) or 1.0)
    x, test_x = x / scale, test_x / scale
    if len(x) >= x.shape[1]:
        return x, test_x
    eigenvalues, eigenvectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    kept = eigenvalues > 1e-6 * eigenvalues[-1]
    rotation = x.T @ (eigenvectors[:, kept] / np.sqrt(eigenvalues[kept])).astype(np.float32)  # (D, K), orthonormal
    return x @ rotation, test_x @ rotation


def _fit(kind: Kind, strength: float, x: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if kind == "svm":
        return LinearSVC(C=strength, dual="auto", max_iter=_MAX_ITERATIONS, random_state=0).fit(x, y)
    return LogisticRegression(C=strength, tol=1e-3, max_iter=_MAX_ITERATIONS).fit(x, y)


def _score(classifier: Any, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(y, classifier.predict(x)))
