"""What the methods of `client.explain` return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.results import Failure, Provenance


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class View:
    """The square part of an image that the network saw.

    Attributes
    ----------
    pixels : NDArray[np.uint8]
        (P, P, 3), RGB.
    crop : tuple of float
        Left, top, right and bottom, as shares of the upright image.
    """

    pixels: NDArray[np.uint8]
    crop: tuple[float, float, float, float]

    def __repr__(self) -> str:
        return f"View({len(self.pixels)} px)"


@dataclass(frozen=True, slots=True)
class Place:
    """A unit at one position, and the part of the view that it sees.

    Attributes
    ----------
    unit : int
        Feature map of a spatial layer, otherwise position in the feature.
    value : float
        Activation.
    y : int
        Row in the feature map; 0 if the layer is not spatial.
    x : int
        Column in the feature map; 0 if the layer is not spatial.
    box : tuple of int
        Left, top, right and bottom in pixels of the view, clipped to it.
    """

    unit: int
    value: float
    y: int
    x: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Projection:
    """A unit, and the pixels that activated it.

    Attributes
    ----------
    place : Place
        The unit and where it is.
    pixels : NDArray[np.float32]
        (P, P, 3), not scaled: negative and positive values around 0.
    """

    place: Place
    pixels: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"Projection({self.place})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Projections:
    """Units of one image, projected to pixels.

    Attributes
    ----------
    view : View
        What the network saw.
    projections : list of Projection
        One per unit.
    provenance : Provenance
        What made the features.
    timing : Timing
        Where the time went, in seconds.
    """

    view: View
    projections: list[Projection]
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"Projections({len(self.projections)} units of {self.provenance.model} {self.provenance.layer})"


@dataclass(frozen=True, slots=True)
class TopImage:
    """An image that activates a unit strongly.

    Attributes
    ----------
    index : int
        Position of the image in the caller's list.
    place : Place
        Where in the image.
    """

    index: int
    place: Place


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TopUnits:
    """For each unit, the images that activate it most.

    Attributes
    ----------
    units : dict of int to list of TopImage
        At most nine images per unit, strongest first. Fewer if the unit is 0 in all others.
    failed : list of Failure
        Images that cannot be read.
    provenance : Provenance
        What made the features.
    timing : Timing
        Where the time went, in seconds.
    """

    units: dict[int, list[TopImage]]
    failed: list[Failure]
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"TopUnits({len(self.units)} units of {self.provenance.model} {self.provenance.layer})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MatchSide:
    """One of the two images of a match.

    Attributes
    ----------
    view : View
        What the network saw.
    positions : NDArray[np.float32] or None
        (h, w): share of the score per position. None if the layer does not allow an exact split.
    positions_rest : float
        The part of the score that belongs to no position.
    projections : list of Projection
        The units that contribute most, in the same order on both sides. Empty if the model has no deconvnet.
    """

    view: View
    positions: NDArray[np.float32] | None
    positions_rest: float
    projections: list[Projection]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Match:
    """The cosine similarity of two images, split into shares.

    Attributes
    ----------
    score : float
        Cosine similarity.
    unit_layer : str
        Layer whose units share the score.
    contributions : NDArray[np.float32]
        One share per unit of that layer. Together with `rest` they add up to the score.
    rest : float
        The part of the score that belongs to no unit.
    query : MatchSide
        The first image.
    neighbour : MatchSide
        The second image.
    provenance : Provenance
        What made the features.
    timing : Timing
        Where the time went, in seconds.
    """

    score: float
    unit_layer: str
    contributions: NDArray[np.float32]
    rest: float
    query: MatchSide
    neighbour: MatchSide
    provenance: Provenance
    timing: Timing

    def __repr__(self) -> str:
        return f"Match({self.score:.4f} over {len(self.contributions)} units of {self.unit_layer})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ClassReason:
    """The logit of a class, split into shares.

    Attributes
    ----------
    label : str
        The class.
    probability : float
        Probability of the class, 0 to 1.
    logit : float
        Value before the softmax.
    unit_layer : str
        Layer whose units share the logit.
    contributions : NDArray[np.float32]
        One share per unit of that layer. Together with `rest` they add up to the logit.
    rest : float
        The part of the logit that belongs to no unit.
    view : View
        What the network saw.
    positions : NDArray[np.float32] or None
        (h, w): share of the logit per position. None if the layer does not allow an exact split.
    positions_rest : float
        The part of the logit that belongs to no position.
    projections : list of Projection
        The units that contribute most, projected to pixels. Empty if the model has no deconvnet.
    provenance : Provenance
        What made the features.
    head_version : int
        Version of the head; 0 for the model's own classes.
    timing : Timing
        Where the time went, in seconds.
    """

    label: str
    probability: float
    logit: float
    unit_layer: str
    contributions: NDArray[np.float32]
    rest: float
    view: View
    positions: NDArray[np.float32] | None
    positions_rest: float
    projections: list[Projection]
    provenance: Provenance
    head_version: int
    timing: Timing

    def __repr__(self) -> str:
        units = f"{len(self.contributions)} units of {self.unit_layer}"
        return f"ClassReason({self.label} {self.probability:.3f} over {units})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Occlusion:
    """What a model answers while a grey square covers part of the image, at each point of a grid.

    Attributes
    ----------
    label : str
        The class that was watched.
    probability : float
        Probability of the class in the whole image.
    view : View
        What the network saw.
    square_px : int
        Side of the square in pixels of the view.
    probabilities : NDArray[np.float32]
        (grid, grid): probability of the class.
    best : NDArray[np.int64]
        (grid, grid): most probable class, as an index into `labels`.
    labels : list of str
        Names of the classes.
    activity_layer : str
        The last spatial layer; empty if the model has none.
    activity_unit : int
        The feature map of that layer that is strongest in the whole image.
    activities : NDArray[np.float32] or None
        (grid, grid): sum of that feature map.
    provenance : Provenance
        What made the features.
    head_version : int
        Version of the head; 0 for the model's own classes.
    timing : Timing
        Where the time went, in seconds.
    """

    label: str
    probability: float
    view: View
    square_px: int
    probabilities: NDArray[np.float32]
    best: NDArray[np.int64]
    labels: list[str]
    activity_layer: str
    activity_unit: int
    activities: NDArray[np.float32] | None
    provenance: Provenance
    head_version: int
    timing: Timing

    def __repr__(self) -> str:
        low, high = float(self.probabilities.min()), float(self.probabilities.max())
        return f"Occlusion({self.label} {self.probability:.3f}, {low:.3f} to {high:.3f} under the square)"
