"""CountValues: how often each value of payload fields occurs."""

from __future__ import annotations

import json

from fc7.contract.filter import Filter
from fc7.errors import InvalidArgument
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.rpc.messages import check_answer

_MOST_FIELDS = 32
_DEFAULT_LIMIT, _LARGEST_LIMIT = 20, 1000  # values of a field


def count_values(
    collection: Collection, request: pb.CountValuesRequest, where: Filter | None
) -> pb.CountValuesResponse:
    """Answer one call."""
    if not 1 <= len(request.fields) <= _MOST_FIELDS:
        raise InvalidArgument(f"fields must be 1 to {_MOST_FIELDS} fields (got {len(request.fields)})", name="fields")
    limit = request.limit or _DEFAULT_LIMIT
    if not 1 <= limit <= _LARGEST_LIMIT:
        raise InvalidArgument(f"limit must be 1 to {_LARGEST_LIMIT} (got {limit})", name="limit")
    count, facets = collection.count_values(request.fields, limit, where, request.with_records)
    answer = pb.CountValuesResponse(count=count)
    for facet in facets:
        message = answer.facets.add(
            field=facet.field, count=facet.n_items, left_out=facet.n_left_out, uncounted=facet.n_other
        )
        for value, n_items in facet.values:
            message.values.add(value_json=json.dumps(value, ensure_ascii=False), count=n_items)
    check_answer(answer.ByteSize(), "fields, or a smaller limit")
    return answer
