"""Try a network out before it is served."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from fc7.contract.golden import TOLERANCE
from fc7.errors import DataLoss, Fc7Error, Reason
from fc7_service.bundle.golden import read_golden
from fc7_service.features.extractor import Extractor
from fc7_service.served.served_model import ServedModel


async def try_out(extractor: Extractor, model: ServedModel) -> None:
    """Load a network, compare the features of its golden images with its golden values, and warm it up.

    The images wait for their turn among those of other callers. The caller has acquired the network.

    Raises
    ------
    FailedPrecondition
        The device cannot be had.
    DataLoss
        A file is damaged, or a layer differs by more than `TOLERANCE` of its largest golden value.
    """
    bundle = model.bundle
    golden = await asyncio.to_thread(read_golden, bundle)
    for layer, wanted in golden.layers.items():
        images = list(golden.own_pixels.get(layer, golden.pixels))
        found = await extractor.extract_with(model, bundle, images, layer=layer, can_wait=True)
        values = np.stack([_values(row) for row in found.rows])
        difference, limit = float(np.abs(values - wanted).max()), TOLERANCE * float(np.abs(wanted).max())
        if not difference <= limit:  # a NaN is not
            raise DataLoss(
                f"layer {layer!r} of bundle {bundle.name!r} differs by {difference:.2g} from its golden values; the "
                f"limit is {limit:.2g}. Get the bundle again, or check with fc7 model verify",
                name=layer,
                reason=Reason.GOLDEN_MISMATCH,
            )
    await extractor.warm_up_model(model)


def _values(row: NDArray[np.float32] | Fc7Error) -> NDArray[np.float32]:
    """Return the feature (D,) of an image's only view."""
    if isinstance(row, Fc7Error):
        raise row
    (view,) = row
    return np.asarray(view)
