"""How much a picture looks like the classes of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax

if TYPE_CHECKING:
    from fc7_service.heads.classifier import SoftmaxLayer

_ROWS_AT_ONCE = 2048


def known_scores(
    score: str, layer: SoftmaxLayer, features: NDArray[np.float32], known_rows: NDArray[np.float16] | None
) -> NDArray[np.float32]:
    """Return how much each row looks like the head's classes; larger is more.

    Parameters
    ----------
    score
        "softmax": the largest probability. "energy": the logarithm of the summed powers of the logits. "neighbour":
        the cosine to the nearest of the known rows, all minus the mean of the training.
    layer
        The head.
    features
        float32 (N, D).
    known_rows
        Rows as `normalised_rows` returns them, for "neighbour".

    References
    ----------
    Hendrycks & Gimpel 2017, arXiv 1610.02136 (softmax); Liu et al. 2020, arXiv 2010.03759, equation 4 (energy); Sun et
    al. 2022, arXiv 2204.06507, section 3 (neighbour, here with k = 1).
    """
    if score == "neighbour":
        assert known_rows is not None
        similarities = normalised_rows(features, layer.mean) @ known_rows.astype(np.float32).T
        return np.asarray(similarities.max(axis=1), np.float32)
    return score_logits(score, layer.logits(features) / layer.temperature)


def normalised_rows(features: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows minus a mean, of length 1."""
    x = features - mean
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    normalised: NDArray[np.float32] = np.divide(x, lengths, out=x, where=lengths > 0)
    return normalised


def neighbour_scores(
    features: NDArray[np.float32], mean: NDArray[np.float32], judged: NDArray[np.int64], known: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the cosine of each of the rows ``judged`` to the nearest of the rows ``known``; 0 if there are none."""
    scores = np.zeros(len(judged), np.float32)
    if len(known):
        among = normalised_rows(features[known], mean).T
        for start in range(0, len(judged), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            scores[rows] = (normalised_rows(features[judged[rows]], mean) @ among).max(axis=1)
    return scores


def score_logits(score: str, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the score "softmax" or "energy" of logits (N, C), which are divided by the temperature."""
    if score == "softmax":
        return np.asarray(softmax(logits).max(axis=1), np.float32)
    largest = logits.max(axis=1)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)), np.float32)
