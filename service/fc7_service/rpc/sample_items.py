"""SampleItems: a stratified sample of the items of a collection, for estimating how many are of a class."""

from __future__ import annotations

import numpy as np

from fc7.contract.filter_json import read_json
from fc7.errors import Fc7Error, InvalidArgument
from fc7.v1 import head_pb2 as pb
from fc7_service.collections.registry import Collections
from fc7_service.heads.registry import Heads
from fc7_service.heads.sample import draw_sample
from fc7_service.rpc.classify_items import check_provenance, find_class, next_block
from fc7_service.rpc.payload import write_payload

_LEAST, _MOST = 10, 10_000  # items of a sample


def sample_items(request: pb.SampleItemsRequest, heads: Heads, collections: Collections) -> pb.SampleItemsResponse:
    """Answer one call."""
    if not _LEAST <= request.n <= _MOST:
        raise InvalidArgument(f"n must be {_LEAST} to {_MOST} (got {request.n})", name="n")
    classifier = heads.classifier(request.head.name, request.head.version)
    column = find_class(classifier, request.label)
    where = read_json(request.filter_json) if request.filter_json else None
    ids: list[str] = []
    parts = [np.empty(0)]
    with collections.use(request.collection) as collection:
        check_provenance(classifier, collection)
        after: int | None = 0
        while after is not None:
            items, after = next_block(collection, where, after)
            vectors = [item.vector for item in items if item.vector is not None]
            if vectors:
                ids += [item.id for item in items if item.vector is not None]
                parts.append(classifier.predict(np.stack(vectors).astype(np.float32))[:, column].astype(float))
        probabilities = np.concatenate(parts)
        response = pb.SampleItemsResponse(head_version=classifier.version.version, filtered=where is not None)
        for stratum in draw_sample(ids, probabilities, request.n):
            message = response.strata.add(
                low=stratum.low, high=stratum.high, count=stratum.count, expected=stratum.expected
            )
            drawn = [ids[row] for row in stratum.drawn.tolist()]
            for row, found in zip(stratum.drawn.tolist(), collection.get(drawn), strict=True):
                payload = "{}" if isinstance(found, Fc7Error) else write_payload(found.payload)
                message.drawn.add(id=ids[row], probability=float(probabilities[row]), payload_json=payload)
    return response
