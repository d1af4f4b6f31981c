from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class View(_message.Message):
    __slots__ = ("pixels", "left", "top", "right", "bottom")
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    pixels: _common_pb2.Tensor
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, pixels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("unit", "value", "y", "x", "left", "top", "right", "bottom")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    unit: int
    value: float
    y: int
    x: int
    left: int
    top: int
    right: int
    bottom: int
    def __init__(self, unit: _Optional[int] = ..., value: _Optional[float] = ..., y: _Optional[int] = ..., x: _Optional[int] = ..., left: _Optional[int] = ..., top: _Optional[int] = ..., right: _Optional[int] = ..., bottom: _Optional[int] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("place", "pixels")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    place: Place
    pixels: _common_pb2.Tensor
    def __init__(self, place: _Optional[_Union[Place, _Mapping]] = ..., pixels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ProjectUnitRequest(_message.Message):
    __slots__ = ("model", "layer", "image", "rule", "units", "positions", "strongest")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    STRONGEST_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    image: _common_pb2.Image
    rule: str
    units: _containers.RepeatedScalarFieldContainer[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    strongest: int
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., rule: _Optional[str] = ..., units: _Optional[_Iterable[int]] = ..., positions: _Optional[_Iterable[int]] = ..., strongest: _Optional[int] = ...) -> None: ...

class ProjectUnitResponse(_message.Message):
    __slots__ = ("view", "projections", "provenance", "timing")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    view: View
    projections: _containers.RepeatedCompositeFieldContainer[Projection]
    provenance: _common_pb2.Provenance
    timing: _common_pb2.Timing
    def __init__(self, view: _Optional[_Union[View, _Mapping]] = ..., projections: _Optional[_Iterable[_Union[Projection, _Mapping]]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class TopUnitsRequest(_message.Message):
    __slots__ = ("plan", "images")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    plan: TopPlan
    images: TopImages
    def __init__(self, plan: _Optional[_Union[TopPlan, _Mapping]] = ..., images: _Optional[_Union[TopImages, _Mapping]] = ...) -> None: ...

class TopPlan(_message.Message):
    __slots__ = ("model", "layer", "digests", "units")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    digests: bytes
    units: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., digests: _Optional[bytes] = ..., units: _Optional[_Iterable[int]] = ...) -> None: ...

class TopImages(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    def __init__(self, images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ...) -> None: ...

class TopUnitsResponse(_message.Message):
    __slots__ = ("n_done", "is_missing", "result")
    N_DONE_FIELD_NUMBER: _ClassVar[int]
    IS_MISSING_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    n_done: int
    is_missing: bool
    result: TopResult
    def __init__(self, n_done: _Optional[int] = ..., is_missing: bool = ..., result: _Optional[_Union[TopResult, _Mapping]] = ...) -> None: ...

class TopResult(_message.Message):
    __slots__ = ("units", "failed", "provenance", "timing")
    UNITS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    units: _containers.RepeatedCompositeFieldContainer[TopUnit]
    failed: _containers.RepeatedCompositeFieldContainer[FailedTopImage]
    provenance: _common_pb2.Provenance
    timing: _common_pb2.Timing
    def __init__(self, units: _Optional[_Iterable[_Union[TopUnit, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[FailedTopImage, _Mapping]]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class TopUnit(_message.Message):
    __slots__ = ("unit", "images")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    unit: int
    images: _containers.RepeatedCompositeFieldContainer[TopImage]
    def __init__(self, unit: _Optional[int] = ..., images: _Optional[_Iterable[_Union[TopImage, _Mapping]]] = ...) -> None: ...

class TopImage(_message.Message):
    __slots__ = ("index", "place")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    index: int
    place: Place
    def __init__(self, index: _Optional[int] = ..., place: _Optional[_Union[Place, _Mapping]] = ...) -> None: ...

class FailedTopImage(_message.Message):
    __slots__ = ("index", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    error: _common_pb2.ItemError
    def __init__(self, index: _Optional[int] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ExplainMatchRequest(_message.Message):
    __slots__ = ("model", "layer", "collection", "query", "neighbour", "strongest", "rule")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_FIELD_NUMBER: _ClassVar[int]
    STRONGEST_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    collection: str
    query: _common_pb2.Image
    neighbour: _common_pb2.Image
    strongest: int
    rule: str
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., collection: _Optional[str] = ..., query: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., neighbour: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., strongest: _Optional[int] = ..., rule: _Optional[str] = ...) -> None: ...

class ExplainMatchResponse(_message.Message):
    __slots__ = ("score", "unit_layer", "contributions", "rest", "query", "neighbour", "provenance", "timing")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    UNIT_LAYER_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    score: float
    unit_layer: str
    contributions: _common_pb2.Tensor
    rest: float
    query: MatchSide
    neighbour: MatchSide
    provenance: _common_pb2.Provenance
    timing: _common_pb2.Timing
    def __init__(self, score: _Optional[float] = ..., unit_layer: _Optional[str] = ..., contributions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., rest: _Optional[float] = ..., query: _Optional[_Union[MatchSide, _Mapping]] = ..., neighbour: _Optional[_Union[MatchSide, _Mapping]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class MatchSide(_message.Message):
    __slots__ = ("view", "positions", "positions_rest", "projections")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_REST_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    view: View
    positions: _common_pb2.Tensor
    positions_rest: float
    projections: _containers.RepeatedCompositeFieldContainer[Projection]
    def __init__(self, view: _Optional[_Union[View, _Mapping]] = ..., positions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., positions_rest: _Optional[float] = ..., projections: _Optional[_Iterable[_Union[Projection, _Mapping]]] = ...) -> None: ...

class ExplainClassRequest(_message.Message):
    __slots__ = ("head", "model", "label", "image", "strongest", "rule")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    STRONGEST_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    head: str
    model: str
    label: str
    image: _common_pb2.Image
    strongest: int
    rule: str
    def __init__(self, head: _Optional[str] = ..., model: _Optional[str] = ..., label: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., strongest: _Optional[int] = ..., rule: _Optional[str] = ...) -> None: ...

class ExplainClassResponse(_message.Message):
    __slots__ = ("label", "probability", "logit", "unit_layer", "contributions", "rest", "view", "positions", "positions_rest", "projections", "provenance", "head_version", "timing")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_LAYER_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_REST_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    logit: float
    unit_layer: str
    contributions: _common_pb2.Tensor
    rest: float
    view: View
    positions: _common_pb2.Tensor
    positions_rest: float
    projections: _containers.RepeatedCompositeFieldContainer[Projection]
    provenance: _common_pb2.Provenance
    head_version: int
    timing: _common_pb2.Timing
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ..., logit: _Optional[float] = ..., unit_layer: _Optional[str] = ..., contributions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., rest: _Optional[float] = ..., view: _Optional[_Union[View, _Mapping]] = ..., positions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., positions_rest: _Optional[float] = ..., projections: _Optional[_Iterable[_Union[Projection, _Mapping]]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., head_version: _Optional[int] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class OccludeRequest(_message.Message):
    __slots__ = ("head", "model", "label", "image", "square_px", "grid")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SQUARE_PX_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    head: str
    model: str
    label: str
    image: _common_pb2.Image
    square_px: int
    grid: int
    def __init__(self, head: _Optional[str] = ..., model: _Optional[str] = ..., label: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., square_px: _Optional[int] = ..., grid: _Optional[int] = ...) -> None: ...

class OccludeResponse(_message.Message):
    __slots__ = ("n_done", "result")
    N_DONE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    n_done: int
    result: Occlusion
    def __init__(self, n_done: _Optional[int] = ..., result: _Optional[_Union[Occlusion, _Mapping]] = ...) -> None: ...

class Occlusion(_message.Message):
    __slots__ = ("label", "probability", "view", "square_px", "probabilities", "best", "labels", "activity_layer", "activity_unit", "activities", "provenance", "head_version", "timing")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SQUARE_PX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_LAYER_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_UNIT_FIELD_NUMBER: _ClassVar[int]
    ACTIVITIES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    view: View
    square_px: int
    probabilities: _common_pb2.Tensor
    best: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    activity_layer: str
    activity_unit: int
    activities: _common_pb2.Tensor
    provenance: _common_pb2.Provenance
    head_version: int
    timing: _common_pb2.Timing
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ..., view: _Optional[_Union[View, _Mapping]] = ..., square_px: _Optional[int] = ..., probabilities: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., best: _Optional[_Iterable[int]] = ..., labels: _Optional[_Iterable[str]] = ..., activity_layer: _Optional[str] = ..., activity_unit: _Optional[int] = ..., activities: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., head_version: _Optional[int] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...
