"""FindDuplicates: groups of near items, as they are found."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from itertools import islice

from fc7.contract.filter import Filter
from fc7.errors import InvalidArgument
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.pools import Pools

_GROUPS_AT_ONCE = 100  # per message


async def find_duplicates(
    collection: Collection, request: pb.FindDuplicatesRequest, where: Filter | None, pools: Pools
) -> AsyncIterator[pb.FindDuplicatesResponse]:
    """Answer one call; the work ends when the caller does."""
    if request.HasField("min_score") == request.HasField("max_rarity"):
        raise InvalidArgument("Send one of min_score and max_rarity", name="min_score")
    min_score = request.min_score if request.HasField("min_score") else None
    max_rarity = request.max_rarity if request.HasField("max_rarity") else None
    ended = threading.Event()
    try:
        name = collection.name
        found = await pools.job(name, collection.duplicates, min_score, max_rarity, where, ended.is_set)
        while groups := await pools.job(name, lambda: list(islice(found, _GROUPS_AT_ONCE))):
            yield pb.FindDuplicatesResponse(
                groups=[
                    pb.DuplicateGroup(ids=group.ids, score=group.score, same_content=group.is_exact) for group in groups
                ]
            )
    finally:
        ended.set()
