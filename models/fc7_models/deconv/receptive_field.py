"""Receptive fields: which pixels a unit sees, from the layer table alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fc7_models.deconv.layer_chain import Step


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a layer see, the same along both axes.

    Unit ``i`` of an axis sees ``size`` pixels from ``offset + i * stride`` on; those beyond the picture are padding.
    A stride of 0 is the whole picture, for every unit: that of a fully connected layer, and of a cell of a grid, whose
    edges follow no stride (a corner cell of ``alexnet-64`` sees 57 of 64 px along each axis).
    """

    size: int
    stride: int
    offset: int  # first pixel of unit 0: its left or upper edge, not its centre


def receptive_field(steps: Iterable[Step], px: int) -> Field:
    """Return the field of the tensor that ``steps`` lead to.

    Parameters
    ----------
    steps
        From the picture to the tensor.
    px
        Height and width of the recipe's picture, the size of a field that is the whole picture.
    """
    size, stride, offset = 1, 1, 0
    for step in steps:
        if step.kind in ("global_pool", "grid_max_pool", "dense", "flatten"):
            return Field(px, 0, 0)
        size += (step.kernel - 1) * stride
        offset -= step.pads[0] * stride
        stride *= step.stride
    return Field(size, stride, offset)
