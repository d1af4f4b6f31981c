"""Labelled features that look like a network's: sparse, non-negative, some classes close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.provenance import Provenance

PROVENANCE = Provenance(model="tiny", graph_sha256="a" * 64, recipe_sha256="b" * 64, layer="fc7")


@dataclass(frozen=True)
class Labelled:
    """Features (N, D) float32, a label and a content hash a row."""

    features: NDArray[np.float32]
    labels: list[str]
    groups: list[str]

    def __getitem__(self, rows: slice) -> Labelled:
        return Labelled(self.features[rows], self.labels[rows], self.groups[rows])


def make_labelled(per_class: int, n_classes: int, dim: int, *, noise: float = 1.0, seed: int = 0) -> Labelled:
    """Draw rows class by class in turn: any prefix of ``n_classes * m`` rows is balanced."""
    rng = np.random.default_rng(seed)
    rank = min(dim, 32)
    centres, mix = rng.standard_normal((n_classes, rank)), rng.standard_normal((rank, dim)) / rank**0.5
    y = np.tile(np.arange(n_classes), per_class)
    hidden = centres[y] + noise * rng.standard_normal((len(y), rank))
    features = np.maximum(hidden @ mix - 0.3, 0).astype(np.float32)
    return Labelled(features, [f"c{i:03d}" for i in y], [f"{seed}-{i}" for i in range(len(y))])
