"""Models of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Layer:
    """One output of a model.

    Attributes
    ----------
    name : str
        For example "fc7" or "conv5_pooled".
    dim : int
        Length of the feature.
    shape : tuple of int
        Shape before flattening in C order.
    provenance_digest : str
        Digest of the provenance of this layer's features.
    transform : str
        Pooling, whitening or normalising; "none" if the layer is returned as the network gives it.
    recipe : dict
        Preprocessing of the images: the model's, or the layer's own.
    """

    name: str
    dim: int
    shape: tuple[int, ...]
    provenance_digest: str
    transform: str
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """A trained network that a server holds.

    Attributes
    ----------
    name : str
        Name by which calls choose it.
    network : str
        Architecture.
    layers : list of Layer
        Its outputs.
    recipe : dict
        Preprocessing of the images.
    graph_sha256 : str
        SHA-256 (hex) of the ONNX graph.
    classes : list of (str, str)
        Id and readable name of each class, in the order of the logits. Only `Client.model` fills it.
    card : str
        Model card, Markdown. Only `Client.model` fills it.
    provider : str
        What runs the model, for example "CPUExecutionProvider". Empty until the model is first used.
    default_layer : str
        Layer of calls that do not name one.
    recommended_layers : dict of str to str
        Task -> layer that the model's makers recommend for it: "views" (find altered copies of a picture), "classes"
        (tell classes apart). Empty if they recommend none.
    version : int
        Tells models of the same name apart. The server counts them from 1 since it started.
    running_calls : int
        Number of calls that used it when the server answered.
    """

    name: str
    network: str
    layers: list[Layer]
    recipe: dict[str, Any]
    graph_sha256: str
    classes: list[tuple[str, str]]
    card: str
    provider: str
    default_layer: str
    recommended_layers: dict[str, str] = field(default_factory=dict)
    version: int = 0
    running_calls: int = 0

    def __repr__(self) -> str:
        return f"Model({self.name}, layers {' '.join(layer.name for layer in self.layers)})"


@dataclass(frozen=True)
class ReloadedModel:
    """What became of a model that was reloaded.

    Attributes
    ----------
    model : Model
        The new version.
    old_version : int
        The version that it replaced.
    running_calls : int
        Number of calls that still use the old version. Its memory is given back when they have ended.
    """

    model: Model
    old_version: int
    running_calls: int


@dataclass(frozen=True, eq=False)
class GoldenFile:
    """An encoded picture, and one layer of it as computed where the model was exported.

    Attributes
    ----------
    encoded : bytes
        The file.
    layer : str
        Name of the layer.
    values : NDArray[np.float32]
        (D,).
    """

    encoded: bytes
    layer: str
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Golden:
    """Reference pictures of a model, and their features as computed where the model was exported.

    Attributes
    ----------
    pixels : NDArray[np.uint8]
        (N, H, W, 3), RGB.
    inputs : NDArray[np.float32]
        (N, 3, H, W): the input of the network.
    layers : dict of str to NDArray[np.float32]
        (N, D) for each layer.
    own_pixels : dict of str to NDArray[np.uint8]
        Pixels for layers with a recipe of their own, which replace `pixels` for them.
    files : dict of str to GoldenFile
        Encoded files by name. Empty for a bundle of release 0.1.
    """

    pixels: NDArray[np.uint8]
    inputs: NDArray[np.float32]
    layers: dict[str, NDArray[np.float32]]
    own_pixels: dict[str, NDArray[np.uint8]]
    files: dict[str, GoldenFile] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Golden({len(self.pixels)} images, layers {' '.join(self.layers)})"
