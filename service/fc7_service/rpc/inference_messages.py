"""The messages of the Open Inference Protocol, in a pool of their own.

A client library of the protocol may be loaded in the same process. It brings messages of the same names, and protobuf
refuses a second definition of a name in one pool.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("inference.binpb").read_bytes()).file:
    _POOL.Add(_file)

SERVICE = _POOL.FindServiceByName("inference.GRPCInferenceService")
_MESSAGES = SERVICE.file.message_types_by_name
# The classes of the messages by name, for example `pb.ModelInferRequest`.
pb: Any = SimpleNamespace(**{name: message_factory.GetMessageClass(kind) for name, kind in _MESSAGES.items()})


def add_inference_servicer(servicer: object, server: Any) -> None:
    """Add the service to a gRPC server."""
    handlers = {}
    for method in SERVICE.methods:
        is_stream = method.client_streaming
        make = grpc.stream_stream_rpc_method_handler if is_stream else grpc.unary_unary_rpc_method_handler
        request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        handlers[method.name] = make(getattr(servicer, method.name), request.FromString, answer.SerializeToString)
    server.add_registered_method_handlers(SERVICE.full_name, handlers)
