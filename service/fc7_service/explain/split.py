"""A number that is linear in a feature, split exactly: over units and, where the network allows it, over positions.

A cosine and a logit both are ``(feature - origin) @ direction + constant``, so each number of the feature has its
share. Where the feature itself is linear in the maps of a spatial layer (mean pooling, whitening, a classifier on top),
the shares of maps and of positions are exact too: they are found by running the rest of the network on one part of
the maps at a time, which also tells whether the parts add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition
from fc7_service.explain.network import Network
from fc7_service.explain.project import STRONGEST
from fc7_service.explain.view import View

_ADDITIVE = 1e-4  # of the feature's largest value: float32 sums differ by less, ReLU and maxima by more
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Shares:
    """A number and who makes it."""

    total: float
    unit_layer: str  # whose units share it
    units: NDArray[np.float64]  # (units of that layer,)
    places: NDArray[np.int64]  # (units,): flattened position that carries most of a unit, or `STRONGEST`
    units_rest: float  # total - units.sum()
    positions: NDArray[np.float64] | None  # (h, w); None where the feature is not linear in any map
    positions_rest: float  # total - positions.sum()


def share(
    network: Network,
    layer: str,
    view: View,
    feature: NDArray[np.float32],
    direction: NDArray[np.float64],
    origin: NDArray[np.float32] | float = 0.0,
    constant: float = 0.0,
) -> Shares:
    """Split ``(feature - origin) @ direction + constant``.

    Parameters
    ----------
    layer
        One of the bundle's, of which ``feature`` (D,) is what ``view`` gives.
    direction
        (D,).
    """
    products = (feature.astype(np.float64) - origin) * direction
    total = float(products.sum() + constant)
    shape = network.bundle.layers[layer].shape
    if len(shape) == 3:
        grid = products.reshape(shape)
        places = grid.reshape(len(grid), -1).argmax(axis=1)
        return Shares(total, layer, grid.sum(axis=(1, 2)), places, constant, grid.sum(axis=0), constant)
    unit_layer, units = layer, products
    if network.has_deconvnet and not network.can_project(layer) and (found := _parts(network, layer, view, axis=0)):
        unit_layer, units = found.source, found.values @ direction
    by_position = _parts(network, layer, view, axis=1)
    positions = None if by_position is None else (by_position.values @ direction).reshape(by_position.map)
    positions_rest = 0.0 if positions is None else total - float(positions.sum())
    places = np.full(len(units), STRONGEST)
    return Shares(total, unit_layer, units, places, total - float(units.sum()), positions, positions_rest)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A feature as a sum over the maps or the positions of a spatial layer, less what it is without any."""

    source: str
    map: tuple[int, ...]  # rows, columns
    values: NDArray[np.float64]  # (maps or positions, D)


def _parts(network: Network, layer: str, view: View, axis: int) -> _Parts | None:
    """Return the parts by map (axis 0) or by position (1) of the last spatial layer that ``layer`` is a sum over."""
    for source in _sources(network, layer):
        if (source, layer, axis) in network.not_linear:
            continue
        (maps,) = network.run((source,), view.tensor[np.newaxis])  # (1, C, h, w)
        tail = _Tail(network, source, layer, view, maps[0])
        size = maps[0].reshape(len(maps[0]), -1).shape[axis]
        try:
            none, half, other, whole = tail.run(_masks(axis, np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), size))
        except FailedPrecondition:  # the layer branches off before this one
            network.not_linear.add((source, layer, axis))
            continue
        if np.abs(half + other - none - whole).max() > _ADDITIVE * np.abs(whole).max():
            network.not_linear.add((source, layer, axis))
            continue
        values = [tail.run(rows) - none for rows in _single(axis, size)]
        return _Parts(source, maps.shape[2:], np.concatenate(values).astype(np.float64))
    return None


def _sources(network: Network, layer: str) -> list[str]:
    """Return the spatial layers of the manifest that see pictures as ``layer`` does, the last first."""
    return [name for name, one in network.bundle.layers.items() if len(one.shape) == 3 and name != layer][::-1]


@dataclass(frozen=True, slots=True)
class _Tail:
    """The network from a spatial layer on."""

    network: Network
    source: str
    layer: str
    view: View
    maps: NDArray[np.float32]  # (C, h, w)

    def run(self, masks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the feature (N, D) of the maps where ``masks``, which spread over (N, C, h * w), are 1."""
        flat = self.maps.reshape(len(self.maps), -1)
        given = (flat * masks).reshape(len(masks), *self.maps.shape)
        tensors = np.repeat(self.view.tensor[np.newaxis], len(masks), axis=0)  # asked for their size alone
        (found,) = self.network.run((self.layer,), tensors, {self.source: given}, inputs=(self.source,))
        return np.asarray(found, np.float32).reshape(len(masks), -1)


def _masks(axis: int, halves: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Return a mask a row of ``halves``: of every second map or position, the even ones and the odd."""
    rows = halves[:, np.arange(size) % 2].astype(np.float32)
    return np.expand_dims(rows, 2 - axis)


def _single(axis: int, size: int) -> Iterator[NDArray[np.float32]]:
    """Yield masks of one map or position each, `_BATCH` at a time."""
    for first in range(0, size, _BATCH):
        rows = np.eye(min(_BATCH, size - first), size, first, dtype=np.float32)
        yield np.expand_dims(rows, 2 - axis)
