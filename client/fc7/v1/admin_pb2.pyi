from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "libraries", "device", "provider", "threads", "data", "max_message_bytes", "models", "pid", "uptime_s", "telemetry", "max_calls", "running_calls", "training", "building")
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RunningCallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    BUILDING_FIELD_NUMBER: _ClassVar[int]
    version: str
    libraries: _containers.ScalarMap[str, str]
    device: str
    provider: str
    threads: int
    data: str
    max_message_bytes: int
    models: _containers.RepeatedScalarFieldContainer[str]
    pid: int
    uptime_s: float
    telemetry: str
    max_calls: int
    running_calls: _containers.ScalarMap[str, int]
    training: _containers.RepeatedScalarFieldContainer[str]
    building: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., libraries: _Optional[_Mapping[str, str]] = ..., device: _Optional[str] = ..., provider: _Optional[str] = ..., threads: _Optional[int] = ..., data: _Optional[str] = ..., max_message_bytes: _Optional[int] = ..., models: _Optional[_Iterable[str]] = ..., pid: _Optional[int] = ..., uptime_s: _Optional[float] = ..., telemetry: _Optional[str] = ..., max_calls: _Optional[int] = ..., running_calls: _Optional[_Mapping[str, int]] = ..., training: _Optional[_Iterable[str]] = ..., building: _Optional[_Iterable[str]] = ...) -> None: ...
