from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Model(_message.Message):
    __slots__ = ("name", "network", "layers", "recipe_json", "graph_sha256", "classes", "card", "provider", "default_layer", "recommended_layers", "version", "running_calls")
    class RecommendedLayersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_JSON_FIELD_NUMBER: _ClassVar[int]
    GRAPH_SHA256_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_LAYER_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_LAYERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    network: str
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    recipe_json: str
    graph_sha256: str
    classes: _containers.RepeatedCompositeFieldContainer[ClassLabel]
    card: str
    provider: str
    default_layer: str
    recommended_layers: _containers.ScalarMap[str, str]
    version: int
    running_calls: int
    def __init__(self, name: _Optional[str] = ..., network: _Optional[str] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., recipe_json: _Optional[str] = ..., graph_sha256: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[ClassLabel, _Mapping]]] = ..., card: _Optional[str] = ..., provider: _Optional[str] = ..., default_layer: _Optional[str] = ..., recommended_layers: _Optional[_Mapping[str, str]] = ..., version: _Optional[int] = ..., running_calls: _Optional[int] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("name", "dim", "shape", "provenance_digest", "transform", "recipe_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    RECIPE_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    provenance_digest: str
    transform: str
    recipe_json: str
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., provenance_digest: _Optional[str] = ..., transform: _Optional[str] = ..., recipe_json: _Optional[str] = ...) -> None: ...

class ClassLabel(_message.Message):
    __slots__ = ("id", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class GetGoldenRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetGoldenResponse(_message.Message):
    __slots__ = ("pixels", "inputs", "layers", "files")
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    pixels: _common_pb2.Tensor
    inputs: _common_pb2.Tensor
    layers: _containers.RepeatedCompositeFieldContainer[GoldenLayer]
    files: _containers.RepeatedCompositeFieldContainer[GoldenFile]
    def __init__(self, pixels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., inputs: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[GoldenLayer, _Mapping]]] = ..., files: _Optional[_Iterable[_Union[GoldenFile, _Mapping]]] = ...) -> None: ...

class GoldenLayer(_message.Message):
    __slots__ = ("name", "values", "pixels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _common_pb2.Tensor
    pixels: _common_pb2.Tensor
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., pixels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class GoldenFile(_message.Message):
    __slots__ = ("name", "encoded", "layer", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    encoded: bytes
    layer: str
    values: _common_pb2.Tensor
    def __init__(self, name: _Optional[str] = ..., encoded: _Optional[bytes] = ..., layer: _Optional[str] = ..., values: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("bundle", "is_default")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    is_default: bool
    def __init__(self, bundle: _Optional[str] = ..., is_default: bool = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ReloadModelRequest(_message.Message):
    __slots__ = ("name", "bundle", "keep_old")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    KEEP_OLD_FIELD_NUMBER: _ClassVar[int]
    name: str
    bundle: str
    keep_old: bool
    def __init__(self, name: _Optional[str] = ..., bundle: _Optional[str] = ..., keep_old: bool = ...) -> None: ...

class ReloadModelResponse(_message.Message):
    __slots__ = ("model", "old_version", "running_calls")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OLD_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    model: Model
    old_version: int
    running_calls: int
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., old_version: _Optional[int] = ..., running_calls: _Optional[int] = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ("running_calls",)
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    running_calls: int
    def __init__(self, running_calls: _Optional[int] = ...) -> None: ...
