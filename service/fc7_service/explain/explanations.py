"""Why two images match, and why an image belongs to a class: a number, its split, and projections of the main units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition
from fc7_service.explain.classes import Classes
from fc7_service.explain.contributions import Contributions, split_linear
from fc7_service.explain.deconvnet import project_units
from fc7_service.explain.network import Network
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.explain.projection import Projection


@dataclass(frozen=True, slots=True)
class MatchSide:
    """One of the two images of a match."""

    view: PreparedImage
    contributions: Contributions
    projections: list[Projection]


@dataclass(frozen=True, slots=True)
class MatchExplanation:
    """A split cosine. The contributions of units are the mean of both sides, which differ if the feature sums maps."""

    score: float
    unit_layer: str
    units: NDArray[np.float64]
    rest: float
    query: MatchSide
    neighbour: MatchSide


@dataclass(frozen=True, slots=True)
class ClassExplanation:
    """A split logit."""

    label: str
    probability: float
    layer: str  # of the feature that is classified
    contributions: Contributions
    view: PreparedImage
    projections: list[Projection]


def explain_match(
    network: Network, layer: str, views: Sequence[PreparedImage], n_strongest: int, rule: str
) -> MatchExplanation:
    """Split the cosine of two images' features, and project the units that contribute most to it.

    Raises
    ------
    FailedPrecondition
        A feature is zero everywhere, so that it has no direction.
    """
    (values,) = network.run((layer,), np.stack([view.tensor for view in views]))
    features = np.asarray(values, np.float32).reshape(2, -1)
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    if not norms.all():
        raise FailedPrecondition(f"layer {layer!r} is zero for one of the images, so there is no cosine", name=layer)
    directions = features[::-1] / norms.prod()

    def split() -> tuple[Contributions, Contributions]:
        query, neighbour = (
            split_linear(network, layer, *side) for side in zip(views, features, directions, strict=True)
        )
        return query, neighbour

    shares = split()
    if shares[0].unit_layer != shares[1].unit_layer:  # the second split has shown that the maps do not add up
        shares = split()
    units = (shares[0].units + shares[1].units) / 2
    query, neighbour = (
        MatchSide(view, share, _project_strongest(network, share, units, view, n_strongest, rule))
        for view, share in zip(views, shares, strict=True)
    )
    score = shares[0].total
    return MatchExplanation(score, shares[0].unit_layer, units, score - float(units.sum()), query, neighbour)


def explain_class(
    network: Network, classes: Classes, label: str, view: PreparedImage, n_strongest: int, rule: str
) -> ClassExplanation:
    """Split the logit of a class (an empty label: the most probable), and project the units that contribute most.

    Parameters
    ----------
    classes
        Their ``linear`` must not be None.

    Raises
    ------
    NotFound, InvalidArgument
        There is no such class, or several classes have the label.
    """
    (values,) = network.run((classes.layer,), view.tensor[np.newaxis])
    feature = np.asarray(values, np.float32).reshape(-1)
    probabilities = classes.predict(feature[np.newaxis])[0]
    index = classes.index(label) if label else int(probabilities.argmax())
    linear = classes.linear
    assert linear is not None  # guaranteed by the caller
    direction, constant = linear.weights[:, index].astype(np.float64), float(linear.bias[index])
    shares = split_linear(network, classes.layer, view, feature, direction, linear.mean, constant)
    return ClassExplanation(
        label=classes.labels[index],
        probability=float(probabilities[index]),
        layer=classes.layer,
        contributions=shares,
        view=view,
        projections=_project_strongest(network, shares, shares.units, view, n_strongest, rule),
    )


def _project_strongest(
    network: Network, shares: Contributions, units: NDArray[np.float64], view: PreparedImage, count: int, rule: str
) -> list[Projection]:
    """Project the units that contribute most, the largest first; none if the network has no deconvnet."""
    if not network.can_project(shares.unit_layer):
        return []
    chosen = [int(unit) for unit in np.argsort(-units, kind="stable")[:count]]
    return project_units(network, shares.unit_layer, view, chosen, [int(shares.places[unit]) for unit in chosen], rule)
