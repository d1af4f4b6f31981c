"""CollectionService: groups of duplicates."""

from __future__ import annotations

from fc7._operations.steps import Emit, OpenStream, Operation, ReadStream
from fc7.errors import InvalidArgument
from fc7.filters import Where, write_where
from fc7.results import DuplicateGroup
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_MIN_SCORE = 0.97


def find(collection: str, min_score: float | None, max_rarity: float | None, where: Where | None) -> Operation[None]:
    """Emit every group."""
    if min_score is not None and max_rarity is not None:
        raise InvalidArgument("duplicates takes min_score= or max_rarity=, not both", name="min_score")
    request = pb.FindDuplicatesRequest(collection=collection, filter_json=write_where(where))
    if max_rarity is not None:
        request.max_rarity = max_rarity
    else:
        request.min_score = _MIN_SCORE if min_score is None else min_score
    stream = yield OpenStream(Stub, "FindDuplicates", request, None)
    while (answer := (yield ReadStream(stream))) is not None:
        for group in answer.groups:
            yield Emit(DuplicateGroup(list(group.ids), group.score, group.same_content))
