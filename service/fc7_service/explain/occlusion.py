"""Move a grey square over an image, and let the network classify each covered image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason, ResourceExhausted
from fc7_service.explain.classes import Classes
from fc7_service.explain.network import Network
from fc7_service.explain.prepared_image import PreparedImage

BATCH = 32
_GRID, _MAX_GRID = 20, 64  # positions along each side
_MOST_PIXELS = 24 * 2**20  # of all images of a sweep: about 10 s on one slow core


@dataclass(slots=True)
class OcclusionSweep:
    """A sweep in progress. View 0 is the uncovered image; the others follow row by row.

    Parameters
    ----------
    label
        Class to watch; empty for the most probable class of the uncovered image.
    square_px
        Side of the square in px; 0 for a quarter of the image.
    grid
        Positions along each side; 0 for 20.

    Raises
    ------
    InvalidArgument
        The square or the grid is out of range, or several classes have the label.
    NotFound
        There is no such class.
    ResourceExhausted
        The sweep needs more views of this size than one call may ask for.

    References
    ----------
    Zeiler & Fergus 2013, section 4.2 and figure 7.
    """

    network: Network
    classes: Classes
    label: str
    view: PreparedImage
    square_px: int
    grid: int
    activity_layer: str = ""
    probabilities: list[NDArray[np.float32]] = field(default_factory=list)  # (N, classes) per batch
    activities: list[NDArray[np.float32]] = field(default_factory=list)  # (N, maps) per batch

    def __post_init__(self) -> None:
        px = self.view.px
        self.square_px = self.square_px or max(1, px // 4)
        self.grid = self.grid or _GRID
        if not 1 <= self.square_px <= px:
            raise InvalidArgument(
                f"square_px must be 1 to {px}, the side of the image (got {self.square_px})", name="square_px"
            )
        if not 2 <= self.grid <= _MAX_GRID:
            raise InvalidArgument(f"grid must be 2 to {_MAX_GRID} (got {self.grid})", name="grid")
        most = max(_MOST_PIXELS // px**2, 1 + _GRID**2)
        if self.n_views > most:
            raise ResourceExhausted(
                f"grid must be at most {isqrt(most - 1)} for images of {px} x {px} pixels (got {self.grid}, which "
                f"needs {self.n_views} views)",
                name="grid",
                reason=Reason.WORK_TOO_LARGE,
            )
        if self.label:
            self.classes.index(self.label)
        spatial = [name for name, layer in self.network.bundle.layers.items() if len(layer.shape) == 3]
        self.activity_layer = "conv5" if "conv5" in spatial else (spatial or [""])[-1]

    @property
    def n_views(self) -> int:
        """How many views there are, including the uncovered image."""
        return 1 + self.grid**2

    @property
    def n_done(self) -> int:
        """How many views are computed."""
        return sum(map(len, self.probabilities))

    def run(self, first: int) -> None:
        """Compute a batch of views."""
        tensors = np.repeat(self.view.tensor[np.newaxis], min(BATCH, self.n_views - first), axis=0)
        for tensor, number in zip(tensors, range(first, self.n_views), strict=False):
            if number:
                self._cover(tensor, *divmod(number - 1, self.grid))
        outputs = [self.classes.layer, *([self.activity_layer] if self.activity_layer else [])]
        values = self.network.run(tuple(dict.fromkeys(outputs)), tensors)
        self.probabilities.append(self.classes.predict(np.asarray(values[0], np.float32).reshape(len(tensors), -1)))
        if self.activity_layer:
            self.activities.append(values[-1].sum(axis=(2, 3)))

    def _cover(self, tensor: NDArray[np.float32], row: int, column: int) -> None:
        """Cover the square around a point of the grid with grey: 0 is the mean that the recipe subtracts."""
        centres = ((np.array([row, column]) + 0.5) * self.view.px / self.grid).astype(int)
        top, left = np.maximum(centres - self.square_px // 2, 0)
        bottom, right = centres - self.square_px // 2 + self.square_px
        tensor[:, top:bottom, left:right] = 0


@dataclass(frozen=True, slots=True)
class Occlusion:
    """The result of a sweep; each map is (grid, grid)."""

    class_index: int
    probability: float  # in the uncovered image
    probabilities: NDArray[np.float32]
    best: NDArray[np.int64]  # most probable class
    activity_unit: int
    activities: NDArray[np.float32] | None  # sum of the map that is strongest in the uncovered image


def read_maps(sweep: OcclusionSweep) -> Occlusion:
    """Return the maps of a finished sweep."""
    probabilities = np.concatenate(sweep.probabilities)
    index = sweep.classes.index(sweep.label) if sweep.label else int(probabilities[0].argmax())
    square = (sweep.grid, sweep.grid)
    unit, activities = 0, None
    if sweep.activity_layer:
        sums = np.concatenate(sweep.activities)
        unit = int(sums[0].argmax())
        activities = sums[1:, unit].reshape(square).astype(np.float32)
    return Occlusion(
        class_index=index,
        probability=float(probabilities[0, index]),
        probabilities=probabilities[1:, index].reshape(square),
        best=probabilities[1:].argmax(axis=1).reshape(square),
        activity_unit=unit,
        activities=activities,
    )


def labels_of(best: NDArray[np.int64], labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return ``best`` (class numbers) as indices into the labels that occur in it, and those labels."""
    kinds, numbers = np.unique(best, return_inverse=True)
    return [int(i) for i in numbers.ravel()], [labels[i] for i in kinds]
