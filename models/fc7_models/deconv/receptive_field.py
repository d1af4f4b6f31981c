"""Compute receptive fields: which pixels a unit sees. The geometry of the steps is enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fc7_models.deconv.layer_chain import Step


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a layer see. Both axes have the same numbers.

    Unit ``i`` along an axis sees ``size`` pixels, from ``offset + i * stride`` on. Pixels outside the picture are
    padding. A stride of 0 stands for the whole picture and all units. Fully connected layers have it, and so do the
    cells of a grid, whose edges follow no stride. (A corner cell of ``alexnet-64`` sees 57 of 64 pixels along an axis.)
    """

    size: int
    stride: int
    offset: int  # first pixel that unit 0 sees: the left or upper edge, not the centre


def receptive_field(steps: Iterable[Step], px: int) -> Field:
    """Return the receptive field of the units at the end of ``steps``.

    Parameters
    ----------
    steps
        From the picture to the layer.
    px
        Height and width of the recipe's picture: the size of a field that is the whole picture.
    """
    size, stride, offset = 1, 1, 0
    for step in steps:
        if step.kind in ("global_pool", "grid_max_pool", "dense", "flatten"):
            return Field(px, 0, 0)
        size += (step.kernel - 1) * stride
        offset -= step.pads[0] * stride
        stride *= step.stride
    return Field(size, stride, offset)
