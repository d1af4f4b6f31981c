from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Head(_message.Message):
    __slots__ = ("name", "version", "published_version", "provenance", "classes", "count", "accuracy", "held_out", "method", "seconds", "weights_sha256", "created", "parent_version", "majority_accuracy")
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
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., published_version: _Optional[int] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., accuracy: _Optional[float] = ..., held_out: _Optional[int] = ..., method: _Optional[str] = ..., seconds: _Optional[float] = ..., weights_sha256: _Optional[str] = ..., created: _Optional[str] = ..., parent_version: _Optional[int] = ..., majority_accuracy: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("name", "collection", "label_field", "model", "layer", "provenance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    label_field: str
    model: str
    layer: str
    provenance: _common_pb2.Provenance
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., label_field: _Optional[str] = ..., model: _Optional[str] = ..., layer: _Optional[str] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ...) -> None: ...

class LabelledImages(_message.Message):
    __slots__ = ("images", "labels")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelledFeatures(_message.Message):
    __slots__ = ("values", "labels")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    values: _common_pb2.Tensor
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

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
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("head", "model", "images", "top", "views", "ensemble", "head_version")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    head: str
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    top: int
    views: int
    ensemble: _containers.RepeatedScalarFieldContainer[str]
    head_version: int
    def __init__(self, head: _Optional[str] = ..., model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., top: _Optional[int] = ..., views: _Optional[int] = ..., ensemble: _Optional[_Iterable[str]] = ..., head_version: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("top", "error")
    TOP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    top: _containers.RepeatedCompositeFieldContainer[Prediction]
    error: _common_pb2.ItemError
    def __init__(self, top: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...
