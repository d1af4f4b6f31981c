"""The losses of training: cross-entropy per head, and the contrastive loss that matches views of one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.1  # of the contrastive loss, as in SimCLR


def cross_entropy_per_head(
    logits: Tensor, labels: Tensor, spans: Sequence[tuple[int, int]], label_smoothing: float
) -> Tensor:
    """Return the mean cross-entropy; each picture competes only with the classes of its own head.

    Parameters
    ----------
    logits
        float32 (N, outputs of all heads).
    labels
        int64 (N,), the output of each picture's class.
    spans
        The first output of each head and the one after its last.
    label_smoothing
        Share of the probability that is spread over all classes of the head.
    """
    total = logits.new_zeros(())
    for first, end in spans:
        is_own = (first <= labels) & (labels < end)
        if is_own.any():
            total = total + functional.cross_entropy(
                logits[is_own, first:end], labels[is_own] - first, label_smoothing=label_smoothing, reduction="sum"
            )
    return total / len(labels)


def contrastive_loss(maps: Tensor, n_views: int) -> Tensor:
    """Return how badly the views of one picture find each other among all views of a batch: a cross-entropy.

    Parameters
    ----------
    maps
        float32 (N, C, H, W), nowhere negative; the views of a picture stand next to each other.
    n_views
        Of each picture.

    References
    ----------
    Berman et al. 2019, "MultiGrain": classes and views learnt together, and pooling by generalised means.
    Chen et al. 2020, "SimCLR", equation 1: the loss.
    """
    pooled = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    features = functional.normalize(pooled - pooled.mean(0), dim=1)
    scores = features @ features.T / TEMPERATURE
    scores = scores - torch.diag(torch.full_like(scores[0], torch.inf))  # no view matches itself
    picture = torch.arange(len(maps), device=maps.device) // n_views
    is_same_picture = (picture[:, None] == picture).fill_diagonal_(False)
    return -scores.log_softmax(1)[is_same_picture].mean()
