"""Project units of a layer to the pixels that made them fire, with the deconvnet of the bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.explain.network import DeconvLayer, Network
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.explain.projection import Projection

STRONGEST_POSITION = -1  # stands for the position at which the unit is strongest
MAX_UNITS = 64  # per call: their projections travel in one message
_BATCH = 9


def project_units(
    network: Network, layer: str, view: PreparedImage, units: Sequence[int], positions: Sequence[int], rule: str
) -> list[Projection]:
    """Project units of one image, one at a time: its activation is kept and the rest of the layer is set to zero.

    Parameters
    ----------
    units
        Maps of a spatial layer, or numbers of a flat feature.
    positions
        One per unit: row * width + column, or `STRONGEST_POSITION`.
    rule
        One of `RULES`.

    Raises
    ------
    InvalidArgument
        The layer does not have a unit or a position, or there are too many.
    FailedPrecondition, NotFound
        The network has no deconvnet, or its deconvnet does not reach this layer.

    References
    ----------
    Zeiler & Fergus 2013, section 2.1.
    """
    known = network.deconv_layer(layer)
    if len(units) > MAX_UNITS:
        raise InvalidArgument(f"one call may name at most {MAX_UNITS} units (got {len(units)})", name="units")
    if len(positions) != len(units):
        raise InvalidArgument(
            f"name one position per unit, or none (got {len(positions)} positions for {len(units)} units)",
            name="positions",
        )
    check_units(known, units)
    height, width = network.map_size(known, view.px)
    _check_positions(known, positions, height * width)
    projections: list[Projection] = []
    for first in range(0, len(units), _BATCH):
        part = slice(first, first + _BATCH)
        projections += _project(network, known, view, width, np.asarray(units[part]), np.asarray(positions[part]), rule)
    return projections


def strongest_units(network: Network, layer: str, view: PreparedImage, count: int) -> list[int]:
    """Return the ``count`` units with the largest activations anywhere, the largest first."""
    values, _ = peaks(network, layer, [view])
    return [int(unit) for unit in np.argsort(-values[0], kind="stable")[:count]]


def peaks(
    network: Network, layer: str, views: Sequence[PreparedImage]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the largest activation (N, C) of each unit in each image, and its position, row * width + column."""
    tensors = np.stack([view.tensor for view in views])
    if network.deconv_layer(layer).map is None:
        (values,) = network.run((layer,), tensors)
        return values, np.zeros(values.shape, np.int64)
    values, positions = network.run((f"peaks/{layer}", f"places/{layer}"), tensors)
    return values, positions


def check_units(layer: DeconvLayer, units: Sequence[int]) -> None:
    """Refuse units that a layer does not have.

    Raises
    ------
    InvalidArgument
        A unit is out of range.
    """
    for unit in units:
        if not 0 <= unit < layer.channels:
            raise InvalidArgument(
                f"units of layer {layer.name!r} are 0 to {layer.channels - 1} (got {unit})", name="units"
            )


def _check_positions(layer: DeconvLayer, positions: Sequence[int], n_places: int) -> None:
    for position in positions:
        if not STRONGEST_POSITION <= position < n_places:
            raise InvalidArgument(
                f"positions of layer {layer.name!r} are 0 to {n_places - 1}, or {STRONGEST_POSITION} for the strongest "
                f"(got {position})",
                name="positions",
            )


def _project(
    network: Network,
    layer: DeconvLayer,
    view: PreparedImage,
    width: int,
    units: NDArray[np.int64],
    positions: NDArray[np.int64],
    rule: str,
) -> list[Projection]:
    """Project a batch of units of a layer whose maps have ``width`` columns."""
    pixels, values, places = network.run(
        [f"{output}/{layer.name}" for output in (f"pixels/{rule}", "value", "place")],
        np.repeat(view.tensor[np.newaxis], len(units), axis=0),
        {"unit": units, "position": positions},
    )
    return [
        Projection(
            layer.place(int(unit), divmod(int(place), width), float(value), view.px),
            np.ascontiguousarray(signal.transpose(1, 2, 0), np.float32),
        )
        for unit, place, value, signal in zip(units, places, values, pixels, strict=True)
    ]
