"""SuggestItems: which items of a collection to label next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter_json import read_json
from fc7.errors import InvalidArgument, NotFound
from fc7.v1 import head_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.labels import class_of, current
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.registry import Heads
from fc7_service.heads.suggest import FEW_LABELS, STRATEGIES, Strategy, suggest
from fc7_service.rpc.classify_items import check_provenance, next_block

_MOST_ITEMS = 50_000
_MOST_BYTES = 2**30  # of features
_MOST_SUGGESTED = 1000


@dataclass(slots=True)
class _Seen:
    """The items that were looked at."""

    ids: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)


def suggest_items(request: pb.SuggestItemsRequest, heads: Heads, collection: Collection) -> pb.SuggestItemsResponse:
    """Answer one call."""
    if not 1 <= request.n <= _MOST_SUGGESTED:
        raise InvalidArgument(f"n must be 1 to {_MOST_SUGGESTED} (got {request.n})", name="n")
    if request.strategy not in ("", "auto", *STRATEGIES):
        raise InvalidArgument(
            f"strategy must be one of auto, {', '.join(STRATEGIES)} (got {request.strategy[:64]!r})", name="strategy"
        )
    classifier = _find_head(heads, request)
    if classifier is not None:
        check_provenance(classifier, collection)
    seen = _look(collection, request)
    is_labelled = np.array([label is not None for label in seen.labels], bool)
    response = pb.SuggestItemsResponse(
        labelled=int(is_labelled.sum()), looked_at=len(seen.ids), filtered=bool(request.filter_json)
    )
    strategy = _choose(request.strategy, classifier, seen.labels)
    response.strategy = strategy
    if not seen.ids:
        return response
    features = np.stack(seen.vectors).astype(np.float32)
    probabilities = None if classifier is None else classifier.predict(features)
    for one in suggest(features, is_labelled, probabilities, request.n, strategy, seed=len(seen.ids)):
        item = response.items.add(id=seen.ids[one.row], reason=one.reason)
        if probabilities is not None and classifier is not None:
            best = int(probabilities[one.row].argmax())
            item.top.label = classifier.version.classes[best]
            item.top.probability = float(probabilities[one.row, best])
    return response


def _find_head(heads: Heads, request: pb.SuggestItemsRequest) -> Classifier | None:
    """Return the head; None if there is none yet."""
    try:
        version = request.head_version or heads.get(request.head).version
    except NotFound:
        if request.strategy == "margin":
            raise
        return None
    return heads.classifier(request.head, version)


def _look(collection: Collection, request: pb.SuggestItemsRequest) -> _Seen:
    """Return the items that match, up to the limits; their labels are None where they have none."""
    where = read_json(request.filter_json) if request.filter_json else None
    held = current(collection.labels.all())
    most = min(_MOST_ITEMS, _MOST_BYTES // (4 * collection.dim))
    name, seen = request.label_field or "label", _Seen()
    after: int | None = 0
    while after is not None and len(seen.ids) < most:
        items, after = next_block(collection, where, after)
        for item in items[: most - len(seen.ids)]:
            if item.vector is not None:
                label = None if f"{name}_head" in item.payload else item.payload.get(name)  # a head's is no label
                seen.ids.append(item.id)
                seen.labels.append(class_of(held.get(item.id, {}), None if label is None else str(label)))
                seen.vectors.append(item.vector)
    return seen


def _choose(asked: str, classifier: Classifier | None, labels: list[str | None]) -> Strategy:
    """Return the strategy that was asked for, or the one that fits the number of labels."""
    for strategy in STRATEGIES:
        if strategy == asked:
            return strategy
    if classifier is None:
        return "typical"
    n_labels = sum(label is not None for label in labels)
    return "typical" if n_labels < FEW_LABELS * len(classifier.version.classes) else "margin"
