"""From parts to services: the servicer of each gRPC service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fc7.v1 import (
    admin_pb2_grpc,
    collection_pb2_grpc,
    explain_pb2_grpc,
    feature_pb2_grpc,
    head_pb2_grpc,
    model_pb2_grpc,
)
from fc7_service.capabilities import Capabilities
from fc7_service.rpc.admin_service import AdminServicer
from fc7_service.rpc.collection_service import CollectionServicer
from fc7_service.rpc.explain_service import ExplainServicer
from fc7_service.rpc.feature_service import FeatureServicer
from fc7_service.rpc.head_service import HeadServicer
from fc7_service.rpc.inference_messages import add_inference_servicer
from fc7_service.rpc.inference_service import InferenceServicer
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.rpc.model_service import ModelServicer
from fc7_service.settings import Settings


def make_servicers(
    parts: Capabilities, settings: Settings, interceptor: Interceptor, started: float
) -> list[tuple[Callable[[Any, Any], None], Any]]:
    """Return the servicer of each service, and what adds it to a gRPC server or to what stands in for one."""
    extractor, changes, record = parts.extractor, parts.changes, parts.record
    collections, heads = parts.collections, parts.heads
    return [
        (feature_pb2_grpc.add_FeatureServiceServicer_to_server, FeatureServicer(extractor)),
        (model_pb2_grpc.add_ModelServiceServicer_to_server, ModelServicer(extractor, changes)),
        (
            collection_pb2_grpc.add_CollectionServiceServicer_to_server,
            CollectionServicer(collections, extractor, record),
        ),
        (
            head_pb2_grpc.add_HeadServiceServicer_to_server,
            HeadServicer(heads, parts.shadows, extractor, collections, record),
        ),
        (
            explain_pb2_grpc.add_ExplainServiceServicer_to_server,
            ExplainServicer(parts.explainer, extractor, heads, collections),
        ),
        (
            admin_pb2_grpc.add_AdminServiceServicer_to_server,
            AdminServicer(extractor, collections, heads, settings, interceptor, started),
        ),
        (add_inference_servicer, InferenceServicer(extractor, changes, lambda: not interceptor.is_stopping)),
    ]
