"""QueryItems: read the queries, extract the images among them, search, write the hits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter
from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.rpc.messages import check_answer, read_image, read_vector, write_error
from fc7_service.rpc.payload import write_payload
from fc7_service.rpc.request_models import model_of_provenance

_MOST_HITS = 100_000  # of one call
_SEARCHED_AT_ONCE = 64  # queries

Feature = NDArray[np.float32]  # (D,)


def check_query(request: pb.QueryItemsRequest, count: int) -> None:
    """Refuse a query that asks for nothing or for too much of a collection of ``count`` items."""
    if request.k < 1:
        raise InvalidArgument(f"k must be at least 1 (got {request.k})", name="k")
    if not request.queries:
        raise InvalidArgument("queries is empty. Send at least one", name="queries")
    n_hits = len(request.queries) * min(request.k, count)
    if n_hits > _MOST_HITS:
        raise ResourceExhausted(
            f"the answer would have {n_hits} hits, but the limit is {_MOST_HITS}. Send fewer queries or a smaller k",
            name="k",
            reason=Reason.ANSWER_TOO_LARGE,
        )


async def read_queries(
    collection: Collection, extractor: Extractor, queries: Sequence[pb.Query]
) -> tuple[list[Feature | Fc7Error], Timing]:
    """Return the feature of each query or its error, and where the time of extracting images went."""
    found = await asyncio.to_thread(_read_features, collection, queries)
    images = [i for i, feature in enumerate(found) if feature is None]
    timing = Timing()
    if images:
        provenance = collection.provenance
        model = model_of_provenance(extractor, provenance, f"collection {collection.name!r}")
        sent = [read_image(queries[i].image) for i in images]
        extracted = await extract_images(extractor, sent, model, provenance.layer)
        for i, feature in zip(images, extracted.rows, strict=True):
            found[i] = _checked(collection, feature)
        timing = extracted.timing
    return [feature for feature in found if feature is not None], timing


def write_hits(
    collection: Collection,
    features: Sequence[Feature | Fc7Error],
    k: int,
    excluded_ids: Sequence[str | None],
    where: Filter | None = None,
) -> list[pb.QueryResult]:
    """Search; return the hits of each feature, or its error in the same place."""
    results = [pb.QueryResult(error=write_error(one) if isinstance(one, Fc7Error) else None) for one in features]
    valid = [(i, feature) for i, feature in enumerate(features) if not isinstance(feature, Fc7Error)]
    n_bytes = 0
    for start in range(0, len(valid), _SEARCHED_AT_ONCE):
        part = valid[start : start + _SEARCHED_AT_ONCE]
        answers = collection.search(np.stack([f for _, f in part]), k, [excluded_ids[i] for i, _ in part], where)
        for (i, _), hits in zip(part, answers, strict=True):
            results[i].hits.extend(
                pb.Hit(id=hit.id, score=hit.score, payload_json=write_payload(hit.payload)) for hit in hits
            )
            n_bytes += results[i].ByteSize()
            check_answer(n_bytes, "queries, or a smaller k")
    return results


def _read_features(collection: Collection, queries: Sequence[pb.Query]) -> list[Feature | Fc7Error | None]:
    """Return the feature of each query that brings one or names an item, or its error; None for images."""
    stored = iter(collection.get([query.id for query in queries if query.WhichOneof("source") == "id"], True))
    found: list[Feature | Fc7Error | None] = []
    for query in queries:
        kind = query.WhichOneof("source")
        if kind == "id":
            item = next(stored)
            found.append(item if isinstance(item, Fc7Error) else item.vector)
        elif kind == "vector":
            try:
                found.append(_checked(collection, read_vector(query.vector, collection.provenance)))
            except Fc7Error as error:
                found.append(error)
        else:
            found.append(None)
    return found


def _checked(collection: Collection, feature: Feature | Fc7Error) -> Feature | Fc7Error:
    """Return a feature, or why the collection cannot compare it: that of a black image has no direction."""
    try:
        if not isinstance(feature, Fc7Error):
            collection.check_vector(feature)
    except Fc7Error as error:
        return error
    return feature
