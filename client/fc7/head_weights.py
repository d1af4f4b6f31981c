"""The weights of a head: what it takes along to another library, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.results import Provenance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadWeights:
    """A softmax layer. The probabilities of a feature ``x`` are ``softmax(x @ weights + bias)``.

    Attributes
    ----------
    provenance : Provenance
        What makes the features that it takes.
    classes : list of str
        One per column of the weights.
    weights : ndarray float32 (D, C)
        For features as they are extracted; they need not be scaled.
    bias : ndarray float32 (C,)
        One number per class.
    """

    provenance: Provenance
    classes: list[str]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"HeadWeights({self.weights.shape}, {self.provenance.model} {self.provenance.layer})"
