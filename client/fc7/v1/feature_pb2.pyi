from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExtractRequest(_message.Message):
    __slots__ = ("model", "layer", "images", "views", "ensemble")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    views: int
    ensemble: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., views: _Optional[int] = ..., ensemble: _Optional[_Iterable[str]] = ...) -> None: ...

class ExtractResponse(_message.Message):
    __slots__ = ("features", "items", "provenance", "timing")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    features: _common_pb2.Tensor
    items: _containers.RepeatedCompositeFieldContainer[ItemResult]
    provenance: _common_pb2.Provenance
    timing: _common_pb2.Timing
    def __init__(self, features: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., items: _Optional[_Iterable[_Union[ItemResult, _Mapping]]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class ItemResult(_message.Message):
    __slots__ = ("error",)
    ERROR_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.ItemError
    def __init__(self, error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class StreamExtractRequest(_message.Message):
    __slots__ = ("model", "layer", "image", "views", "ensemble")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    image: _common_pb2.Image
    views: int
    ensemble: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., views: _Optional[int] = ..., ensemble: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamExtractResponse(_message.Message):
    __slots__ = ("feature", "error", "provenance")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    feature: _common_pb2.Tensor
    error: _common_pb2.ItemError
    provenance: _common_pb2.Provenance
    def __init__(self, feature: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ...) -> None: ...
