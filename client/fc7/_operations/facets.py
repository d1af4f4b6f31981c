"""CollectionService: how often each value of payload fields occurs."""

from __future__ import annotations

import json
from collections.abc import Iterable

from fc7._operations.conversion import check_names
from fc7._operations.steps import Operation, SendRequest
from fc7.errors import InvalidArgument
from fc7.filters import Where, write_where
from fc7.results import Facet
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub


def count_values(
    collection: str, fields: str | Iterable[str], where: Where | None, limit: int, records: bool
) -> Operation[list[Facet]]:
    """Return the most frequent values of each field."""
    if not 1 <= limit <= 1000:
        raise InvalidArgument(f"limit must be 1 to 1000 (got {limit})", name="limit")
    request = pb.CountValuesRequest(
        collection=collection,
        fields=check_names([fields] if isinstance(fields, str) else list(fields), "fields"),
        filter_json=write_where(where),
        limit=limit,
        with_records=records,
    )
    response: pb.CountValuesResponse = yield SendRequest(Stub, "CountValues", request)
    return [
        Facet(
            facet.field,
            [(json.loads(value.value_json), value.count) for value in facet.values],
            facet.count,
            facet.left_out,
            facet.uncounted,
        )
        for facet in response.facets
    ]
