"""The classes of a network or of a head: a softmax over logits that are linear in a layer's feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import FailedPrecondition, InvalidArgument, NotFound, Reason
from fc7_service.bundle.softmax import softmax
from fc7_service.explain.network import Network

_BATCH = 256
_LINEAR = 1e-4  # of the largest logit


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """Logits (N, C) of features (N, D): ``(features - mean) @ weights + bias``."""

    mean: NDArray[np.float32]  # (D,)
    weights: NDArray[np.float32]  # (D, C)
    bias: NDArray[np.float32]  # (C,)


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes that an explanation is about, and how they are predicted."""

    layer: str  # of the features that are classified
    labels: tuple[str, ...]
    linear: LinearLayer | None = None  # None if the layer holds the logits
    head_version: int = 0  # 0 for the network's own classes
    ids: tuple[str, ...] = ()  # of the network's own classes

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (N, C) of features (N, D)."""
        logits: NDArray[np.floating[Any]] = features
        if self.linear is not None:
            logits = (features - self.linear.mean) @ self.linear.weights + self.linear.bias
        return softmax(np.asarray(logits, np.float32))

    def index(self, label: str) -> int:
        """Return the number of the class with a label or an id.

        Raises
        ------
        NotFound
            There is no such class; some of those that exist are named.
        InvalidArgument
            Several classes have the label; their ids are named.
        """
        if self.labels.count(label) > 1:
            ids = ", ".join(id_ for id_, own in zip(self.ids, self.labels, strict=True) if own == label)
            raise InvalidArgument(f"several classes are called {label[:64]!r}. Use one of the ids {ids}", name="label")
        if label not in self.labels and label in self.ids:
            return self.ids.index(label)
        if label not in self.labels:
            known = ", ".join(self.labels[:10]) + (", ..." if len(self.labels) > 10 else "")
            raise NotFound(
                f"there is no class {label[:64]!r}. The {len(self.labels)} classes are: {known}",
                name=label[:64],
                reason=Reason.CLASS_NOT_FOUND,
            )
        return self.labels.index(label)


def network_classes(network: Network) -> Classes:
    """Return a network's own classes over its logits.

    Raises
    ------
    FailedPrecondition
        The network has no classes.
    """
    classes = network.bundle.classes
    labels, ids = tuple(c.name for c in classes), tuple(c.id for c in classes)
    if "logits" not in network.bundle.layers or not labels:
        raise FailedPrecondition(
            f"model {network.bundle.name!r} has no classes. Name a head",
            name=network.bundle.name,
            reason=Reason.NO_CLASSES,
        )
    return Classes("logits", labels, ids=ids)


def classes_of_last_layer(network: Network, classes: Classes) -> Classes:
    """Return a network's own classes as a linear function of the last layer before the logits.

    The weights are measured: the rest of the network is run on one unit vector after another.

    Raises
    ------
    FailedPrecondition
        The logits are not linear in any layer that the bundle names.
    """
    layers = network.bundle.layers
    px = network.bundle.recipe.crop_px
    image = np.zeros((1, 3, px, px), np.float32)  # only its shape is used

    def logits(layer: str, features: NDArray[np.float32]) -> NDArray[np.float32]:
        (values,) = network.run(("logits",), image, {layer: features}, inputs=(layer,))
        return np.asarray(values, np.float32)

    flat_layers = [name for name, layer in layers.items() if len(layer.shape) == 1 and name != "logits"]
    for layer in reversed(flat_layers):
        dim = layers[layer].dim
        probe = np.abs(np.random.default_rng(0).standard_normal((1, dim))).astype(np.float32)
        try:
            bias, expected = logits(layer, np.zeros((1, dim), np.float32))[0], logits(layer, probe)[0]
        except FailedPrecondition:  # the logits are not computed from this layer
            continue
        rows = (np.eye(min(_BATCH, dim - first), dim, first, np.float32) for first in range(0, dim, _BATCH))
        weights = np.concatenate([logits(layer, row) - bias for row in rows])
        if np.abs(probe[0] @ weights + bias - expected).max() <= _LINEAR * np.abs(expected).max():
            return replace(classes, layer=layer, linear=LinearLayer(np.zeros(dim, np.float32), weights, bias))
    raise FailedPrecondition(
        f"the logits of model {network.bundle.name!r} are not linear in any layer of its bundle. Train a head on one",
        name=network.bundle.name,
    )
