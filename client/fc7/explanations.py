"""What the methods of `client.explain` return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.results import Failure, Provenance


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class View:
    """The square of an image that the network saw."""

    pixels: NDArray[np.uint8]  # (P, P, 3), RGB
    crop: tuple[float, float, float, float]  # left, top, right, bottom as shares of the upright image

    def __repr__(self) -> str:
        return f"View({len(self.pixels)} px)"


@dataclass(frozen=True, slots=True)
class Place:
    """A unit at one position, and the part of the view that it sees."""

    unit: int  # map of a spatial layer, else number of the feature
    value: float  # activation there
    y: int  # row and column in the map; 0 where the layer has none
    x: int
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the view, cut at its edge


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Projection:
    """A unit and the pixels that made it fire."""

    place: Place
    pixels: NDArray[np.float32]  # (P, P, 3), unscaled

    def __repr__(self) -> str:
        return f"Projection({self.place})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Projections:
    """Units of one image, projected."""

    view: View
    projections: list[Projection]
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"Projections({len(self.projections)} units of {self.provenance.model} {self.provenance.layer})"


@dataclass(frozen=True, slots=True)
class TopImage:
    """An image that excites a unit."""

    index: int  # in the caller's list
    place: Place


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TopUnits:
    """The images that excite units most."""

    units: dict[int, list[TopImage]]  # at most nine a unit, strongest first; fewer where it is silent in the others
    failed: list[Failure]
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"TopUnits({len(self.units)} units of {self.provenance.model} {self.provenance.layer})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MatchSide:
    """One of the two images of a match."""

    view: View
    positions: NDArray[np.float32] | None  # (h, w): shares of the score; None where it cannot be split exactly
    positions_rest: float  # what is left of the score
    projections: list[Projection]  # of the units that carry most, in one order on both sides; empty: no deconvnet


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Match:
    """The cosine of two images, split."""

    score: float
    unit_layer: str  # whose units share it
    contributions: NDArray[np.float32]  # (units of that layer,); with `rest` their sum is the score
    rest: float
    query: MatchSide
    neighbour: MatchSide
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"Match({self.score:.4f} over {len(self.contributions)} units of {self.unit_layer})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ClassReason:
    """The logit of a class, split."""

    label: str
    probability: float
    logit: float
    unit_layer: str  # whose units share it
    contributions: NDArray[np.float32]  # (units of that layer,); with `rest` their sum is the logit
    rest: float
    view: View
    positions: NDArray[np.float32] | None  # (h, w): shares of the logit; None where it cannot be split exactly
    positions_rest: float
    projections: list[Projection]  # of the units that carry most; empty: no deconvnet
    provenance: Provenance
    head_version: int  # 0 for the network's own classes
    timing: Timing

    def __repr__(self) -> str:
        units = f"{len(self.contributions)} units of {self.unit_layer}"
        return f"ClassReason({self.label} {self.probability:.3f} over {units})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Occlusion:
    """What a network makes of an image with a grey square at each point of a grid."""

    label: str
    probability: float  # in the whole image
    view: View
    square_px: int  # side of the square in pixels of the view
    probabilities: NDArray[np.float32]  # (grid, grid): of the class
    best: NDArray[np.int64]  # (grid, grid): most probable class, an index of `labels`
    labels: list[str]
    activity_layer: str  # empty where the model has no spatial layer
    activity_unit: int  # its map that is strongest in the whole image
    activities: NDArray[np.float32] | None  # (grid, grid): sum of that map
    provenance: Provenance
    head_version: int  # 0 for the network's own classes
    timing: Timing

    def __repr__(self) -> str:
        low, high = float(self.probabilities.min()), float(self.probabilities.max())
        return f"Occlusion({self.label} {self.probability:.3f}, {low:.3f} to {high:.3f} under the square)"
