from fc7.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_L2: _ClassVar[Metric]
    METRIC_DOT: _ClassVar[Metric]

class UpsertStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPSERT_STATUS_UNSPECIFIED: _ClassVar[UpsertStatus]
    UPSERT_STATUS_ADDED: _ClassVar[UpsertStatus]
    UPSERT_STATUS_REPLACED: _ClassVar[UpsertStatus]
    UPSERT_STATUS_SKIPPED: _ClassVar[UpsertStatus]
    UPSERT_STATUS_FAILED: _ClassVar[UpsertStatus]

class UpsertMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPSERT_MODE_UNSPECIFIED: _ClassVar[UpsertMode]
    UPSERT_MODE_REPLACE: _ClassVar[UpsertMode]
    UPSERT_MODE_MERGE: _ClassVar[UpsertMode]

class MapMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MAP_METHOD_UNSPECIFIED: _ClassVar[MapMethod]
    MAP_METHOD_PCA: _ClassVar[MapMethod]
    MAP_METHOD_TSNE: _ClassVar[MapMethod]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_POSITIVE: _ClassVar[Verdict]
    VERDICT_NEGATIVE: _ClassVar[Verdict]
    VERDICT_UNSURE: _ClassVar[Verdict]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_L2: Metric
METRIC_DOT: Metric
UPSERT_STATUS_UNSPECIFIED: UpsertStatus
UPSERT_STATUS_ADDED: UpsertStatus
UPSERT_STATUS_REPLACED: UpsertStatus
UPSERT_STATUS_SKIPPED: UpsertStatus
UPSERT_STATUS_FAILED: UpsertStatus
UPSERT_MODE_UNSPECIFIED: UpsertMode
UPSERT_MODE_REPLACE: UpsertMode
UPSERT_MODE_MERGE: UpsertMode
MAP_METHOD_UNSPECIFIED: MapMethod
MAP_METHOD_PCA: MapMethod
MAP_METHOD_TSNE: MapMethod
VERDICT_UNSPECIFIED: Verdict
VERDICT_POSITIVE: Verdict
VERDICT_NEGATIVE: Verdict
VERDICT_UNSURE: Verdict

class Collection(_message.Message):
    __slots__ = ("name", "count", "provenance", "metric", "dim", "index", "fault", "damaged", "damaged_ids", "versions", "recall", "recall_target")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_IDS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RECALL_TARGET_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    provenance: _common_pb2.Provenance
    metric: Metric
    dim: int
    index: str
    fault: str
    damaged: int
    damaged_ids: _containers.RepeatedScalarFieldContainer[str]
    versions: _containers.ScalarMap[str, str]
    recall: Recall
    recall_target: float
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ..., provenance: _Optional[_Union[_common_pb2.Provenance, _Mapping]] = ..., metric: _Optional[_Union[Metric, str]] = ..., dim: _Optional[int] = ..., index: _Optional[str] = ..., fault: _Optional[str] = ..., damaged: _Optional[int] = ..., damaged_ids: _Optional[_Iterable[str]] = ..., versions: _Optional[_Mapping[str, str]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., recall_target: _Optional[float] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("value", "low", "high", "queries")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    queries: int
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., queries: _Optional[int] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "model", "layer", "metric", "recall")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    layer: str
    metric: Metric
    recall: float
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., layer: _Optional[str] = ..., metric: _Optional[_Union[Metric, str]] = ..., recall: _Optional[float] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name", "find_damage")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIND_DAMAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    find_damage: bool
    def __init__(self, name: _Optional[str] = ..., find_damage: bool = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values", "provenance_digest")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    values: _common_pb2.Tensor
    provenance_digest: str
    def __init__(self, values: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., provenance_digest: _Optional[str] = ...) -> None: ...

class NewItem(_message.Message):
    __slots__ = ("id", "image", "vector", "content_sha256", "payload_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: _common_pb2.Image
    vector: Vector
    content_sha256: str
    payload_json: str
    def __init__(self, id: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., content_sha256: _Optional[str] = ..., payload_json: _Optional[str] = ...) -> None: ...

class UpsertItemsRequest(_message.Message):
    __slots__ = ("collection", "items", "mode", "keep_thumbnails")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    KEEP_THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    mode: UpsertMode
    keep_thumbnails: bool
    def __init__(self, collection: _Optional[str] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping]]] = ..., mode: _Optional[_Union[UpsertMode, str]] = ..., keep_thumbnails: bool = ...) -> None: ...

class UpsertItemsResponse(_message.Message):
    __slots__ = ("results", "timing", "count")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UpsertResult]
    timing: _common_pb2.Timing
    count: int
    def __init__(self, results: _Optional[_Iterable[_Union[UpsertResult, _Mapping]]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class UpsertResult(_message.Message):
    __slots__ = ("id", "status", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: UpsertStatus
    error: _common_pb2.ItemError
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[UpsertStatus, str]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "payload_json", "content_sha256", "feature", "thumbnail")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    payload_json: str
    content_sha256: str
    feature: _common_pb2.Tensor
    thumbnail: bytes
    def __init__(self, id: _Optional[str] = ..., payload_json: _Optional[str] = ..., content_sha256: _Optional[str] = ..., feature: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., thumbnail: _Optional[bytes] = ...) -> None: ...

class GetItemsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_features", "with_thumbnails")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_FEATURES_FIELD_NUMBER: _ClassVar[int]
    WITH_THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    with_features: bool
    with_thumbnails: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., with_features: bool = ..., with_thumbnails: bool = ...) -> None: ...

class GetItemsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GetItemResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GetItemResult, _Mapping]]] = ...) -> None: ...

class GetItemResult(_message.Message):
    __slots__ = ("item", "error")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    item: Item
    error: _common_pb2.ItemError
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "with_features", "filter_json", "order_by", "descending")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_FEATURES_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    with_features: bool
    filter_json: str
    order_by: str
    descending: bool
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_features: bool = ..., filter_json: _Optional[str] = ..., order_by: _Optional[str] = ..., descending: bool = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token", "filtered", "damaged", "ordered")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    ORDERED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    filtered: bool
    damaged: int
    ordered: bool
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., filtered: bool = ..., damaged: _Optional[int] = ..., ordered: bool = ...) -> None: ...

class CountItemsRequest(_message.Message):
    __slots__ = ("collection", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., filter_json: _Optional[str] = ...) -> None: ...

class CountItemsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class MapItemsRequest(_message.Message):
    __slots__ = ("collection", "field", "method")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    collection: str
    field: str
    method: MapMethod
    def __init__(self, collection: _Optional[str] = ..., field: _Optional[str] = ..., method: _Optional[_Union[MapMethod, str]] = ...) -> None: ...

class MapItemsResponse(_message.Message):
    __slots__ = ("ids", "positions", "shares", "groups", "values_json")
    IDS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    VALUES_JSON_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    positions: _common_pb2.Tensor
    shares: _containers.RepeatedScalarFieldContainer[float]
    groups: _common_pb2.Tensor
    values_json: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., positions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., shares: _Optional[_Iterable[float]] = ..., groups: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., values_json: _Optional[_Iterable[str]] = ...) -> None: ...

class CountValuesRequest(_message.Message):
    __slots__ = ("collection", "fields", "filter_json", "limit", "with_records")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITH_RECORDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    filter_json: str
    limit: int
    with_records: bool
    def __init__(self, collection: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ..., filter_json: _Optional[str] = ..., limit: _Optional[int] = ..., with_records: bool = ...) -> None: ...

class CountValuesResponse(_message.Message):
    __slots__ = ("facets", "count")
    FACETS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    facets: _containers.RepeatedCompositeFieldContainer[Facet]
    count: int
    def __init__(self, facets: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("field", "values", "count", "left_out", "uncounted")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    UNCOUNTED_FIELD_NUMBER: _ClassVar[int]
    field: str
    values: _containers.RepeatedCompositeFieldContainer[ValueCount]
    count: int
    left_out: int
    uncounted: int
    def __init__(self, field: _Optional[str] = ..., values: _Optional[_Iterable[_Union[ValueCount, _Mapping]]] = ..., count: _Optional[int] = ..., left_out: _Optional[int] = ..., uncounted: _Optional[int] = ...) -> None: ...

class ValueCount(_message.Message):
    __slots__ = ("value_json", "count")
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    value_json: str
    count: int
    def __init__(self, value_json: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class FindDuplicatesRequest(_message.Message):
    __slots__ = ("collection", "min_score", "max_rarity", "filter_json")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MAX_RARITY_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    collection: str
    min_score: float
    max_rarity: float
    filter_json: str
    def __init__(self, collection: _Optional[str] = ..., min_score: _Optional[float] = ..., max_rarity: _Optional[float] = ..., filter_json: _Optional[str] = ...) -> None: ...

class FindDuplicatesResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[DuplicateGroup]
    def __init__(self, groups: _Optional[_Iterable[_Union[DuplicateGroup, _Mapping]]] = ...) -> None: ...

class DuplicateGroup(_message.Message):
    __slots__ = ("ids", "score", "same_content")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SAME_CONTENT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    score: float
    same_content: bool
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ..., same_content: bool = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter_json", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    filter_json: str
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., filter_json: _Optional[str] = ..., page_token: _Optional[str] = ...) -> None: ...

class DeleteItemsResponse(_message.Message):
    __slots__ = ("results", "count", "more", "filtered", "next_page_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DeleteItemResult]
    count: int
    more: bool
    filtered: bool
    next_page_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[DeleteItemResult, _Mapping]]] = ..., count: _Optional[int] = ..., more: bool = ..., filtered: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteItemResult(_message.Message):
    __slots__ = ("id", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    error: _common_pb2.ItemError
    def __init__(self, id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class PayloadChange(_message.Message):
    __slots__ = ("set_json", "remove", "replace")
    SET_JSON_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    set_json: str
    remove: _containers.RepeatedScalarFieldContainer[str]
    replace: bool
    def __init__(self, set_json: _Optional[str] = ..., remove: _Optional[_Iterable[str]] = ..., replace: bool = ...) -> None: ...

class PayloadUpdate(_message.Message):
    __slots__ = ("id", "change")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    change: PayloadChange
    def __init__(self, id: _Optional[str] = ..., change: _Optional[_Union[PayloadChange, _Mapping]] = ...) -> None: ...

class UpdatePayloadsRequest(_message.Message):
    __slots__ = ("collection", "updates", "filter_json", "change", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    updates: _containers.RepeatedCompositeFieldContainer[PayloadUpdate]
    filter_json: str
    change: PayloadChange
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., updates: _Optional[_Iterable[_Union[PayloadUpdate, _Mapping]]] = ..., filter_json: _Optional[str] = ..., change: _Optional[_Union[PayloadChange, _Mapping]] = ..., page_token: _Optional[str] = ...) -> None: ...

class UpdatePayloadsResponse(_message.Message):
    __slots__ = ("results", "next_page_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UpdatePayloadResult]
    next_page_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[UpdatePayloadResult, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdatePayloadResult(_message.Message):
    __slots__ = ("id", "changed", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    changed: bool
    error: _common_pb2.ItemError
    def __init__(self, id: _Optional[str] = ..., changed: bool = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("id", "label", "verdict", "by", "head_version", "time", "outdated")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    verdict: Verdict
    by: str
    head_version: int
    time: str
    outdated: bool
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., by: _Optional[str] = ..., head_version: _Optional[int] = ..., time: _Optional[str] = ..., outdated: bool = ...) -> None: ...

class AddLabelsRequest(_message.Message):
    __slots__ = ("collection", "labels")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, collection: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class AddLabelsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AddLabelResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AddLabelResult, _Mapping]]] = ...) -> None: ...

class AddLabelResult(_message.Message):
    __slots__ = ("written", "error")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    written: bool
    error: _common_pb2.ItemError
    def __init__(self, written: bool = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ListLabelsRequest(_message.Message):
    __slots__ = ("collection", "ids", "label", "by", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    label: str
    by: str
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., label: _Optional[str] = ..., by: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLabelsResponse(_message.Message):
    __slots__ = ("labels", "next_page_token")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    next_page_token: str
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UndoLabelsRequest(_message.Message):
    __slots__ = ("collection", "labels")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    labels: _containers.RepeatedCompositeFieldContainer[LabelToUndo]
    def __init__(self, collection: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[LabelToUndo, _Mapping]]] = ...) -> None: ...

class LabelToUndo(_message.Message):
    __slots__ = ("id", "label", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    by: str
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class UndoLabelsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UndoLabelResult]
    def __init__(self, results: _Optional[_Iterable[_Union[UndoLabelResult, _Mapping]]] = ...) -> None: ...

class UndoLabelResult(_message.Message):
    __slots__ = ("label", "error")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    label: Label
    error: _common_pb2.ItemError
    def __init__(self, label: _Optional[_Union[Label, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class TuneCollectionRequest(_message.Message):
    __slots__ = ("name", "recall")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    name: str
    recall: float
    def __init__(self, name: _Optional[str] = ..., recall: _Optional[float] = ...) -> None: ...

class TuneCollectionResponse(_message.Message):
    __slots__ = ("recall", "deviations")
    RECALL_FIELD_NUMBER: _ClassVar[int]
    DEVIATIONS_FIELD_NUMBER: _ClassVar[int]
    recall: Recall
    deviations: float
    def __init__(self, recall: _Optional[_Union[Recall, _Mapping]] = ..., deviations: _Optional[float] = ...) -> None: ...

class GetThresholdRequest(_message.Message):
    __slots__ = ("collection", "false_matches")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FALSE_MATCHES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    false_matches: float
    def __init__(self, collection: _Optional[str] = ..., false_matches: _Optional[float] = ...) -> None: ...

class GetThresholdResponse(_message.Message):
    __slots__ = ("min_score", "pairs", "complete", "count", "commit")
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    min_score: float
    pairs: int
    complete: bool
    count: int
    commit: int
    def __init__(self, min_score: _Optional[float] = ..., pairs: _Optional[int] = ..., complete: bool = ..., count: _Optional[int] = ..., commit: _Optional[int] = ...) -> None: ...

class Crop(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("image", "vector", "id", "weight", "crop")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    image: _common_pb2.Image
    vector: Vector
    id: str
    weight: float
    crop: Crop
    def __init__(self, image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., id: _Optional[str] = ..., weight: _Optional[float] = ..., crop: _Optional[_Union[Crop, _Mapping]] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("image", "vector", "id", "examples")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    image: _common_pb2.Image
    vector: Vector
    id: str
    examples: _containers.RepeatedCompositeFieldContainer[Example]
    def __init__(self, image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., id: _Optional[str] = ..., examples: _Optional[_Iterable[_Union[Example, _Mapping]]] = ...) -> None: ...

class PayloadFields(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class QueryItemsRequest(_message.Message):
    __slots__ = ("collection", "queries", "k", "filter_json", "offset", "min_score", "excluded_ids", "exact", "payload_fields", "with_features", "max_rarity", "with_rarity", "group_by", "group_size", "diversity", "with_recall")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_JSON_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_IDS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    WITH_FEATURES_FIELD_NUMBER: _ClassVar[int]
    MAX_RARITY_FIELD_NUMBER: _ClassVar[int]
    WITH_RARITY_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    GROUP_SIZE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    WITH_RECALL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    queries: _containers.RepeatedCompositeFieldContainer[Query]
    k: int
    filter_json: str
    offset: int
    min_score: float
    excluded_ids: _containers.RepeatedScalarFieldContainer[str]
    exact: bool
    payload_fields: PayloadFields
    with_features: bool
    max_rarity: float
    with_rarity: bool
    group_by: str
    group_size: int
    diversity: float
    with_recall: bool
    def __init__(self, collection: _Optional[str] = ..., queries: _Optional[_Iterable[_Union[Query, _Mapping]]] = ..., k: _Optional[int] = ..., filter_json: _Optional[str] = ..., offset: _Optional[int] = ..., min_score: _Optional[float] = ..., excluded_ids: _Optional[_Iterable[str]] = ..., exact: bool = ..., payload_fields: _Optional[_Union[PayloadFields, _Mapping]] = ..., with_features: bool = ..., max_rarity: _Optional[float] = ..., with_rarity: bool = ..., group_by: _Optional[str] = ..., group_size: _Optional[int] = ..., diversity: _Optional[float] = ..., with_recall: bool = ...) -> None: ...

class QueryItemsResponse(_message.Message):
    __slots__ = ("results", "metric", "timing", "filtered", "report")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[QueryResult]
    metric: Metric
    timing: _common_pb2.Timing
    filtered: bool
    report: SearchReport
    def __init__(self, results: _Optional[_Iterable[_Union[QueryResult, _Mapping]]] = ..., metric: _Optional[_Union[Metric, str]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., filtered: bool = ..., report: _Optional[_Union[SearchReport, _Mapping]] = ...) -> None: ...

class SearchReport(_message.Message):
    __slots__ = ("index", "vectors_compared", "codes_compared", "read_s", "filter_s", "search_s", "load_s", "rarity_pairs", "recall", "damaged")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VECTORS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    CODES_COMPARED_FIELD_NUMBER: _ClassVar[int]
    READ_S_FIELD_NUMBER: _ClassVar[int]
    FILTER_S_FIELD_NUMBER: _ClassVar[int]
    SEARCH_S_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    RARITY_PAIRS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    index: str
    vectors_compared: int
    codes_compared: int
    read_s: float
    filter_s: float
    search_s: float
    load_s: float
    rarity_pairs: int
    recall: Recall
    damaged: int
    def __init__(self, index: _Optional[str] = ..., vectors_compared: _Optional[int] = ..., codes_compared: _Optional[int] = ..., read_s: _Optional[float] = ..., filter_s: _Optional[float] = ..., search_s: _Optional[float] = ..., load_s: _Optional[float] = ..., rarity_pairs: _Optional[int] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., damaged: _Optional[int] = ...) -> None: ...

class QueryResult(_message.Message):
    __slots__ = ("hits", "error")
    HITS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    error: _common_pb2.ItemError
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("id", "score", "payload_json", "feature", "rarity", "group_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    RARITY_FIELD_NUMBER: _ClassVar[int]
    GROUP_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    score: float
    payload_json: str
    feature: _common_pb2.Tensor
    rarity: float
    group_json: str
    def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ..., payload_json: _Optional[str] = ..., feature: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., rarity: _Optional[float] = ..., group_json: _Optional[str] = ...) -> None: ...
