"""ClassifyItems, WriteClasses and RankItems: a head on the stored features of a collection; no picture is decoded."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter
from fc7.contract.filter_json import read_json
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, NotFound, Reason
from fc7.v1 import head_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import StoredItem
from fc7_service.heads.classifier import Classifier
from fc7_service.heads.registry import Heads
from fc7_service.rpc.classify import UNKNOWN
from fc7_service.rpc.messages import write_error
from fc7_service.rpc.payload import write_payload

_BLOCK = 1024  # items per matrix product and per answer
_MOST_RANKED = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a head says about a stored item."""

    item: StoredItem
    label: str | None  # None if the head refuses the item
    best: str
    probability: float


class _Ranked(NamedTuple):
    rank: float  # larger is better
    place: int  # minus the number of items before it: the first of equals wins
    item: StoredItem
    probability: float


class ItemClassifier:
    """Answers the calls that run a head over a collection."""

    def __init__(self, heads: Heads, collections: Collections) -> None:
        self._heads, self._collections = heads, collections

    async def classify(
        self, request: pb.ClassifyItemsRequest, field: str = ""
    ) -> AsyncIterator[pb.ClassifyItemsResponse]:
        """Yield the classes of all items, block by block; write them to the payloads if a field is named."""
        classifier = await self._find(request.head, request.head_version)
        refuses = request.refuse_unknown or await asyncio.to_thread(self._refuses, classifier)
        if refuses:
            classifier.check_unknown_rule()
        where = _read_filter(request.filter_json)
        with await self._collections.use_soon(request.collection) as collection:
            check_provenance(classifier, collection)
            pools = self._collections.pools
            after: int | None = 0
            while after is not None:
                items, after = await pools.job(collection.name, next_block, collection, where, after)
                answers = await pools.job(collection.name, _answer, classifier, items, refuses)
                errors: list[Fc7Error | None] = [None] * len(answers)
                if field:
                    errors = await pools.write(collection.name, _write, collection, classifier, answers, field)
                if answers:
                    yield pb.ClassifyItemsResponse(
                        items=[_message(*pair) for pair in zip(answers, errors, strict=True)],
                        head_version=classifier.version.version,
                        filtered=where is not None,
                    )

    async def rank(self, request: pb.RankItemsRequest) -> pb.RankItemsResponse:
        """Return the items that are most probably of a class, or whose probability is nearest to a given one."""
        if not 1 <= request.k <= _MOST_RANKED:
            raise InvalidArgument(f"k must be 1 to {_MOST_RANKED} (got {request.k})", name="k")
        near = request.near_score if request.HasField("near_score") else None
        if near is not None and not 0 <= near <= 1:
            raise InvalidArgument(f"near_score must be from 0 to 1 (got {near:g})", name="near_score")
        classifier = await self._find(request.head, request.head_version)
        column = find_class(classifier, request.label)
        where = _read_filter(request.filter_json)
        best: list[_Ranked] = []
        n_seen, after = 0, 0
        with await self._collections.use_soon(request.collection) as collection:
            check_provenance(classifier, collection)
            pools = self._collections.pools
            rest: int | None = after
            while rest is not None:
                items, rest = await pools.job(collection.name, next_block, collection, where, rest)
                best = await pools.job(
                    collection.name, _merge, best, classifier, items, column, near, n_seen, request.k
                )
                n_seen += len(items)
        return pb.RankItemsResponse(
            items=[
                pb.RankedItem(id=one.item.id, probability=one.probability, payload_json=write_payload(one.item.payload))
                for one in best
            ],
            head_version=classifier.version.version,
            filtered=where is not None,
        )

    async def _find(self, head: str, version: int) -> Classifier:
        if version < 0:
            raise InvalidArgument(f"head_version must be at least 1, or 0 for the published one (got {version})")
        return await asyncio.to_thread(self._heads.classifier, head, version)

    def _refuses(self, classifier: Classifier) -> bool:
        name = classifier.version.name
        return self._heads.published(name) == classifier.version.version and self._heads.refuses_unknown(name)


def next_block(collection: Collection, where: Filter | None, after: int) -> tuple[list[StoredItem], int | None]:
    """Return some items with their features, and ``after`` of the next block or None."""
    if where is None:
        return collection.page(after, _BLOCK, True)
    return collection.page_where(where, after, _BLOCK, True)


def _features(items: list[StoredItem]) -> NDArray[np.float32]:
    return np.stack([item.vector for item in items if item.vector is not None]).astype(np.float32)


def _answer(classifier: Classifier, items: list[StoredItem], refuses: bool) -> list[Answer]:
    if not items:
        return []
    features = _features(items)
    probabilities = classifier.predict(features)
    is_unknown = classifier.are_unknown(features) if refuses else np.zeros(len(items), bool)
    best = probabilities.argmax(axis=1)
    return [
        Answer(item, None if unknown else classifier.version.classes[i], classifier.version.classes[i], float(row[i]))
        for item, i, row, unknown in zip(items, best.tolist(), probabilities, is_unknown.tolist(), strict=True)
    ]


def _write(collection: Collection, classifier: Classifier, answers: list[Answer], field: str) -> list[Fc7Error | None]:
    """Write each class to the payload of its item; return what kept an item from being written.

    A value that no head wrote stays: it may be the label that a person gave.
    """
    by = f"{classifier.version.name}/{classifier.version.version}"
    errors: list[Fc7Error | None] = [_foreign(answer, field) for answer in answers]
    written = [i for i, error in enumerate(errors) if error is None]
    changes = [
        (
            answers[i].item.id,
            PayloadChange(
                {
                    field: answers[i].label,
                    f"{field}_probability": round(answers[i].probability, 6),
                    f"{field}_head": by,
                }
            ),
        )
        for i in written
    ]
    for i, updated in zip(written, collection.update(changes), strict=True):
        errors[i] = updated.error
    return errors


def _foreign(answer: Answer, field: str) -> Fc7Error | None:
    payload = answer.item.payload
    if payload.get(field) is None or f"{field}_head" in payload:
        return None
    return FailedPrecondition(
        f"item {answer.item.id!r} has a value in {field!r} that no head wrote. Write to another field",
        name=field,
        reason=Reason.FIELD_NOT_OURS,
    )


def _merge(
    best: list[_Ranked],
    classifier: Classifier,
    items: list[StoredItem],
    column: int,
    near: float | None,
    n_before: int,
    k: int,
) -> list[_Ranked]:
    """Return the ``k`` best of those before and of a block of items."""
    if not items:
        return best
    probabilities = classifier.predict(_features(items))[:, column].astype(float)
    ranks = probabilities if near is None else -np.abs(probabilities - near)
    found = [
        _Ranked(rank, -(n_before + i), item, p)
        for i, (rank, item, p) in enumerate(zip(ranks.tolist(), items, probabilities.tolist(), strict=True))
    ]
    return heapq.nlargest(k, [*best, *found], key=lambda one: one[:2])


def _message(answer: Answer, error: Fc7Error | None) -> pb.ClassifiedItem:
    return pb.ClassifiedItem(
        id=answer.item.id,
        top=pb.Prediction(label=answer.best, probability=answer.probability),
        reason=UNKNOWN if answer.label is None else "",
        error=None if error is None else write_error(error),
    )


def find_class(classifier: Classifier, label: str) -> int:
    """Return the position of a class.

    Raises
    ------
    NotFound
        The head has no such class.
    """
    classes = classifier.version.classes
    if label not in classes:
        raise NotFound(
            f"head {classifier.version.name!r} has no class {label[:64]!r}. Its classes are: "
            f"{', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}",
            name="label",
            reason=Reason.CLASS_NOT_FOUND,
        )
    return classes.index(label)


def check_provenance(classifier: Classifier, collection: Collection) -> None:
    """Refuse a collection whose features are not those that a head takes."""
    ours, theirs = classifier.version.provenance, collection.provenance
    if ours.digest != theirs.digest:
        raise FailedPrecondition(
            f"head {classifier.version.name!r} takes features of {ours.model} {ours.layer}, but collection "
            f"{collection.name!r} has those of {theirs.model} {theirs.layer}. Train the head on the collection",
            name=collection.name,
            reason=Reason.PROVENANCE_MISMATCH,
        )


def _read_filter(text: str) -> Filter | None:
    return read_json(text) if text else None
