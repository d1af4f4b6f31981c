"""Split a number that is linear in a feature exactly over units and, if the network allows it, over positions.

A cosine and a logit are both ``(feature - origin) @ direction + constant``, so each number of the feature has its own
contribution. Some features are themselves linear in the maps of a spatial layer (mean pooling, whitening). Then the
contributions of maps and positions are exact too. They are computed by running the rest of the network on one part of
the maps at a time, which also shows whether the parts add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, Reason
from fc7_service.explain.deconvnet import STRONGEST_POSITION
from fc7_service.explain.network import Network
from fc7_service.explain.prepared_image import PreparedImage

_TOLERANCE = 1e-4  # relative to the largest summand: float32 sums differ by less, ReLU and maxima by more
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Contributions:
    """A number and the units and positions that it comes from."""

    total: float
    unit_layer: str  # layer of the units
    units: NDArray[np.float64]  # (units of that layer,)
    places: NDArray[np.int64]  # (units,): flattened position that contributes most to each, or `STRONGEST_POSITION`
    units_rest: float  # total - units.sum()
    positions: NDArray[np.float64] | None  # (rows, columns); None if the feature is not linear in any map
    positions_rest: float  # total - positions.sum()


def split_linear(
    network: Network,
    layer: str,
    view: PreparedImage,
    feature: NDArray[np.float32],
    direction: NDArray[np.float64],
    origin: NDArray[np.float32] | float = 0.0,
    constant: float = 0.0,
) -> Contributions:
    """Split ``(feature - origin) @ direction + constant``.

    Parameters
    ----------
    layer
        One of the bundle's layers; ``feature`` (D,) is its value for ``view``.
    direction
        (D,).
    """
    products = (feature.astype(np.float64) - origin) * direction
    total = float(products.sum() + constant)
    shape = network.bundle.layers[layer].shape
    if len(shape) == 3:
        grid = products.reshape(shape)
        places = grid.reshape(len(grid), -1).argmax(axis=1)
        return Contributions(total, layer, grid.sum(axis=(1, 2)), places, constant, grid.sum(axis=0), constant)
    unit_layer, units = layer, products
    sums, spatial = network.sums(layer), _spatial(network, layer)
    if network.has_deconvnet and not network.can_project(layer):
        for sources in [sums] if sums else [(name,) for name in spatial]:
            if by_map := _parts(network, layer, view, sources, axis=0):
                unit_layer, units = sources[0], np.sum(list(by_map.values()), axis=0) @ direction
                break
    by_position = _parts(network, layer, view, sums or network.reads(layer, spatial), axis=1)
    positions = None if by_position is None else _overlaid([maps @ direction for maps in by_position.values()])
    positions_rest = 0.0 if positions is None else total - float(positions.sum())
    places = np.full(len(units), STRONGEST_POSITION)
    return Contributions(total, unit_layer, units, places, total - float(units.sum()), positions, positions_rest)


def _parts(
    network: Network, layer: str, view: PreparedImage, sources: Sequence[str], axis: int
) -> dict[str, NDArray[np.float64]] | None:
    """Return what each map (axis 0) or position (axis 1) of some spatial layers adds to a feature.

    Parameters
    ----------
    sources
        Spatial layers from which ``layer`` is computed: several together, or one alone.

    Returns
    -------
    dict
        Source -> (maps, D) or (rows, columns, D); None if the parts do not add up, or if there is no source.

    Raises
    ------
    DataLoss
        The bundle names sources that are not maps of the same units.
    """
    key = (tuple(sources), layer, axis)
    if not sources or key in network.not_linear or not network.reads(layer, sources):
        return None
    maps = dict(zip(sources, network.run(sources, view.tensor[np.newaxis]), strict=True))  # (1, C, h, w) each
    are_maps = all(values.ndim == 4 for values in maps.values())
    if not are_maps or (axis == 0 and len({values.shape[1] for values in maps.values()}) > 1):
        raise DataLoss(
            f"{', '.join(sources)} of model {network.bundle.name!r} are not maps of the same units",
            name=layer,
            reason=Reason.BUNDLE_DAMAGED,
        )

    def feature(masked: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return features (N, D) for maps (N, C, h, w); sources that ``masked`` lacks are zero."""
        n = len(next(iter(masked.values())))
        given = {name: masked.get(name, np.zeros((n, *full.shape[1:]), np.float32)) for name, full in maps.items()}
        tensors = np.repeat(view.tensor[np.newaxis], n, axis=0)  # only their shape is used
        (values,) = network.run((layer,), tensors, given, inputs=sources)
        return np.asarray(values, np.float32).reshape(n, -1)

    def alone(source: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features (N, D) of one source, kept only where ``rows`` (N, maps or positions) are 1."""
        full = maps[source]
        mask = rows[:, :, None, None] if axis == 0 else rows.reshape(-1, 1, *full.shape[2:])
        return feature({source: full * mask})

    sizes = {name: full.shape[1] if axis == 0 else full.shape[2] * full.shape[3] for name, full in maps.items()}
    none, whole = feature({name: 0 * full for name, full in maps.items()}), feature(maps)
    halves = [alone(name, _halves(size)) for name, size in sizes.items()]
    largest = max(float(np.abs(values).max()) for values in (whole, none, *halves))
    is_sum = partial(np.allclose, whole, rtol=0, atol=_TOLERANCE * largest)
    parts = {}
    if is_sum(none + sum((half - none).sum(axis=0) for half in halves)):  # otherwise there is no need to try each part
        for name, size in sizes.items():
            parts[name] = np.concatenate([alone(name, rows) - none for rows in _single(size)]).astype(np.float64)
    if not parts or not is_sum(none + sum(part.sum(axis=0) for part in parts.values())):
        network.not_linear.add(key)
        return None
    return {
        name: part.reshape(*(maps[name].shape[2:] if axis else (-1,)), part.shape[1]) for name, part in parts.items()
    }


def _spatial(network: Network, layer: str) -> tuple[str, ...]:
    """Return the spatial layers of the manifest except ``layer``, first to last."""
    return tuple(name for name, other in network.bundle.layers.items() if len(other.shape) == 3 and name != layer)


def _halves(size: int) -> NDArray[np.float32]:
    """Return two rows of alternating ones and zeros, each the complement of the other."""
    return ((np.arange(size) + np.arange(2)[:, None]) % 2).astype(np.float32)


def _single(size: int) -> Iterator[NDArray[np.float32]]:
    """Yield rows that each hold a single 1, `_BATCH` rows at a time."""
    for first in range(0, size, _BATCH):
        yield np.eye(min(_BATCH, size - first), size, first, dtype=np.float32)


def _overlaid(maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the sum of contribution maps on the finest grid; a coarser map is spread evenly over its cells."""
    shape = max((grid.shape for grid in maps), key=lambda shape: shape[0] * shape[1])
    total = np.zeros(shape)
    for grid in maps:
        rows, columns = (np.arange(n) * m // n for n, m in zip(shape, grid.shape, strict=True))
        area = np.bincount(rows)[:, None] * np.bincount(columns)
        total += (grid / area)[np.ix_(rows, columns)]
    return total
