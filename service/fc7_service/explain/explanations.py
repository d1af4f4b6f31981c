"""Why two pictures match, and why a picture is of a class: the split number beside the units that carry most of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition
from fc7_service.explain.classes import Classes
from fc7_service.explain.contributions import Shares, share
from fc7_service.explain.deconvnet import project
from fc7_service.explain.network import Network
from fc7_service.explain.prepared_image import Projection, View


@dataclass(frozen=True, slots=True)
class Side:
    """One picture of a match."""

    view: View
    shares: Shares
    projections: list[Projection]


@dataclass(frozen=True, slots=True)
class Match:
    """A cosine, split; shares of units are the mean of both sides', which differ where the feature is a sum of maps."""

    score: float
    unit_layer: str
    units: NDArray[np.float64]
    rest: float
    query: Side
    neighbour: Side


@dataclass(frozen=True, slots=True)
class ClassReason:
    """A logit, split."""

    label: str
    probability: float
    layer: str  # whose feature is classified
    shares: Shares
    view: View
    projections: list[Projection]


def match(network: Network, layer: str, views: Sequence[View], n_strongest: int, rule: str) -> Match:
    """Split the cosine of two pictures' features; project the units that carry most in both.

    Raises
    ------
    FailedPrecondition
        A feature is zero everywhere: it has no direction.
    """
    (found,) = network.run((layer,), np.stack([view.tensor for view in views]))
    features = np.asarray(found, np.float32).reshape(2, -1)
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    if not norms.all():
        raise FailedPrecondition(f"layer {layer!r} is zero for one of the images: there is no cosine", name=layer)
    directions = features[::-1] / norms.prod()

    def split() -> tuple[Shares, Shares]:
        one, other = (share(network, layer, *rest) for rest in zip(views, features, directions, strict=True))
        return one, other

    shares = split()
    if shares[0].unit_layer != shares[1].unit_layer:  # the second showed that the maps do not add up
        shares = split()
    units = (shares[0].units + shares[1].units) / 2
    query, neighbour = (
        Side(view, one, _carriers(network, one, units, view, n_strongest, rule))
        for view, one in zip(views, shares, strict=True)
    )
    score = shares[0].total
    return Match(score, shares[0].unit_layer, units, score - float(units.sum()), query, neighbour)


def carry(network: Network, classes: Classes, label: str, view: View, n_strongest: int, rule: str) -> ClassReason:
    """Split the logit of a class, the most probable one for an empty label; project the units that carry most.

    Parameters
    ----------
    classes
        With their weights.

    Raises
    ------
    NotFound, InvalidArgument
        No such class, or several of the label.
    """
    (found,) = network.run((classes.layer,), view.tensor[np.newaxis])
    feature = np.asarray(found, np.float32).reshape(-1)
    probabilities = classes.predict(feature[np.newaxis])[0]
    index = classes.index(label) if label else int(probabilities.argmax())
    linear = classes.linear
    assert linear is not None  # the caller has seen to it
    direction, constant = linear.weights[:, index].astype(np.float64), float(linear.bias[index])
    shares = share(network, classes.layer, view, feature, direction, linear.mean, constant)
    return ClassReason(
        label=classes.labels[index],
        probability=float(probabilities[index]),
        layer=classes.layer,
        shares=shares,
        view=view,
        projections=_carriers(network, shares, shares.units, view, n_strongest, rule),
    )


def _carriers(
    network: Network, shares: Shares, units: NDArray[np.float64], view: View, count: int, rule: str
) -> list[Projection]:
    """Project the units with the largest shares, the largest first; none where the network has no deconvnet."""
    if not network.can_project(shares.unit_layer):
        return []
    chosen = [int(unit) for unit in np.argsort(-units, kind="stable")[:count]]
    return project(network, shares.unit_layer, view, chosen, [int(shares.places[unit]) for unit in chosen], rule)
