"""GetHeadWeights and ImportHead: softmax layers as messages."""

from __future__ import annotations

from fc7.errors import InvalidArgument, Reason
from fc7.v1 import head_pb2 as pb
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.extractor import Extractor
from fc7_service.heads.exchange import plain_weights
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.registry import Heads
from fc7_service.rpc.messages import check_answer, read_tensor, write_provenance, write_tensor
from fc7_service.rpc.request_models import model_of_provenance

_MOST_SOURCE_CHARS = 4096


def get_weights(request: pb.GetHeadWeightsRequest, heads: Heads) -> pb.GetHeadWeightsResponse:
    """Answer one call."""
    head = heads.get(request.name, request.version)
    weights, bias = plain_weights(heads.classifier(head.name, head.version).softmax)
    check_answer(weights.nbytes, "classes")
    message = pb.HeadWeights(
        provenance=write_provenance(head.provenance),
        classes=head.classes,
        weights=write_tensor(weights),
        bias=write_tensor(bias),
    )
    return pb.GetHeadWeightsResponse(weights=message, version=head.version)


def import_weights(request: pb.ImportHeadRequest, heads: Heads, extractor: Extractor) -> HeadVersion:
    """Store the layer of a request."""
    if len(request.source) > _MOST_SOURCE_CHARS:
        raise InvalidArgument(
            f"source has {len(request.source)} characters. The limit is {_MOST_SOURCE_CHARS}", name="source"
        )
    layer = request.weights
    if not layer.HasField("provenance"):
        raise InvalidArgument("weights need the provenance of the features that they take", name="provenance")
    provenance = Provenance.from_dict({field.name: value for field, value in layer.provenance.ListFields()})
    model = model_of_provenance(extractor, provenance, f"head {request.name[:64]!r}")
    dim = extractor.models.bundle(model).layers[provenance.layer].dim
    weights, bias = read_tensor(layer.weights, "weights"), read_tensor(layer.bias, "bias")
    if weights.dtype != "float32" or bias.dtype != "float32" or weights.shape[:1] != (dim,):
        raise InvalidArgument(
            f"weights must be float32 of shape ({dim}, C) for features of {provenance.model} {provenance.layer} (got "
            f"{weights.dtype} of shape {weights.shape})",
            name="weights",
            reason=Reason.INVALID_VECTOR,
        )
    return heads.import_layer(request.name, weights, bias, list(layer.classes), provenance, request.source)
