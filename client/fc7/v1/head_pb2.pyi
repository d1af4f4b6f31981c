from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Head(_message.Message):
    __slots__ = ("name", "version", "published_version", "provenance", "classes", "count", "accuracy", "held_out", "method", "seconds", "weights_sha256", "created", "parent_version", "majority_accuracy", "measures", "warnings", "source", "unknown", "refuses_unknown")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PARENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSES_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    published_version: int
    provenance: _common_pb2.Provenance
    classes: _containers.RepeatedScalarFieldContainer[str]
    count: int
    accuracy: float
    held_out: int
    method: str
    seconds: float
    weights_sha256: str
    created: str
    parent_version: int
    majority_accuracy: float
    measures: HeadMeasures
    warnings: _containers.RepeatedScalarFieldContainer[str]
    source: str
    unknown: UnknownRule
    refuses_unknown: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., published_version: _Optional[int] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., accuracy: _Optional[float] = ..., held_out: _Optional[int] = ..., method: _Optional[str] = ..., seconds: _Optional[float] = ..., weights_sha256: _Optional[str] = ..., created: _Optional[str] = ..., parent_version: _Optional[int] = ..., majority_accuracy: _Optional[float] = ..., measures: _Optional[_Union[HeadMeasures, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., source: _Optional[str] = ..., unknown: _Optional[_Union[UnknownRule, _Mapping]] = ..., refuses_unknown: bool = ...) -> None: ...

class UnknownRule(_message.Message):
    __slots__ = ("score", "threshold", "known_kept", "unknown_refused", "scores")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    KNOWN_KEPT_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_REFUSED_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    score: str
    threshold: float
    known_kept: float
    unknown_refused: float
    scores: _containers.RepeatedCompositeFieldContainer[UnknownScore]
    def __init__(self, score: _Optional[str] = ..., threshold: _Optional[float] = ..., known_kept: _Optional[float] = ..., unknown_refused: _Optional[float] = ..., scores: _Optional[_Iterable[_Union[UnknownScore, _Mapping]]] = ...) -> None: ...

class UnknownScore(_message.Message):
    __slots__ = ("name", "unknown_refused", "auroc")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_REFUSED_FIELD_NUMBER: _ClassVar[int]
    AUROC_FIELD_NUMBER: _ClassVar[int]
    name: str
    unknown_refused: float
    auroc: float
    def __init__(self, name: _Optional[str] = ..., unknown_refused: _Optional[float] = ..., auroc: _Optional[float] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class HeadMeasures(_message.Message):
    __slots__ = ("count", "accuracy", "balanced_accuracy", "top5", "log_loss", "calibration_error", "majority_label", "majority_accuracy", "majority_p")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    BALANCED_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    TOP5_FIELD_NUMBER: _ClassVar[int]
    LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_LABEL_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_P_FIELD_NUMBER: _ClassVar[int]
    count: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    top5: Estimate
    log_loss: Estimate
    calibration_error: Estimate
    majority_label: str
    majority_accuracy: float
    majority_p: float
    def __init__(self, count: _Optional[int] = ..., accuracy: _Optional[_Union[Estimate, _Mapping]] = ..., balanced_accuracy: _Optional[_Union[Estimate, _Mapping]] = ..., top5: _Optional[_Union[Estimate, _Mapping]] = ..., log_loss: _Optional[_Union[Estimate, _Mapping]] = ..., calibration_error: _Optional[_Union[Estimate, _Mapping]] = ..., majority_label: _Optional[str] = ..., majority_accuracy: _Optional[float] = ..., majority_p: _Optional[float] = ...) -> None: ...

class TrainHeadRequest(_message.Message):
    __slots__ = ("plan", "images", "features")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    plan: HeadPlan
    images: LabelledImages
    features: LabelledFeatures
    def __init__(self, plan: _Optional[_Union[HeadPlan, _Mapping]] = ..., images: _Optional[_Union[LabelledImages, _Mapping]] = ..., features: _Optional[_Union[LabelledFeatures, _Mapping]] = ...) -> None: ...

class HeadPlan(_message.Message):
    __slots__ = ("name", "collection", "label_field", "model", "layer", "provenance", "source", "from_records", "group_field", "instant", "balanced")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FROM_RECORDS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_FIELD_NUMBER: _ClassVar[int]
    INSTANT_FIELD_NUMBER: _ClassVar[int]
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    label_field: str
    model: str
    layer: str
    provenance: _common_pb2.Provenance
    source: str
    from_records: bool
    group_field: str
    instant: bool
    balanced: bool
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., label_field: _Optional[str] = ..., model: _Optional[str] = ..., layer: _Optional[str] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., source: _Optional[str] = ..., from_records: bool = ..., group_field: _Optional[str] = ..., instant: bool = ..., balanced: bool = ...) -> None: ...

class LabelledImages(_message.Message):
    __slots__ = ("images", "labels", "ids", "groups", "weights")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    labels: _containers.RepeatedScalarFieldContainer[str]
    ids: _containers.RepeatedScalarFieldContainer[str]
    groups: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., labels: _Optional[_Iterable[str]] = ..., ids: _Optional[_Iterable[str]] = ..., groups: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class LabelledFeatures(_message.Message):
    __slots__ = ("values", "labels", "ids", "groups", "weights")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    values: _common_pb2.Tensor
    labels: _containers.RepeatedScalarFieldContainer[str]
    ids: _containers.RepeatedScalarFieldContainer[str]
    groups: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., ids: _Optional[_Iterable[str]] = ..., groups: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class TrainHeadResponse(_message.Message):
    __slots__ = ("progress", "head")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    progress: TrainProgress
    head: Head
    def __init__(self, progress: _Optional[_Union[TrainProgress, _Mapping]] = ..., head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class TrainProgress(_message.Message):
    __slots__ = ("extracted", "failed", "stage")
    EXTRACTED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    extracted: int
    failed: _containers.RepeatedCompositeFieldContainer[FailedImage]
    stage: str
    def __init__(self, extracted: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FailedImage, _Mapping]]] = ..., stage: _Optional[str] = ...) -> None: ...

class FailedImage(_message.Message):
    __slots__ = ("index", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    error: _common_pb2.ItemError
    def __init__(self, index: _Optional[int] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class PublishHeadRequest(_message.Message):
    __slots__ = ("name", "version", "refuse_unknown")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REFUSE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    refuse_unknown: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., refuse_unknown: bool = ...) -> None: ...

class PublishHeadResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: Head
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class GetHeadRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetHeadResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: Head
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class GetHeadReportRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetHeadReportResponse(_message.Message):
    __slots__ = ("report", "rows")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    report: HeadReport
    rows: JudgedRows
    def __init__(self, report: _Optional[_Union[HeadReport, _Mapping]] = ..., rows: _Optional[_Union[JudgedRows, _Mapping]] = ...) -> None: ...

class HeadReport(_message.Message):
    __slots__ = ("head", "suspected", "duplicates", "curve", "labels_for_one_point", "published")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SUSPECTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FOR_ONE_POINT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    head: Head
    suspected: _containers.RepeatedScalarFieldContainer[int]
    duplicates: _containers.RepeatedCompositeFieldContainer[NearDuplicate]
    curve: _containers.RepeatedCompositeFieldContainer[CurvePoint]
    labels_for_one_point: int
    published: HeadComparison
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ..., suspected: _Optional[_Iterable[int]] = ..., duplicates: _Optional[_Iterable[_Union[NearDuplicate, _Mapping]]] = ..., curve: _Optional[_Iterable[_Union[CurvePoint, _Mapping]]] = ..., labels_for_one_point: _Optional[int] = ..., published: _Optional[_Union[HeadComparison, _Mapping]] = ...) -> None: ...

class JudgedRows(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[JudgedRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[JudgedRow, _Mapping]]] = ...) -> None: ...

class JudgedRow(_message.Message):
    __slots__ = ("id", "label", "predicted", "probability", "label_probability", "fold")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LABEL_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    FOLD_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: int
    predicted: int
    probability: float
    label_probability: float
    fold: int
    def __init__(self, id: _Optional[str] = ..., label: _Optional[int] = ..., predicted: _Optional[int] = ..., probability: _Optional[float] = ..., label_probability: _Optional[float] = ..., fold: _Optional[int] = ...) -> None: ...

class NearDuplicate(_message.Message):
    __slots__ = ("first", "second", "similarity")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    first: int
    second: int
    similarity: float
    def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ..., similarity: _Optional[float] = ...) -> None: ...

class CurvePoint(_message.Message):
    __slots__ = ("count", "accuracy")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    count: int
    accuracy: float
    def __init__(self, count: _Optional[int] = ..., accuracy: _Optional[float] = ...) -> None: ...

class HeadComparison(_message.Message):
    __slots__ = ("version", "count", "accuracy", "other_accuracy", "only_this", "only_other", "p_value")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    OTHER_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ONLY_THIS_FIELD_NUMBER: _ClassVar[int]
    ONLY_OTHER_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    version: int
    count: int
    accuracy: float
    other_accuracy: float
    only_this: int
    only_other: int
    p_value: float
    def __init__(self, version: _Optional[int] = ..., count: _Optional[int] = ..., accuracy: _Optional[float] = ..., other_accuracy: _Optional[float] = ..., only_this: _Optional[int] = ..., only_other: _Optional[int] = ..., p_value: _Optional[float] = ...) -> None: ...

class ExportHeadRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ExportHeadResponse(_message.Message):
    __slots__ = ("head", "model")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    head: ExportedHead
    model: bytes
    def __init__(self, head: _Optional[_Union[ExportedHead, _Mapping]] = ..., model: _Optional[bytes] = ...) -> None: ...

class ExportedHead(_message.Message):
    __slots__ = ("head", "recipe_json", "model_sha256")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RECIPE_JSON_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    head: Head
    recipe_json: str
    model_sha256: str
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ..., recipe_json: _Optional[str] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class SuggestItemsRequest(_message.Message):
    __slots__ = ("collection", "head", "head_version", "n", "strategy", "label_field", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    head: str
    head_version: int
    n: int
    strategy: str
    label_field: str
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., head: _Optional[str] = ..., head_version: _Optional[int] = ..., n: _Optional[int] = ..., strategy: _Optional[str] = ..., label_field: _Optional[str] = ..., filter_json: _Optional[str] = ...) -> None: ...

class SuggestItemsResponse(_message.Message):
    __slots__ = ("items", "strategy", "labelled", "looked_at", "filtered")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SuggestedItem]
    strategy: str
    labelled: int
    looked_at: int
    filtered: bool
    def __init__(self, items: _Optional[_Iterable[_Union[SuggestedItem, _Mapping]]] = ..., strategy: _Optional[str] = ..., labelled: _Optional[int] = ..., looked_at: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class SuggestedItem(_message.Message):
    __slots__ = ("id", "reason", "top")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    top: Prediction
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ..., top: _Optional[_Union[Prediction, _Mapping]] = ...) -> None: ...

class HeadWeights(_message.Message):
    __slots__ = ("provenance", "classes", "weights", "bias")
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    provenance: _common_pb2.Provenance
    classes: _containers.RepeatedScalarFieldContainer[str]
    weights: _common_pb2.Tensor
    bias: _common_pb2.Tensor
    def __init__(self, provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., weights: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., bias: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class GetHeadWeightsRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetHeadWeightsResponse(_message.Message):
    __slots__ = ("weights", "version")
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    weights: HeadWeights
    version: int
    def __init__(self, weights: _Optional[_Union[HeadWeights, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ImportHeadRequest(_message.Message):
    __slots__ = ("name", "weights", "source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    weights: HeadWeights
    source: str
    def __init__(self, name: _Optional[str] = ..., weights: _Optional[_Union[HeadWeights, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class ImportHeadResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: Head
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class HeadName(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class CompareHeadsRequest(_message.Message):
    __slots__ = ("collection", "first", "second", "label_field", "from_records", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    FROM_RECORDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    first: HeadName
    second: HeadName
    label_field: str
    from_records: bool
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., first: _Optional[_Union[HeadName, _Mapping]] = ..., second: _Optional[_Union[HeadName, _Mapping]] = ..., label_field: _Optional[str] = ..., from_records: bool = ..., filter_json: _Optional[str] = ...) -> None: ...

class CompareHeadsResponse(_message.Message):
    __slots__ = ("first", "second", "count", "both_right", "only_first", "only_second", "trained_on", "unknown_label", "differing", "n_differing", "filtered")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BOTH_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIRST_FIELD_NUMBER: _ClassVar[int]
    ONLY_SECOND_FIELD_NUMBER: _ClassVar[int]
    TRAINED_ON_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_LABEL_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    N_DIFFERING_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    first: HeadName
    second: HeadName
    count: int
    both_right: int
    only_first: int
    only_second: int
    trained_on: int
    unknown_label: int
    differing: _containers.RepeatedCompositeFieldContainer[DifferingItem]
    n_differing: int
    filtered: bool
    def __init__(self, first: _Optional[_Union[HeadName, _Mapping]] = ..., second: _Optional[_Union[HeadName, _Mapping]] = ..., count: _Optional[int] = ..., both_right: _Optional[int] = ..., only_first: _Optional[int] = ..., only_second: _Optional[int] = ..., trained_on: _Optional[int] = ..., unknown_label: _Optional[int] = ..., differing: _Optional[_Iterable[_Union[DifferingItem, _Mapping]]] = ..., n_differing: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class DifferingItem(_message.Message):
    __slots__ = ("id", "label", "first", "second")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    first: Prediction
    second: Prediction
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ..., first: _Optional[_Union[Prediction, _Mapping]] = ..., second: _Optional[_Union[Prediction, _Mapping]] = ...) -> None: ...

class SetShadowRequest(_message.Message):
    __slots__ = ("name", "version", "share")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    share: float
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., share: _Optional[float] = ...) -> None: ...

class SetShadowResponse(_message.Message):
    __slots__ = ("shadow",)
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    shadow: Shadow
    def __init__(self, shadow: _Optional[_Union[Shadow, _Mapping]] = ...) -> None: ...

class GetShadowRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetShadowResponse(_message.Message):
    __slots__ = ("shadow",)
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    shadow: Shadow
    def __init__(self, shadow: _Optional[_Union[Shadow, _Mapping]] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("version", "share", "published_version", "since", "count", "agreed", "passed_over", "differing", "problem")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    PASSED_OVER_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    version: int
    share: float
    published_version: int
    since: str
    count: int
    agreed: int
    passed_over: int
    differing: _containers.RepeatedCompositeFieldContainer[DifferingPicture]
    problem: str
    def __init__(self, version: _Optional[int] = ..., share: _Optional[float] = ..., published_version: _Optional[int] = ..., since: _Optional[str] = ..., count: _Optional[int] = ..., agreed: _Optional[int] = ..., passed_over: _Optional[int] = ..., differing: _Optional[_Iterable[_Union[DifferingPicture, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...

class DifferingPicture(_message.Message):
    __slots__ = ("sha256", "time", "published", "shadow")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    time: str
    published: _containers.RepeatedCompositeFieldContainer[Prediction]
    shadow: _containers.RepeatedCompositeFieldContainer[Prediction]
    def __init__(self, sha256: _Optional[str] = ..., time: _Optional[str] = ..., published: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., shadow: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ...) -> None: ...

class SampleItemsRequest(_message.Message):
    __slots__ = ("collection", "head", "label", "n", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    head: HeadName
    label: str
    n: int
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., head: _Optional[_Union[HeadName, _Mapping]] = ..., label: _Optional[str] = ..., n: _Optional[int] = ..., filter_json: _Optional[str] = ...) -> None: ...

class SampleItemsResponse(_message.Message):
    __slots__ = ("strata", "head_version", "filtered")
    STRATA_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    strata: _containers.RepeatedCompositeFieldContainer[Stratum]
    head_version: int
    filtered: bool
    def __init__(self, strata: _Optional[_Iterable[_Union[Stratum, _Mapping]]] = ..., head_version: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class Stratum(_message.Message):
    __slots__ = ("low", "high", "count", "expected", "drawn")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    count: int
    expected: float
    drawn: _containers.RepeatedCompositeFieldContainer[RankedItem]
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., count: _Optional[int] = ..., expected: _Optional[float] = ..., drawn: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ...) -> None: ...

class ListHeadsRequest(_message.Message):
    __slots__ = ("all_versions",)
    ALL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    all_versions: bool
    def __init__(self, all_versions: bool = ...) -> None: ...

class ListHeadsResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[Head]
    def __init__(self, heads: _Optional[_Iterable[_Union[Head, _Mapping]]] = ...) -> None: ...

class DeleteHeadRequest(_message.Message):
    __slots__ = ("name", "version", "all_versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    all_versions: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., all_versions: bool = ...) -> None: ...

class DeleteHeadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("head", "model", "images", "top", "views", "ensemble", "head_version", "refuse_unknown", "coverage", "also")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    REFUSE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    ALSO_FIELD_NUMBER: _ClassVar[int]
    head: str
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    top: int
    views: int
    ensemble: _containers.RepeatedScalarFieldContainer[str]
    head_version: int
    refuse_unknown: bool
    coverage: float
    also: _containers.RepeatedCompositeFieldContainer[HeadName]
    def __init__(self, head: _Optional[str] = ..., model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., top: _Optional[int] = ..., views: _Optional[int] = ..., ensemble: _Optional[_Iterable[str]] = ..., head_version: _Optional[int] = ..., refuse_unknown: bool = ..., coverage: _Optional[float] = ..., also: _Optional[_Iterable[_Union[HeadName, _Mapping]]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("results", "provenance", "head_version", "timing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    provenance: _common_pb2.Provenance
    head_version: int
    timing: _common_pb2.Timing
    def __init__(self, results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., head_version: _Optional[int] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("top", "error", "reason", "set", "also")
    TOP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    ALSO_FIELD_NUMBER: _ClassVar[int]
    top: _containers.RepeatedCompositeFieldContainer[Prediction]
    error: _common_pb2.ItemError
    reason: str
    set: _containers.RepeatedCompositeFieldContainer[Prediction]
    also: _containers.RepeatedCompositeFieldContainer[HeadAnswer]
    def __init__(self, top: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ..., reason: _Optional[str] = ..., set: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., also: _Optional[_Iterable[_Union[HeadAnswer, _Mapping]]] = ...) -> None: ...

class HeadAnswer(_message.Message):
    __slots__ = ("head", "top", "reason")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    head: HeadName
    top: _containers.RepeatedCompositeFieldContainer[Prediction]
    reason: str
    def __init__(self, head: _Optional[_Union[HeadName, _Mapping]] = ..., top: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., reason: _Optional[str] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class ClassifyItemsRequest(_message.Message):
    __slots__ = ("collection", "head", "head_version", "filter_json", "refuse_unknown")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    REFUSE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    head: str
    head_version: int
    filter_json: str
    refuse_unknown: bool
    def __init__(self, collection: _Optional[str] = ..., head: _Optional[str] = ..., head_version: _Optional[int] = ..., filter_json: _Optional[str] = ..., refuse_unknown: bool = ...) -> None: ...

class WriteClassesRequest(_message.Message):
    __slots__ = ("items", "field")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    items: ClassifyItemsRequest
    field: str
    def __init__(self, items: _Optional[_Union[ClassifyItemsRequest, _Mapping]] = ..., field: _Optional[str] = ...) -> None: ...

class ClassifyItemsResponse(_message.Message):
    __slots__ = ("items", "head_version", "filtered")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ClassifiedItem]
    head_version: int
    filtered: bool
    def __init__(self, items: _Optional[_Iterable[_Union[ClassifiedItem, _Mapping]]] = ..., head_version: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class WriteClassesResponse(_message.Message):
    __slots__ = ("items", "head_version", "filtered")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ClassifiedItem]
    head_version: int
    filtered: bool
    def __init__(self, items: _Optional[_Iterable[_Union[ClassifiedItem, _Mapping]]] = ..., head_version: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class ClassifiedItem(_message.Message):
    __slots__ = ("id", "top", "reason", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    top: Prediction
    reason: str
    error: _common_pb2.ItemError
    def __init__(self, id: _Optional[str] = ..., top: _Optional[_Union[Prediction, _Mapping]] = ..., reason: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class RankItemsRequest(_message.Message):
    __slots__ = ("collection", "head", "head_version", "label", "k", "near_score", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    NEAR_SCORE_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    head: str
    head_version: int
    label: str
    k: int
    near_score: float
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., head: _Optional[str] = ..., head_version: _Optional[int] = ..., label: _Optional[str] = ..., k: _Optional[int] = ..., near_score: _Optional[float] = ..., filter_json: _Optional[str] = ...) -> None: ...

class RankItemsResponse(_message.Message):
    __slots__ = ("items", "head_version", "filtered")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    head_version: int
    filtered: bool
    def __init__(self, items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., head_version: _Optional[int] = ..., filtered: bool = ...) -> None: ...

class RankedItem(_message.Message):
    __slots__ = ("id", "probability", "payload_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    probability: float
    payload_json: str
    def __init__(self, id: _Optional[str] = ..., probability: _Optional[float] = ..., payload_json: _Optional[str] = ...) -> None: ...
