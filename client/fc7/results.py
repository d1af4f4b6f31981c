"""What the client's methods return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error

Metric = Literal["cosine", "l2", "dot"]
UpsertStatus = Literal["added", "replaced", "skipped", "failed"]


@dataclass(frozen=True, slots=True, repr=False)
class Provenance:
    """Which network and preprocessing made a feature; features compare only when their digests are equal."""

    digest: str  # SHA-256 (hex) over all fields below but `model`
    model: str
    graph_sha256: str
    recipe_sha256: str
    layer: str
    transform: str
    precision: str

    def to_dict(self) -> dict[str, str]:
        """Return all fields, for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"Provenance({self.model} {self.layer}, {self.digest[:12]})"


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that was left out."""

    index: int  # in the caller's list
    error: Fc7Error


@dataclass(frozen=True, slots=True)
class Layer:
    """One output of a network."""

    name: str
    dim: int  # length of the feature
    shape: tuple[int, ...]  # before flattening in C order
    provenance_digest: str
    transform: str  # pooling, whitening or normalising that makes it; "none" for a layer as the network gives it
    recipe: dict[str, Any]  # preprocessing: the model's, or its own


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """A trained network that a server holds."""

    name: str
    network: str
    layers: list[Layer]
    recipe: dict[str, Any]  # preprocessing
    graph_sha256: str
    classes: list[tuple[str, str]]  # (id, readable name), in the order of the logits
    card: str  # Markdown
    provider: str  # empty until first used
    default_layer: str  # meant where a call names none

    def __repr__(self) -> str:
        return f"Model({self.name}, layers {' '.join(layer.name for layer in self.layers)})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Golden:
    """Pictures and what the network made of them where it was exported."""

    pixels: NDArray[np.uint8]  # (N, H, W, 3)
    inputs: NDArray[np.float32]  # (N, 3, H, W)
    layers: dict[str, NDArray[np.float32]]  # (N, D) each
    own_pixels: dict[str, NDArray[np.uint8]]  # in place of `pixels` for layers with a recipe of their own

    def __repr__(self) -> str:
        return f"Golden({len(self.pixels)} images, layers {' '.join(self.layers)})"


@dataclass(repr=False, eq=False)
class CollectionFacts:
    """What is known of a collection; `count` as of the last answer about it."""

    name: str
    count: int
    provenance: Provenance
    metric: Metric
    dim: int
    index: str  # "exact" or "rabitq"
    fault: str  # empty while it serves

    def __repr__(self) -> str:
        known = f"{self.count} items, {self.metric}" if self.dim else "not asked for"
        state = f"damaged: {self.fault}" if self.fault else known
        return f"{type(self).__name__}({self.name!r}, {state})"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one image or vector that was added."""

    id: str
    status: UpsertStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of one id that was to be removed."""

    id: str
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Item:
    """A stored item."""

    id: str
    payload: dict[str, Any]
    content_sha256: str  # of the image's or the vector's bytes, hex
    feature: NDArray[np.float32] | None = None  # (D,), raw; where asked for

    def __repr__(self) -> str:
        return f"Item({self.id!r}, {self.payload})"


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour; a larger score is nearer."""

    id: str
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """One version of a retrained softmax head."""

    name: str
    version: int
    published_version: int  # 0 where none is published
    provenance: Provenance
    classes: list[str]
    count: int  # rows it was trained on
    accuracy: float  # on the held-out rows
    held_out: int
    method: str
    seconds: float
    weights_sha256: str
    created: str  # ISO 8601, UTC
    parent_version: int
    majority_accuracy: float | None = None  # of always answering the largest class, on the held-out rows
    failed: list[Failure] = field(default_factory=list)  # images left out of this training

    def __repr__(self) -> str:
        return f"Head({self.name!r} version {self.version}, {len(self.classes)} classes, accuracy {self.accuracy:.3f})"


@dataclass(frozen=True, slots=True, repr=False)
class Classification:
    """The classes of one image, or why there are none."""

    top: list[tuple[str, float]]  # (label, probability), best first; empty where it failed
    error: Fc7Error | None = None

    @property
    def label(self) -> str:
        """Best class; raises the image's error where it failed."""
        return self._best()[0]

    @property
    def probability(self) -> float:
        """Probability of the best class; raises the image's error where it failed."""
        return self._best()[1]

    def _best(self) -> tuple[str, float]:
        if self.error is not None:
            raise self.error
        return self.top[0]

    def __repr__(self) -> str:
        return (
            f"Classification({self.error!r})" if self.error else f"Classification({self.label} {self.probability:.3f})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class ServerInfo:
    """What a server is."""

    version: str
    libraries: dict[str, str]
    device: str
    provider: str
    threads: int
    data: str
    max_message_bytes: int
    models: list[str]
    pid: int
    uptime_s: float
    telemetry: str  # "off", or why it is not certain that the server's libraries send nothing about their use

    def __repr__(self) -> str:
        return f"ServerInfo(fc7 {self.version}, {self.device}, models {' '.join(self.models)})"
