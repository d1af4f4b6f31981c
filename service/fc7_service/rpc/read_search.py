"""The messages of a search become values: what it asks for, and the sources of its queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fc7.contract.filter_json import read_json
from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.search import MOST_EXAMPLES, MOST_HITS, Search
from fc7_service.features.image_part import ImagePart
from fc7_service.features.image_work import ImageInput
from fc7_service.rpc.messages import read_image

MOST_SOURCES = 4096  # images, vectors and ids of one call


@dataclass(frozen=True, slots=True)
class Source:
    """One example of a query, as it was sent."""

    message: pb.Query | pb.Example
    weight: float
    crop: pb.Crop | None = None

    @property
    def kind(self) -> str:
        """One of "image", "vector" and "id"; "image" where nothing was sent, which is an empty image."""
        return self.message.WhichOneof("source") or "image"

    def image(self) -> ImageInput | Fc7Error:
        """Return what the extractor takes, or why this image cannot be read."""
        image = read_image(self.message.image)
        if self.crop is None or isinstance(image, Fc7Error):
            return image
        try:
            return ImagePart(image, self.crop.left, self.crop.top, self.crop.right, self.crop.bottom)
        except Fc7Error as error:
            return error


def read_search(request: pb.QueryItemsRequest, count: int) -> Search:
    """Return what a request asks for of a collection of ``count`` items.

    Raises
    ------
    InvalidArgument
        A value breaks a rule.
    ResourceExhausted
        The answer would be too large, or there are too many examples.
    """
    search = Search(
        k=request.k,
        offset=request.offset,
        where=read_json(request.filter_json) if request.filter_json else None,
        min_score=request.min_score if request.HasField("min_score") else None,
        excluded_ids=tuple(request.excluded_ids),
        max_rarity=request.max_rarity if request.HasField("max_rarity") else None,
        has_rarity=request.with_rarity,
        group_by=request.group_by,
        group_size=request.group_size or 1,
        diversity=request.diversity,
        is_exact=request.exact,
        payload_fields=tuple(request.payload_fields.names) if request.HasField("payload_fields") else None,
        has_features=request.with_features,
    )
    if not request.queries:
        raise InvalidArgument("queries is empty. Send at least one", name="queries")
    n_hits = len(request.queries) * min((search.k + search.offset) * search.group_size, count)
    if n_hits > MOST_HITS:
        raise ResourceExhausted(
            f"the answer would have {n_hits} hits, but the limit is {MOST_HITS}. Send fewer queries or a smaller k",
            name="k",
            reason=Reason.ANSWER_TOO_LARGE,
        )
    n_sources = sum(1 for query in request.queries for _ in sources(query))
    if n_sources > MOST_SOURCES:
        raise InvalidArgument(
            f"the queries have {n_sources} examples together, but the limit is {MOST_SOURCES}. Send fewer per call",
            name="queries",
            reason=Reason.TOO_MANY_ITEMS,
        )
    return search


def sources(query: pb.Query) -> Iterator[Source]:
    """Yield the examples of a query, its own source first; at least one."""
    if query.WhichOneof("source") or not query.examples:
        yield Source(query, 1.0)
    for example in query.examples:
        weight = example.weight if example.HasField("weight") else 1.0
        yield Source(example, weight, example.crop if example.HasField("crop") else None)


def check_sources(query: pb.Query) -> None:
    """Refuse a query with too many examples, or with a crop of something that is no image.

    Raises
    ------
    InvalidArgument
        It has.
    """
    if len(query.examples) > MOST_EXAMPLES:
        raise InvalidArgument(
            f"a query has {len(query.examples)} examples, but the limit is {MOST_EXAMPLES}", name="examples"
        )
    for example in query.examples:
        if example.HasField("crop") and example.WhichOneof("source") != "image":
            raise InvalidArgument("only an image can be cropped", name="crop")
