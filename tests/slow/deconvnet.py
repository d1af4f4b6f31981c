"""The deconvnet: one activation brought back to the pixels, by three rules.

- "deconv": Zeiler & Fergus 2013, section 2.1. Every ReLU on the way back rectifies the signal; normalisation passes
  the signal unchanged.
- "gradient": Simonyan et al. 2014, section 3. Back-propagation; every ReLU blocks the signal where it was off.
- "guided": Springenberg et al. 2015, section 3. Every ReLU does both; normalisation passes the signal unchanged.

Batch normalisation is linear at inference, so that all three rules multiply by its scale. Unpooling uses the
switches of the forward pass, whatever the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from slow.convolution import batch_norm, convolve, convolve_back
from slow.lrn import lrn, lrn_gradient
from slow.pooling import grid_max_pool, max_pool, unpool

Rule = Literal["deconv", "gradient", "guided"]


class Step(Protocol):
    """One operation; ``back`` follows a ``forward`` of the same picture."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output for ``x``, without a batch axis."""

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        """Return what ``signal``, which has the shape of the output, is at the input."""


@dataclass
class Conv:
    weight: np.ndarray
    bias: np.ndarray
    geometry: dict[str, int] = field(default_factory=dict)  # stride, pad, dilation, group

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return convolve(x, self.weight, self.bias, **self.geometry)

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        return convolve_back(signal, self.weight, self.shape, **self.geometry)


@dataclass
class Relu:
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.was_on = x > 0
        return np.where(self.was_on, x, 0)

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        if rule in ("gradient", "guided"):
            signal = np.where(self.was_on, signal, 0)
        if rule in ("deconv", "guided"):
            signal = np.where(signal > 0, signal, 0)
        return signal


@dataclass
class MaxPool:
    taps: int
    stride: int
    pads: tuple[int, int] = (0, 0)
    rounds_up: bool = False

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        values, self.switches = max_pool(x, self.taps, self.stride, self.pads, rounds_up=self.rounds_up)
        return values

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        return unpool(signal, self.switches, self.shape)


@dataclass
class GridMaxPool:
    grid: int

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        values, self.switches = grid_max_pool(x, self.grid)
        return values

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        return unpool(signal, self.switches, self.shape)


@dataclass
class Lrn:
    constants: dict[str, Any]  # n, alpha, beta, k

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return lrn(x, **self.constants)

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        return lrn_gradient(self.x, signal, **self.constants) if rule == "gradient" else signal


@dataclass
class BatchNorm:
    scale: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        return batch_norm(x, self.scale, self.shift, self.mean, self.variance, self.epsilon)

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        factors = self.scale / np.sqrt(self.variance + self.epsilon)
        return np.array([one * factor for one, factor in zip(signal, factors, strict=True)])


@dataclass
class Flatten:
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return x.reshape(-1)

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        return signal.reshape(self.shape)


@dataclass
class Dense:
    weight: np.ndarray  # (units, inputs)
    bias: np.ndarray

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.array([sum(w * x) + b for w, b in zip(self.weight, self.bias, strict=True)])

    def back(self, signal: np.ndarray, rule: Rule) -> np.ndarray:
        total = np.zeros(self.weight.shape[1])
        for row, value in zip(self.weight, signal, strict=True):
            total += row * value
        return total


def run(steps: Sequence[Step], picture: np.ndarray) -> np.ndarray:
    """Return the output of the last step for a picture (3, H, W)."""
    x = picture.astype(np.float64)
    for step in steps:
        x = step.forward(x)
    return x


def project(steps: Sequence[Step], picture: np.ndarray, unit: int, position: int, rule: Rule) -> np.ndarray:
    """Return the projection (3, H, W) of one activation of the last step.

    Parameters
    ----------
    unit
        Map, or number in a vector.
    position
        ``row * width + column`` in the map; -1 for the first maximum.
    rule
        The gradient is seeded with one, the other two with the activation itself.
    """
    layer = run(steps, picture)
    values = layer[unit].reshape(-1)
    place = int(values.argmax()) if position < 0 or layer.ndim == 1 else position
    signal = np.zeros(layer.shape)
    signal[unit].reshape(-1)[place] = 1 if rule == "gradient" else values[place]
    if layer.ndim == 1:
        signal[unit] = 1 if rule == "gradient" else layer[unit]
    for step in reversed(steps):
        signal = step.back(signal, rule)
    return signal
