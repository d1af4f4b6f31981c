"""CompareHeads: two heads on the labelled items of a collection."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter_json import read_json
from fc7.errors import DataLoss, FailedPrecondition
from fc7.v1 import head_pb2 as pb
from fc7_service.collections.labels import class_of, current
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import StoredItem
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.registry import Heads
from fc7_service.rpc.classify_items import check_provenance, next_block

_MOST_DIFFERING = 1000


def compare_heads(request: pb.CompareHeadsRequest, heads: Heads, collections: Collections) -> pb.CompareHeadsResponse:
    """Answer one call."""
    both = [heads.classifier(one.name, heads.get(one.name, one.version).version) for one in _names(request)]
    trained_on = set().union(*(_contents(heads, classifier) for classifier in both))
    known = set(both[0].version.classes) & set(both[1].version.classes)
    where = read_json(request.filter_json) if request.filter_json else None
    response = pb.CompareHeadsResponse(first=_name(both[0]), second=_name(both[1]), filtered=where is not None)
    with collections.use(request.collection) as collection:
        for classifier in both:
            check_provenance(classifier, collection)
        held = current(collection.labels.all()) if request.from_records else {}
        field = request.label_field or ("" if request.from_records else "label")
        after: int | None = 0
        while after is not None:
            items, after = next_block(collection, where, after)
            labels = {item.id: class_of(held.get(item.id, {}), _label_in(item, field)) for item in items}
            labelled = [item for item in items if labels[item.id] is not None and item.vector is not None]
            judged = [item for item in labelled if labels[item.id] in known]
            response.unknown_label += len(labelled) - len(judged)
            response.trained_on += sum(item.content_sha256 in trained_on for item in judged)
            if judged:
                _count(response, judged, labels, both)
    return response


def _count(
    response: pb.CompareHeadsResponse, items: list[StoredItem], labels: dict[str, str | None], both: list[Classifier]
) -> None:
    """Add the answers about some items."""
    features: NDArray[np.float32] = np.stack([item.vector for item in items if item.vector is not None])
    probabilities = [classifier.predict(features.astype(np.float32)) for classifier in both]
    answers = [
        [classifier.version.classes[i] for i in each.argmax(axis=1)]
        for classifier, each in zip(both, probabilities, strict=True)
    ]
    for row, (item, first, second) in enumerate(zip(items, *answers, strict=True)):
        label = labels[item.id] or ""
        response.count += 1
        response.both_right += first == second == label
        response.only_first += first == label != second
        response.only_second += second == label != first
        if first != second:
            response.n_differing += 1
            if len(response.differing) < _MOST_DIFFERING:
                said = [
                    pb.Prediction(label=answer, probability=float(each[row].max()))
                    for answer, each in zip((first, second), probabilities, strict=True)
                ]
                response.differing.add(id=item.id, label=label, first=said[0], second=said[1])


def _names(request: pb.CompareHeadsRequest) -> tuple[pb.HeadName, pb.HeadName]:
    return request.first, request.second


def _name(classifier: Classifier) -> pb.HeadName:
    return pb.HeadName(name=classifier.version.name, version=classifier.version.version)


def _contents(heads: Heads, classifier: Classifier) -> set[str]:
    """Return the content hashes of the pictures that a version was trained on; none for an old version."""
    with suppress(FailedPrecondition, DataLoss):
        return set(heads.judgement(classifier.version.name, classifier.version.version)[1].contents)
    return set()


def _label_in(item: StoredItem, field: str) -> str | None:
    """Return the label in a payload, if a person wrote it."""
    label = None if not field or f"{field}_head" in item.payload else item.payload.get(field)
    return None if label is None else str(label)
