"""Searches: queries are written into requests, many of them batch by batch, and hits are read from the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7._operations.batches import BATCH_IMAGES, ROWS, call_with, next_request, split
from fc7._operations.conversion import check_names, check_text, read_payload, read_tensor, read_timing, write_tensor
from fc7._operations.ids import split_ids
from fc7._operations.steps import Operation, RunBlocking, SendRequest
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument
from fc7.features import Features
from fc7.filters import Where, write_where
from fc7.grpc_errors import read_item_error
from fc7.images import InputImage, list_images, read_entries, write_image
from fc7.results import Recall
from fc7.searches import Example, Hit, Hits, Search, SearchReport, Threshold
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_HITS = 10_000  # per response, roughly, over all its queries
_LISTS = 16  # of examples per request; each may hold 256, and a request 4096


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of a call, of one kind; exactly one is given."""

    images: Any = None
    ids: Any = None
    features: Features | None = None
    examples: Any = None

    def check(self, method: str, image: str, id: str) -> None:
        """Refuse none or several kinds."""
        given = (self.images, self.ids, self.features, self.examples)
        if sum(one is not None for one in given) != 1:
            raise InvalidArgument(f"{method} takes exactly one of {image}, {id}=, features= and examples=", name=image)


def options(k: int | None, where: Where | None, search: Search | None) -> Search:
    """Return what a call asks for: its `Search`, or one of its ``k`` and its ``where``.

    Raises
    ------
    InvalidArgument
        Both are given, or a value cannot be sent.
    """
    if search is None:
        search = Search(k=10 if k is None else k, where=where)
    elif k is not None or where is not None:
        raise InvalidArgument("k and where belong into the Search if you give one: Search(k=..., where=...)", name="k")
    for name, value, least in (("k", search.k, 1), ("offset", search.offset, 0), ("group_size", search.group_size, 1)):
        if not least <= value < 2**31:
            rule = f"at least {least}" if value < least else f"less than {2**31}"
            raise InvalidArgument(f"{name} must be {rule} (got {value})", name=name)
    return search


def search(collection: str, queries: Queries, search: Search) -> Operation[Hits]:
    """Return the neighbours of one image, stored item, feature or list of examples."""
    queries.check("search", "image", "id")
    request = _write_search(collection, search)
    request.queries.append((yield RunBlocking(partial(_write_query, queries))))
    (found,) = yield from _ask(SendRequest(Stub, "QueryItems", request), search)
    if isinstance(found, Fc7Error):
        raise found
    return found


def search_many(collection: str, queries: Queries, search: Search) -> Operation[list[Hits | Fc7Error]]:
    """Return the neighbours of each image, stored item, feature or list of examples."""
    queries.check("search_many", "images", "ids")
    answers: list[Hits | Fc7Error] = []
    template = _write_search(collection, search)
    most = BATCH_IMAGES if queries.images is not None else _LISTS if queries.examples is not None else ROWS
    count = max(1, min(most, _HITS // ((search.k + search.offset) * search.group_size)))
    batches = split(_each(queries), lambda query: query.n_bytes, count)

    def pack(batch: list[_Query]) -> pb.QueryItemsRequest:
        request = pb.QueryItemsRequest()
        request.CopyFrom(template)
        for query in batch:
            query.write(request.queries.add())
        return request

    while (work := (yield next_request(batches, pack)))[0]:
        found = yield from _ask(call_with(Stub, "QueryItems", work), search)
        answers += [query.error or answer for query, answer in zip(work[0], found, strict=True)]
    return answers


def threshold(collection: str, false_matches: float) -> Operation[Threshold]:
    """Return the score that few random pairs reach."""
    request = pb.GetThresholdRequest(collection=collection, false_matches=false_matches)
    response: pb.GetThresholdResponse = yield SendRequest(Stub, "GetThreshold", request)
    return Threshold(response.min_score, response.pairs, response.complete, response.count, response.commit)


def read_recall(message: pb.Collection | pb.SearchReport) -> Recall | None:
    """Return the recall that a message may hold."""
    sent = message.recall
    return Recall(sent.value, sent.low, sent.high, sent.queries) if message.HasField("recall") else None


def check_filtered(is_asked: bool, is_done: bool) -> None:
    """Refuse the answer of a server that did not apply the filter."""
    if is_asked and not is_done:
        raise FailedPrecondition(
            "The server does not know filters. Upgrade fc7 on the server, or leave the filter out",
            name="where",
        )


def _write_search(collection: str, search: Search) -> pb.QueryItemsRequest:
    names = None if search.payload_fields is None else check_names(search.payload_fields, "payload_fields")
    return pb.QueryItemsRequest(
        collection=collection,
        k=search.k,
        offset=search.offset,
        filter_json=write_where(search.where),
        min_score=search.min_score,
        excluded_ids=check_names(_as_list(search.exclude), "exclude"),
        max_rarity=search.max_rarity,
        with_rarity=search.with_rarity,
        with_recall=search.with_recall,
        group_by=check_text(search.group_by, "group_by"),
        group_size=search.group_size,
        diversity=search.diversity,
        exact=search.exact,
        payload_fields=None if names is None else pb.PayloadFields(names=names),
        with_features=search.with_features,
    )


def _as_list(names: Iterable[str]) -> Any:
    return names if isinstance(names, str) else list(names)


@dataclass(frozen=True, slots=True)
class _Query:
    """One of many queries to be sent."""

    write: Callable[[pb.Query], object]
    n_bytes: int
    error: Fc7Error | None = None  # why the server cannot answer it


def _each(queries: Queries) -> Iterator[_Query]:
    if queries.ids is not None:
        for part in split_ids(queries.ids, ROWS):
            for own in part:
                yield _Query(partial(_write_id_to, own.sent), len(own.sent), own.error)
    elif queries.features is not None:
        for row in queries.features.values:
            yield _Query(partial(_write_vector_to, row, queries.features.provenance.digest), row.nbytes)
    elif queries.examples is not None:
        for examples in queries.examples:
            yield _examples_query(examples)
    else:
        for entry in read_entries(list_images(queries.images)):
            yield _Query(partial(_write_image_to, entry), entry.n_bytes, entry.error)


def _examples_query(examples: Any) -> _Query:
    """Return a query of examples; one of its images that cannot be read is the error of this query alone."""
    try:
        query = _write_examples(examples)
    except Fc7Error as error:
        if isinstance(error, InvalidArgument) and error.name == "examples":
            raise
        return _Query(lambda query: None, 0, error)
    return _Query(lambda message: message.CopyFrom(query), query.ByteSize())


def _write_examples(examples: Any) -> pb.Query:
    if isinstance(examples, Example) or not isinstance(examples, Iterable):
        raise InvalidArgument("examples must be a list of fc7.Example for each query", name="examples")
    messages = [_write_example(example) for example in examples]
    if not messages:
        raise InvalidArgument("a list of examples is empty. Give at least one fc7.Example", name="examples")
    if len(messages) > 1 or messages[0].weight != 1 or messages[0].HasField("crop"):
        return pb.Query(examples=messages)
    (only,) = messages  # as servers before 0.3 know it
    if only.WhichOneof("source") == "id":
        return pb.Query(id=only.id)
    return pb.Query(vector=only.vector) if only.HasField("vector") else pb.Query(image=only.image)


def _write_example(example: Any) -> pb.Example:
    if not isinstance(example, Example):
        raise InvalidArgument(f"examples must be a list of fc7.Example (got {example!r:.80})", name="examples")
    message = pb.Example(weight=example.weight)
    if example.id is not None:
        message.id = check_text(example.id, "id")
    elif example.features is not None:
        _write_vector_to(example.features.values[0], example.features.provenance.digest, message)
    else:
        message.image.CopyFrom(write_image(example.image))  # type: ignore[arg-type]  # one of the three is given
    if example.crop is not None:
        left, top, right, bottom = example.crop
        message.crop.CopyFrom(pb.Crop(left=left, top=top, right=right, bottom=bottom))
    return message


def _write_id_to(id: str, query: pb.Query) -> None:
    query.id = id


def _write_vector_to(row: NDArray[np.float32], digest: str, query: pb.Query | pb.Example) -> None:
    query.vector.values.CopyFrom(write_tensor(row))
    query.vector.provenance_digest = digest


def _write_image_to(entry: InputImage, query: pb.Query) -> None:
    query.image.SetInParent()
    entry.content.write(query.image)


def _write_query(queries: Queries) -> pb.Query:
    if queries.examples is not None:
        return _write_examples(queries.examples)
    if queries.ids is not None:
        return pb.Query(id=check_text(queries.ids, "id"))
    if queries.features is not None:
        if len(queries.features) != 1:
            raise InvalidArgument(
                f"features has {len(queries.features)} rows. Search for one row, features[i], or use search_many",
                name="features",
            )
        query = pb.Query()
        _write_vector_to(queries.features.values[0], queries.features.provenance.digest, query)
        return query
    return pb.Query(image=write_image(queries.images))


def _ask(call: SendRequest, search: Search) -> Operation[list[Hits | Fc7Error]]:
    response: pb.QueryItemsResponse = yield call
    check_filtered(search.where is not None, response.filtered)
    if not response.HasField("report") and search != Search(k=search.k, where=search.where):
        raise FailedPrecondition(
            "The server knows only k and where. Upgrade fc7 on the server, or leave the other options out",
            name="search",
        )
    answers: list[Hits | Fc7Error] = yield RunBlocking(partial(_read_hits, response))
    return answers


def _read_hits(response: pb.QueryItemsResponse) -> list[Hits | Fc7Error]:
    sent = response.report
    seconds = {"read": sent.read_s, "filter": sent.filter_s, "search": sent.search_s, "load": sent.load_s}
    report = SearchReport(
        sent.index,
        sent.vectors_compared,
        sent.codes_compared,
        seconds,
        read_timing(response.timing),
        sent.rarity_pairs,
        read_recall(sent),
        sent.damaged,
    )
    return [
        read_item_error(result.error)
        if result.HasField("error")
        else Hits((_read_hit(hit) for hit in result.hits), report)
        for result in response.results
    ]


def _read_hit(hit: pb.Hit) -> Hit:
    feature: Any = read_tensor(hit.feature) if hit.HasField("feature") else None
    group = json.loads(hit.group_json) if hit.group_json else None
    rarity = hit.rarity if hit.HasField("rarity") else None
    return Hit(hit.id, hit.score, read_payload(hit.payload_json), feature, rarity, group)
