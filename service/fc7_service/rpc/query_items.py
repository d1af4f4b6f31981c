"""QueryItems: read the queries, extract the images among them, search, write the hits."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.pools import Pools
from fc7_service.collections.recall import Recall
from fc7_service.collections.search import Example, Hit, Query, Search, SearchReport, combine
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.rpc.messages import check_answer, read_vector, write_error, write_tensor
from fc7_service.rpc.payload import write_payload
from fc7_service.rpc.read_search import Source, check_sources, sources
from fc7_service.rpc.request_models import model_of_provenance

_SEARCHED_AT_ONCE = 64  # queries

Feature = NDArray[np.float32]  # (D,)


async def read_queries(
    collection: Collection, extractor: Extractor, queries: Sequence[pb.Query], pools: Pools
) -> tuple[list[Query | Fc7Error], Timing]:
    """Return each query with its vector, or its error, and where the time of extracting images went."""
    parts = [list(sources(query)) for query in queries]
    flat = [source for part in parts for source in part]
    found = await pools.read(_read_features, collection, flat)
    images = [i for i, feature in enumerate(found) if feature is None]
    timing = Timing()
    if images:
        provenance = collection.provenance
        model = model_of_provenance(extractor, provenance, f"collection {collection.name!r}")
        sent = [flat[i].image() for i in images]
        extracted = await extract_images(extractor, sent, model, provenance.layer)
        for i, feature in zip(images, extracted.rows, strict=True):
            found[i] = feature
        timing = extracted.timing
    features = iter(found)
    return [
        _read_query(collection, query, part, [next(features) for _ in part])
        for query, part in zip(queries, parts, strict=True)
    ], timing


def write_hits(
    collection: Collection, queries: Sequence[Query | Fc7Error], search: Search
) -> tuple[list[pb.QueryResult], SearchReport]:
    """Search; return the hits of each query, or its error in the same place, and how they were found."""
    results = [pb.QueryResult(error=write_error(one) if isinstance(one, Fc7Error) else None) for one in queries]
    valid = [(i, query) for i, query in enumerate(queries) if not isinstance(query, Fc7Error)]
    total = SearchReport(index=collection.index_name)
    n_bytes = 0
    for start in range(0, len(valid), _SEARCHED_AT_ONCE):
        part = valid[start : start + _SEARCHED_AT_ONCE]
        answers, report = collection.answer([query for _, query in part], search)
        total += report
        for (i, _), hits in zip(part, answers, strict=True):
            results[i].hits.extend(_write_hit(hit) for hit in hits)
            n_bytes += results[i].ByteSize()
            check_answer(n_bytes, "queries, or a smaller k")
    return results, total


def write_recall(recall: Recall) -> pb.Recall:
    """Return the message of a recall."""
    return pb.Recall(value=recall.value, low=recall.low, high=recall.high, queries=recall.n_queries)


def write_report(report: SearchReport, read_s: float, recall: Recall | None) -> pb.SearchReport:
    """Return the message that says how a search was done, after its queries had been read in ``read_s``."""
    return pb.SearchReport(
        index=report.index,
        vectors_compared=report.n_vectors,
        codes_compared=report.n_codes,
        read_s=read_s,
        filter_s=report.filter_s,
        search_s=report.search_s,
        load_s=report.load_s,
        rarity_pairs=report.n_pairs,
        recall=None if recall is None else write_recall(recall),
        damaged=report.n_damaged,
    )


def _write_hit(hit: Hit) -> pb.Hit:
    feature = None if hit.vector is None else write_tensor(hit.vector)
    return pb.Hit(
        id=hit.id,
        score=hit.score,
        payload_json=write_payload(hit.payload),
        feature=feature,
        rarity=hit.rarity,
        group_json="" if hit.group is None else json.dumps(hit.group, ensure_ascii=False),
    )


def _read_features(collection: Collection, parts: Sequence[Source]) -> list[Feature | Fc7Error | None]:
    """Return the feature of each source that brings one or names an item, or its error; None for images."""
    stored = iter(collection.get([source.message.id for source in parts if source.kind == "id"], True))
    found: list[Feature | Fc7Error | None] = []
    for source in parts:
        if source.kind == "id":
            item = next(stored)
            found.append(item if isinstance(item, Fc7Error) else item.vector)
        elif source.kind == "vector":
            try:
                found.append(read_vector(source.message.vector, collection.provenance))
            except Fc7Error as error:
                found.append(error)
        else:
            found.append(None)
    return found


def _read_query(
    collection: Collection, query: pb.Query, parts: Sequence[Source], features: Sequence[Feature | Fc7Error | None]
) -> Query | Fc7Error:
    """Return a query as one vector, or why the collection cannot compare it: a black image has no direction."""
    try:
        check_sources(query)
        examples = []
        for source, feature in zip(parts, features, strict=True):
            if isinstance(feature, Fc7Error):
                return feature
            assert feature is not None  # images were extracted
            collection.check_vector(feature)
            examples.append(Example(feature, source.weight))
        vector = combine(examples, collection.metric)
        collection.check_vector(vector)
    except Fc7Error as error:
        return error
    return Query(vector, tuple(source.message.id for source in parts if source.kind == "id"))
