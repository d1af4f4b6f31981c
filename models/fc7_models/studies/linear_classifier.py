"""Linear classifiers on frozen features, as both papers judge them: softmax regression and a linear SVM."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_models.data.dataset import Dataset

Kind = Literal["softmax", "svm"]

MOST_NUMBERS = 4096  # of a feature; a larger map is pooled
MAX_PICTURES = 20_000
HELD_OUT = 5  # one picture of so many is tested on
# scikit-learn's C for features of mean square length one: weak ones serve many pictures.
STRENGTHS: dict[Kind, tuple[float, ...]] = {"softmax": (3.0, 30.0, 300.0), "svm": (0.1, 1.0, 10.0)}
_ENDLESS = 10_000  # iterations


def pool(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flatten a layer (N, ...) to (N, D); a map of more than ``MOST_NUMBERS`` is averaged over a grid first.

    The grid is the largest g x g of which all channels together have at most that many
    numbers; cell i spans rows ``floor(i * H / g)`` to ``ceil((i + 1) * H / g)``.
    """
    if values.ndim == 4 and values[0].size > MOST_NUMBERS:
        grid = max(1, int((MOST_NUMBERS / values.shape[1]) ** 0.5))
        for axis in (2, 3):
            size = values.shape[axis]
            cells = [slice(i * size // grid, -(-(i + 1) * size // grid)) for i in range(min(grid, size))]
            parts = [values[(slice(None),) * axis + (cell,)].mean(axis, keepdims=True) for cell in cells]
            values = np.concatenate(parts, axis)
    return values.reshape(len(values), -1)


def class_numbers(data: Dataset) -> NDArray[np.int64]:
    """Return the class of each picture, 0 to C - 1, in the order of ``data.classes``.

    Raises
    ------
    InvalidArgument
        A class of fewer than five pictures, or more than ``MAX_PICTURES``.
    """
    if len(data.labels) > MAX_PICTURES:
        raise InvalidArgument(
            f"{len(data.labels)} pictures: {MAX_PICTURES} at most are held in memory, so take some of each class"
        )
    index = {name: i for i, name in enumerate(data.classes)}
    y = np.array([index[label] for label in data.labels])
    counts = np.bincount(y)
    if counts.min() < HELD_OUT:
        name = data.classes[int(counts.argmin())]
        raise InvalidArgument(
            f"class {name!r} has {counts.min()} pictures: {HELD_OUT} at least are split into training and test",
            name=name,
        )
    return y


def hold_out(y: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose at random a fifth of each class, rounded, at least one; return the mask (N,) of those rows."""
    rng, is_held = np.random.default_rng(seed), np.zeros(len(y), bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        is_held[rows[: max(1, round(len(rows) / HELD_OUT))]] = True
    return is_held


def accuracy(
    kind: Kind, x: NDArray[np.float32], y: NDArray[np.int64], tests: NDArray[np.float32], wanted: NDArray[np.int64]
) -> float:
    """Train on ``x`` (N, D), ``y`` (N,); return the mean over classes of the share of ``tests`` that is right.

    Features are centred and scaled by one number, of the training rows. The strength is the
    best of three on a fifth of the training rows, and the middle one where a class has fewer
    than five of them.
    """
    x, tests = _turn(x, tests)
    first, middle, last = STRENGTHS[kind]
    strength = middle
    if np.bincount(y).min() >= HELD_OUT:
        held = hold_out(y, seed=0)
        tried = {c: _score(_fit(kind, c, x[~held], y[~held]), x[held], y[held]) for c in (middle, first, last)}
        strength = max(tried, key=lambda c: tried[c])
    return _score(_fit(kind, strength, x, y), tests, wanted)


def _turn(x: NDArray[np.float32], tests: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardise; where rows are fewer than numbers, turn both into the rows' own space, which loses nothing."""
    mean = x.mean(0)
    x, tests = x - mean, tests - mean
    scale = np.float32(np.sqrt(np.einsum("nd,nd->", x, x) / len(x)) or 1.0)
    x, tests = x / scale, tests / scale
    if len(x) >= x.shape[1]:
        return x, tests
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    kept = values > 1e-6 * values[-1]
    turn = x.T @ (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)  # (D, K), orthonormal
    return x @ turn, tests @ turn


def _fit(kind: Kind, strength: float, x: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if kind == "svm":
        return LinearSVC(C=strength, dual="auto", max_iter=_ENDLESS, random_state=0).fit(x, y)
    return LogisticRegression(C=strength, tol=1e-3, max_iter=_ENDLESS).fit(x, y)


def _score(classifier: Any, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    is_right = classifier.predict(x) == y
    return float(np.mean([is_right[y == label].mean() for label in np.unique(y)]))
