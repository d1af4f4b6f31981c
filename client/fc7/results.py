"""What the methods of a client return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error
from fc7.measures import HeadMeasures, UnknownRule

Metric = Literal["cosine", "l2", "dot"]
UpsertStatus = Literal["added", "replaced", "skipped", "failed"]
UpdateStatus = Literal["updated", "skipped", "failed"]
LabelStatus = Literal["labelled", "skipped", "failed"]
Verdict = Literal["positive", "negative", "unsure"]


@dataclass(frozen=True, slots=True, repr=False)
class Provenance:
    """Which network and preprocessing made a feature. Features compare only if their digests are equal.

    Attributes
    ----------
    digest : str
        SHA-256 (hex) over all fields below except `model`.
    model : str
        Name of the model.
    graph_sha256 : str
        SHA-256 (hex) of the ONNX graph.
    recipe_sha256 : str
        SHA-256 (hex) of the preprocessing recipe.
    layer : str
        Name of the layer.
    transform : str
        Pooling, whitening or normalising after the layer; "none" if there is none.
    precision : str
        Number format of the computation, for example "fp32".
    """

    digest: str
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
    """An image that was left out.

    Attributes
    ----------
    index : int
        Position of the image in the caller's list.
    error : Fc7Error
        Why it was left out.
    """

    index: int
    error: Fc7Error


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


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall@10: how many of the ten nearest items the index of a collection finds.

    Attributes
    ----------
    value : float
        Share of the true neighbours that were found, 0 to 1.
    low, high : float
        Its 95 % interval (Wilson).
    queries : int
        Number of recent queries that were compared with exact search. 0 if the index compares every vector and cannot
        miss any.
    """

    value: float
    low: float
    high: float
    queries: int


@dataclass(repr=False, eq=False)
class CollectionFacts:
    """What the server last said about a collection.

    Attributes
    ----------
    name : str
        Name of the collection.
    count : int
        Number of items, as of the last answer.
    provenance : Provenance
        What made its features.
    metric : {"cosine", "l2", "dot"}
        How features are compared.
    dim : int
        Length of a feature.
    index : str
        "exact" or "rabitq".
    fault : str
        Why the collection was set aside; empty if it works.
    damaged : int
        Number of items that the server found damaged. Searches and lists leave them out, and adding such an item again
        repairs it.
    damaged_ids : list of str
        Their ids, as far as they can be read, at most 1000. A list of collections does not have them.
    versions : dict
        Versions of the libraries behind the newest items. Empty if they are not known, or in a list of collections.
    recall : Recall or None
        How many of the true neighbours recent queries have found. None if it was not measured, or in a list of
        collections.
    recall_target : float or None
        Recall that the collection asks of its index. None if none was set, or in a list of collections.
    """

    name: str
    count: int
    provenance: Provenance
    metric: Metric
    dim: int
    index: str
    fault: str
    damaged: int = field(default=0, kw_only=True)
    damaged_ids: list[str] = field(default_factory=list, kw_only=True)
    versions: dict[str, str] = field(default_factory=dict, kw_only=True)
    recall: Recall | None = field(default=None, kw_only=True)
    recall_target: float | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        known = f"{self.count} items, {self.metric}" if self.dim else "not asked for"
        state = f"damaged: {self.fault}" if self.fault else known
        return f"{type(self).__name__}({self.name!r}, {state})"


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome for one image or feature that was added.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"added", "replaced", "skipped", "failed"}
        "skipped" if the same bytes were stored under this id before.
    error : Fc7Error or None
        Why it failed. Nothing was written then.
    """

    id: str
    status: UpsertStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The outcome for one id that was removed.

    Attributes
    ----------
    id : str
        Id of the item.
    error : Fc7Error or None
        Why it could not be removed, for example `NotFound`.
    """

    id: str
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome for one item whose payload was changed.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"updated", "skipped", "failed"}
        "skipped" if the payload was already so.
    error : Fc7Error or None
        Why it failed, for example `NotFound`. Nothing was written then.
    """

    id: str
    status: UpdateStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A label record: who said what about which item, and when.

    Attributes
    ----------
    id : str
        Id of the item.
    label : str
        A line of 1 to 256 characters.
    verdict : {"positive", "negative", "unsure"}
        Whether the label fits the item, does not fit, or cannot be told.
    by : str
        Name of the person, or of the head, who says so. Empty if it is not known.
    head_version : int
        Version of the head; 0 for a person.
    time : str
        When, as ISO 8601. If it is empty in a new label, the server takes the current time.
    outdated : bool
        The item was replaced by another picture since. Set by the server.
    """

    id: str
    label: str
    verdict: Verdict = "positive"
    by: str = ""
    head_version: int = 0
    time: str = ""
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """The outcome for one label that was recorded.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"labelled", "skipped", "failed"}
        "skipped" if the newest record by the same author about this item and label says the same.
    error : Fc7Error or None
        Why it failed, for example `NotFound`. Nothing was written then.
    """

    id: str
    status: LabelStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class ItemMap:
    """Where the items of a collection lie in two dimensions.

    Attributes
    ----------
    ids : list of str
        Ids of the items.
    positions : NDArray[np.float32]
        (N, 2): along the two directions in which the features vary most.
    shares : tuple of float
        Share of the variance that each of the two explains.
    values : list
        Per item, its value of the field that was named; None if it has none of the 64 most frequent ones.
    """

    ids: list[str]
    positions: NDArray[np.float32]
    shares: tuple[float, float]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of a payload field occurs.

    Attributes
    ----------
    field : str
        The field.
    values : list of (value, int)
        Its most frequent values, the most frequent first, each with the number of items that have it. A value is text,
        a number or a boolean. Of a list, every element counts, once per item.
    count : int
        Number of items that have the field, and not null in it.
    left_out : int
        Number of different values beside `values`.
    uncounted : int
        Number of items with the field of which no value is counted: it is an object, or text of more than 256
        characters.
    """

    field: str
    values: list[tuple[Any, int]]
    count: int
    left_out: int
    uncounted: int


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Items that are the same or nearly so. Every pair of them is near enough.

    Attributes
    ----------
    ids : list of str
        Ids of the items, two or more, in the order in which they were first added.
    score : float
        Score of the least similar pair.
    same_content : bool
        Whether all items have the same bytes.
    """

    ids: list[str]
    score: float
    same_content: bool


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Item:
    """A stored item.

    Attributes
    ----------
    id : str
        Id of the item.
    payload : dict
        JSON object that the caller attached.
    content_sha256 : str
        SHA-256 (hex) of the image's or the feature's bytes.
    feature : NDArray[np.float32] or None
        (D,), as extracted. None if it was not asked for.
    """

    id: str
    payload: dict[str, Any]
    content_sha256: str
    feature: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        return f"Item({self.id!r}, {self.payload})"


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """One version of a classifier that was trained on a model's features.

    Attributes
    ----------
    name : str
        Name of the head.
    version : int
        Versions count from 1.
    published_version : int
        Version that `Client.classify` uses; 0 if none is published.
    provenance : Provenance
        What made the features that it was trained on.
    classes : list of str
        Its classes, sorted.
    count : int
        Number of pictures that it was trained on.
    accuracy : float
        Share of right answers on the held-out pictures.
    held_out : int
        Number of held-out pictures.
    method : str
        How the kept classifier was fitted.
    seconds : float
        How long the fit took.
    weights_sha256 : str
        SHA-256 (hex) of the weights file.
    created : str
        ISO 8601, UTC.
    parent_version : int
        Version that was trained before it; 0 if there was none.
    majority_accuracy : float or None
        Accuracy on the held-out pictures if the answer were always the largest class.
    failed : list of Failure
        Images that this training left out.
    measures : HeadMeasures or None
        How good it is on all its pictures. None for heads trained before release 0.3.
    warnings : list of str
        What to know before trusting the head; empty if there is nothing.
    source : str
        Where the training data came from, as the caller named it.
    unknown : UnknownRule or None
        How it tells pictures of none of its classes. None for a head of two classes, or trained before release 0.3.
    refuses_unknown : bool
        Whether the published version refuses such pictures.
    """

    name: str
    version: int
    published_version: int
    provenance: Provenance
    classes: list[str]
    count: int
    accuracy: float
    held_out: int
    method: str
    seconds: float
    weights_sha256: str
    created: str
    parent_version: int
    majority_accuracy: float | None = None
    failed: list[Failure] = field(default_factory=list)
    measures: HeadMeasures | None = None
    warnings: list[str] = field(default_factory=list)
    source: str = ""
    unknown: UnknownRule | None = None
    refuses_unknown: bool = False

    def __repr__(self) -> str:
        return f"Head({self.name!r} version {self.version}, {len(self.classes)} classes, accuracy {self.accuracy:.3f})"


@dataclass(frozen=True, slots=True, repr=False)
class Classification:
    """The classes of one image, or the reason why there are none.

    Attributes
    ----------
    top : list of (str, float)
        Label and probability, best first; empty if the image failed.
    error : Fc7Error or None
        Why the image failed.
    reason : str
        "unknown" if the head refuses the image, because it looks like none of its classes; otherwise empty.
    set : list of (str, float)
        With ``coverage``: the classes that hold the right one with that probability, best first.
    """

    top: list[tuple[str, float]]
    error: Fc7Error | None = None
    reason: str = ""
    set: list[tuple[str, float]] = field(default_factory=list)

    @property
    def label(self) -> str | None:
        """Best class; None if the head refuses the image. Raises the image's error if it failed."""
        label, _ = self._best()
        return None if self.reason else label

    @property
    def probability(self) -> float:
        """Probability of the best class, 0 to 1. Raises the image's error if it failed."""
        return self._best()[1]

    def _best(self) -> tuple[str, float]:
        if self.error is not None:
            raise self.error
        return self.top[0]

    def __repr__(self) -> str:
        if self.error:
            return f"Classification({self.error!r})"
        return f"Classification({self.reason or self.label} {self.probability:.3f})"


@dataclass(frozen=True, slots=True)
class ClassifiedItem:
    """The class of an item of a collection.

    Attributes
    ----------
    id : str
        Id of the item.
    label : str or None
        Its class; None if the head refuses it.
    probability : float
        Probability of the most probable class, 0 to 1.
    reason : str
        "unknown" if the head refuses the item, because it looks like none of its classes; otherwise empty.
    error : Fc7Error or None
        Why the class was not written. None if it was, or if nothing was to be written.
    """

    id: str
    label: str | None
    probability: float
    reason: str = ""
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item to label next.

    Attributes
    ----------
    id : str
        Id of the item.
    reason : str
        Why: "margin", "typical", "diverse" or "random".
    label : str or None
        What the head says; None if there is no head yet.
    probability : float or None
        Its probability, 0 to 1.
    """

    id: str
    reason: str
    label: str | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ServerInfo:
    """A server's versions, device, limits and data folder.

    Attributes
    ----------
    version : str
        Version of fc7.
    libraries : dict of str to str
        Versions of the libraries that compute and store.
    device : str
        Device that the server was told to use: "auto", "cpu" or "cuda".
    provider : str
        What runs the networks, for example "CPUExecutionProvider".
    threads : int
        Threads for networks.
    data : str
        The data folder.
    max_message_bytes : int
        Largest request or answer.
    models : list of str
        Names of its models, the default first.
    pid : int
        Process id.
    uptime_s : float
        Seconds since it started.
    telemetry : str
        "off", or why it is not certain that the libraries send no usage data.
    """

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
    telemetry: str

    def __repr__(self) -> str:
        return f"ServerInfo(fc7 {self.version}, {self.device}, models {' '.join(self.models)})"
