"""HeadService: the weights of a head, taken along and brought back."""

from __future__ import annotations

import numpy as np

from fc7._operations import head as heads
from fc7._operations.conversion import (
    check_names,
    check_text,
    read_provenance,
    read_tensor,
    write_provenance,
    write_tensor,
)
from fc7._operations.steps import Operation, SendRequest
from fc7.head_weights import HeadWeights
from fc7.results import Head
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub


def get(name: str, version: int) -> Operation[HeadWeights]:
    """Return the weights of a version."""
    request = pb.GetHeadWeightsRequest(name=check_text(name, "name"), version=heads.check_version(version))
    response: pb.GetHeadWeightsResponse = yield SendRequest(Stub, "GetHeadWeights", request)
    found = response.weights
    return HeadWeights(
        read_provenance(found.provenance), list(found.classes), read_tensor(found.weights), read_tensor(found.bias)
    )


def store(name: str, weights: HeadWeights, source: str) -> Operation[Head]:
    """Store weights as the next version of a head."""
    message = pb.HeadWeights(
        provenance=write_provenance(weights.provenance),
        classes=check_names(weights.classes, "classes"),
        weights=write_tensor(np.asarray(weights.weights, np.float32)),
        bias=write_tensor(np.asarray(weights.bias, np.float32)),
    )
    request = pb.ImportHeadRequest(name=check_text(name, "name"), weights=message, source=check_text(source, "source"))
    response: pb.ImportHeadResponse = yield SendRequest(Stub, "ImportHead", request)
    return heads.read_head(response.head)
