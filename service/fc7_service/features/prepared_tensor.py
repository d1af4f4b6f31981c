"""A tensor that a caller has prepared as the network takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.bundle.recipe import Recipe


@dataclass(frozen=True, slots=True)
class PreparedTensor:
    """The tensor of one view, float32 (3, crop_px, crop_px), in place of an image."""

    values: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.values.nbytes

    def view(self, recipe: Recipe, n_views: int) -> NDArray[np.float32]:
        """Return the tensor as the only view, (1, 3, crop_px, crop_px).

        Raises
        ------
        InvalidArgument
            It has another shape than the recipe gives, several views are wanted, or a value is not finite.
        """
        wanted = (3, recipe.crop_px, recipe.crop_px)
        if self.values.shape != wanted or n_views != 1:
            raise InvalidArgument(
                f"a prepared tensor must have shape {wanted} and is one view (got {self.values.shape}, and {n_views} "
                "views)",
                name="image",
            )
        if not np.isfinite(self.values).all():
            raise InvalidArgument(
                "the tensor contains NaN or infinity. Send finite numbers", name="image", reason=Reason.INVALID_VECTOR
            )
        return self.values[np.newaxis]
