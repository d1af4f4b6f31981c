"""What raw pixels reach: the demonstration's yardstick. Nearest neighbours and a closed-form head on 32 x 32 values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 32  # px
_PENALTIES = 10.0**-4, 10.0**-3, 10.0**-2, 10.0**-1, 1.0, 10.0  # of the mean eigenvalue


def raw_values(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return the pixel values of each image at 32 x 32: float32 (N, 3072) in 0..1."""
    import numpy as np

    small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32).ravel() / 255 for image in images]
    return np.stack(small)


def nearest(queries: NDArray[np.float32], items: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the rows of the ``k`` items of largest cosine for each query: (Q, k), best first."""
    import numpy as np

    scores = _unit(queries) @ _unit(items).T
    order: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order


def ridge_labels(train: NDArray[np.float32], labels: Sequence[str], test: NDArray[np.float32]) -> list[str]:
    """Fit one-hot ridge regression on standardised values; return the label of each test row.

    The penalty is the one of least leave-one-out error, which ridge gives in closed form
    (Golub, Heath & Wahba 1979), so that the yardstick is as good as it can be.
    """
    import numpy as np

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
        float32 (N, D); each column is centred here.
    targets
        float64 (N, C).

    Yields
    ------
    tuple
        The dual weights (N, C): ``x.T @ dual`` are the weights. The residual (N, C) that each row has where
        it is left out of the fit. The penalty.
    """
    import numpy as np

    exact = x - x.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(exact @ exact.T)  # (N,), (N, N)
    turned = vectors.T @ (targets - targets.mean(0))  # (N, C)
    for share in _PENALTIES:
        penalty = float(share * values.mean())
        shrunk = 1 / (values + penalty)
        dual = vectors @ (shrunk[:, None] * turned)
        # The direction that centring made zero is the intercept's, which has no penalty: 1/N of every row is its part.
        freedom = (vectors**2) @ shrunk - 1 / (len(x) * penalty)
        yield dual, dual / freedom[:, None], penalty


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    unit: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return unit
