"""HeadService: train on features, publish, classify."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import head_pb2 as pb
from fc7.v1 import head_pb2_grpc
from fc7_service.bundle.bundle import check_same_classes
from fc7_service.bundle.provenance import Provenance
from fc7_service.bundle.softmax import softmax
from fc7_service.collections.registry import Collections
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import ImageFeatures, extract_views, extract_when_free
from fc7_service.heads import limits
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.registry import Heads, TrainingRows
from fc7_service.rpc.messages import (
    content_sha256,
    read_image,
    read_tensor,
    read_views,
    write_error,
    write_provenance,
    write_timing,
)
from fc7_service.rpc.request_models import model_of_provenance, models_of_request

_DEFAULT_TOP = 5
_MOST_TRAININGS = 8  # that are fitted or wait for their turn
_MOST_ROW_BYTES = 4 * 2**30  # of all training calls whose images have come
_RETRY_AFTER_S = 10.0


class HeadServicer(head_pb2_grpc.HeadServiceServicer):
    """Heads and what they say of images."""

    def __init__(self, heads: Heads, extractor: Extractor, collections: Collections) -> None:
        self._heads, self._extractor, self._collections = heads, extractor, collections
        self._n_trainings, self._room = 0, _Room()

    async def TrainHead(  # noqa: N802
        self, requests: AsyncIterator[pb.TrainHeadRequest], context: Any
    ) -> AsyncIterator[pb.TrainHeadResponse]:
        """Train the next version of a head."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("part") != "plan":
            raise InvalidArgument("the first message of TrainHead is the plan", name="plan")
        async for response in self._train(first.plan, requests):
            yield response

    async def _train(
        self, plan: pb.HeadPlan, requests: AsyncIterator[pb.TrainHeadRequest]
    ) -> AsyncIterator[pb.TrainHeadResponse]:
        self._heads.check_name(plan.name)
        if plan.collection:
            await _end_of(requests, plan)
            with await asyncio.to_thread(self._collections.use, plan.collection) as collection:
                read = partial(
                    collection.labelled_features, plan.label_field or "label", limits.max_rows(collection.dim)
                )
                with self._place():
                    yield pb.TrainHeadResponse(progress=pb.TrainProgress(extracted=collection.count, stage="fit"))
                    head = await self._heads.train_in_turn(plan.name, read, collection.provenance)
        else:
            model, layer = self._source(plan)
            provenance = self._extractor.bundle(model).provenance(layer)
            kind = "features" if plan.HasField("provenance") else "images"
            with closing(_Rows(self._extractor, model, provenance, self._room)) as rows:
                async for request in requests:
                    _check_part(request, kind)
                    if kind == "features":
                        yield pb.TrainHeadResponse(progress=rows.take_features(request.features))
                    else:
                        yield pb.TrainHeadResponse(progress=await rows.take(request.images))
                with self._place():
                    yield pb.TrainHeadResponse(progress=pb.TrainProgress(extracted=len(rows.labels), stage="fit"))
                    head = await self._heads.train_in_turn(plan.name, rows.end, provenance)
        yield pb.TrainHeadResponse(head=await asyncio.to_thread(self._facts, head))

    def _source(self, plan: pb.HeadPlan) -> tuple[str, str]:
        """Return the model and the layer that a plan for images or features names."""
        if not plan.HasField("provenance"):
            return plan.model, plan.layer
        if plan.model or plan.layer:
            raise InvalidArgument("features have a model and a layer of their own: leave both empty", name="provenance")
        fields = {field.name: value for field, value in plan.provenance.ListFields()}
        provenance = Provenance.from_dict(fields)
        return model_of_provenance(self._extractor, provenance, "the features to train on"), provenance.layer

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold a place among the trainings that are fitted or wait for their turn."""
        if self._n_trainings >= _MOST_TRAININGS:
            raise ResourceExhausted(
                f"{self._n_trainings} trainings are under way or wait: retry after {_RETRY_AFTER_S:g} s",
                name="plan",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_trainings += 1
        try:
            yield
        finally:
            self._n_trainings -= 1

    async def PublishHead(self, request: pb.PublishHeadRequest, context: Any) -> pb.PublishHeadResponse:  # noqa: N802
        """Make a version the one that Classify uses."""
        head = await asyncio.to_thread(self._heads.publish, request.name, request.version)
        return pb.PublishHeadResponse(head=await asyncio.to_thread(self._facts, head))

    async def GetHead(self, request: pb.GetHeadRequest, context: Any) -> pb.GetHeadResponse:  # noqa: N802
        """Return one version of a head."""
        head = await asyncio.to_thread(self._heads.get, request.name, request.version)
        await asyncio.to_thread(self._heads.check_published, request.name)
        return pb.GetHeadResponse(head=await asyncio.to_thread(self._facts, head))

    async def ListHeads(self, request: pb.ListHeadsRequest, context: Any) -> pb.ListHeadsResponse:  # noqa: N802
        """List the newest version of every head, or all versions."""
        heads = await asyncio.to_thread(self._heads.list, all_versions=request.all_versions)
        facts = await asyncio.to_thread(lambda: [self._facts(head) for head in heads])  # each reads a file
        return pb.ListHeadsResponse(heads=facts)

    async def DeleteHead(self, request: pb.DeleteHeadRequest, context: Any) -> pb.DeleteHeadResponse:  # noqa: N802
        """Delete a head or one version of it."""
        if request.all_versions == request.HasField("version") or (request.HasField("version") and request.version < 1):
            raise InvalidArgument(
                f"version of head {request.name[:64]!r} to delete: name one, at least 1, or say all_versions",
                name="version",
            )
        await asyncio.to_thread(self._heads.delete, request.name, request.version)
        return pb.DeleteHeadResponse()

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        """Classify images with a published head, or with the network's own classes."""
        if request.top < 0:
            raise InvalidArgument(f"top is {request.top}: at least 1, or 0 for {_DEFAULT_TOP}", name="top")
        if request.head_version < 0 or (request.head_version and not request.head):
            raise InvalidArgument(
                f"head_version is {request.head_version} of head {request.head[:64]!r}: at least 1 of a head that is "
                "named, or 0 for the published one",
                name="head_version",
            )
        n_views = read_views(request.views)
        members = await self._members(request)
        images = [read_image(image) for image in request.images]
        found = [await extract_views(self._extractor, images, m.model, m.layer, n_views) for m in members]
        rows = await asyncio.to_thread(_average, members, found)
        top = request.top or _DEFAULT_TOP
        provenances = [one.provenance for one in found]
        return pb.ClassifyResponse(
            results=[
                pb.ClassifyResult(error=write_error(row))
                if isinstance(row, Fc7Error)
                else pb.ClassifyResult(top=_best(row, members[0].classes, top))
                for row in rows
            ],
            provenance=write_provenance(Provenance.of_ensemble(provenances) if request.ensemble else provenances[0]),
            head_version=members[0].version,
            timing=write_timing(sum((one.timing for one in found), Timing())),
        )

    async def _members(self, request: pb.ClassifyRequest) -> list[_Member]:
        """Return what is to classify: a head, a network or an ensemble of networks."""
        if not request.head:
            names = models_of_request(self._extractor, request.model, request.ensemble)
            bundles = [self._extractor.bundle(name) for name in names]
            check_same_classes(bundles)
            classes = tuple(c.name for c in bundles[0].classes)
            return [_Member(bundle.name, "logits", classes, softmax) for bundle in bundles]
        if request.ensemble:
            raise InvalidArgument("ensemble goes without head, which has a network of its own", name="ensemble")
        classifier = await asyncio.to_thread(self._heads.classifier, request.head, request.head_version)
        head = classifier.version
        model = model_of_provenance(self._extractor, head.provenance, f"head {request.head!r}")
        return [_Member(model, head.provenance.layer, head.classes, classifier.predict, head.version)]

    def _facts(self, head: HeadVersion) -> pb.Head:
        return pb.Head(
            name=head.name,
            version=head.version,
            published_version=self._heads.published(head.name),
            provenance=write_provenance(head.provenance),
            classes=head.classes,
            count=head.count,
            accuracy=head.accuracy,
            held_out=head.held_out,
            method=head.method,
            seconds=head.seconds,
            weights_sha256=head.weights_sha256,
            created=head.created,
            parent_version=head.parent_version,
            majority_accuracy=head.majority_accuracy,
        )


@dataclass(frozen=True, slots=True)
class _Member:
    """One that classifies: alone, or with others of the same classes."""

    model: str
    layer: str
    classes: tuple[str, ...]
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]]  # features (N, D) to probabilities (N, C)
    version: int = 0  # of a head


class _Room:
    """Memory for the rows of all training calls together."""

    def __init__(self) -> None:
        self._n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take room, or refuse a call that found none."""
        if self._n_bytes + n_bytes > _MOST_ROW_BYTES:
            raise ResourceExhausted(
                f"{self._n_bytes} bytes of features wait for other trainings: retry after {_RETRY_AFTER_S:g} s",
                name="images",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Give room back."""
        self._n_bytes -= n_bytes


class _Rows:
    """Labelled features, collected from the images of one training call; to be closed."""

    def __init__(self, extractor: Extractor, model: str, provenance: Provenance, room: _Room) -> None:
        self._extractor, self._model, self._provenance = extractor, model, provenance
        self._room, self._n_bytes = room, 0
        self._values: list[NDArray[np.float32]] = []
        self._seen = 0
        self._classes: set[str] = set()
        self.labels: list[str] = []
        self.groups: list[str] = []  # content hash of each image: copies stay on one side of the split

    async def take(self, part: pb.LabelledImages) -> pb.TrainProgress:
        """Extract one part; return how far the call is and what was left out."""
        if len(part.images) != len(part.labels):
            raise InvalidArgument(
                f"{len(part.images)} images came with {len(part.labels)} labels: one label an image", name="labels"
            )
        for label in part.labels:
            limits.check_label(label)
        images = [read_image(image) for image in part.images]
        found = await extract_when_free(self._extractor, images, self._model, self._provenance.layer)
        failed = []
        for i, row in enumerate(found.rows):
            if isinstance(row, Fc7Error):
                failed.append(pb.FailedImage(index=self._seen + i, error=write_error(row)))
                continue
            row = row.copy()  # a view would keep the whole answer of the engine
            self._keep(row, part.labels[i], content_sha256(part.images[i]))
        self._seen += len(part.images)
        self._classes.update(part.labels)
        if self._values:
            limits.check_size(len(self._values), len(self._values[0]), len(self._classes))
        return pb.TrainProgress(extracted=len(self.labels), failed=failed, stage="extract")

    def take_features(self, part: pb.LabelledFeatures) -> pb.TrainProgress:
        """Keep one part of the features; return how far the call is."""
        dim = self._extractor.bundle(self._model).layers[self._provenance.layer].dim
        values = read_tensor(part.values, "values")
        if values.dtype != np.float32 or values.shape != (len(part.labels), dim):
            raise InvalidArgument(
                f"{values.dtype} {values.shape} came with {len(part.labels)} labels: float32 (N, {dim}) and N labels "
                "are expected",
                name="values",
                reason=Reason.INVALID_VECTOR,
            )
        for label in part.labels:
            limits.check_label(label)
        for row, label in zip(values, part.labels, strict=True):
            self._keep(row, label, hashlib.sha256(row.tobytes()).hexdigest())
        self._classes.update(part.labels)
        limits.check_size(len(self._values), dim, len(self._classes))
        return pb.TrainProgress(extracted=len(self.labels), stage="extract")

    def _keep(self, row: NDArray[np.float32], label: str, group: str) -> None:
        self._room.take(row.nbytes)
        self._n_bytes += row.nbytes
        self._values.append(row)
        self.labels.append(label)
        self.groups.append(group)

    def end(self) -> TrainingRows:
        """Return the features (N, D), the labels and the content hashes; keep no feature."""
        if not self._values:
            raise InvalidArgument(
                "no image to train on: send two classes at least", name="images", reason=Reason.TOO_FEW_IMAGES
            )
        values, self._values = self._values, []
        return np.stack(values), self.labels, self.groups

    def close(self) -> None:
        """Give the room back."""
        self._room.give_back(self._n_bytes)


async def _end_of(requests: AsyncIterator[pb.TrainHeadRequest], plan: pb.HeadPlan) -> None:
    """Wait for the end of a stream that trains on a collection; refuse what does not go with one."""
    for field, value in (("model", plan.model), ("layer", plan.layer)):
        if value:
            raise InvalidArgument(
                f"{field} {value[:64]!r} does not go with the collection {plan.collection[:64]!r}, which has its own: "
                "leave it empty",
                name=field,
            )
    async for request in requests:
        _check_part(request, "images")
        raise InvalidArgument(
            f"images were sent beside the collection {plan.collection[:64]!r}: train on one or the other", name="images"
        )


def _check_part(request: pb.TrainHeadRequest, kind: str) -> None:
    """Refuse a second plan, and features among images or images among features."""
    part = request.WhichOneof("part")
    if part == "plan":
        raise InvalidArgument("a second plan came: only the first message holds one", name="plan")
    if part not in (kind, None):
        raise InvalidArgument(
            f"{part} came in a call whose plan is for {kind}: a plan with a provenance is for features", name=part
        )


def _average(members: list[_Member], found: list[ImageFeatures]) -> list[NDArray[np.float32] | Fc7Error]:
    """Return each image's probabilities (C,), averaged over views and members, or its error."""
    rows: list[Any] = [
        next((part for part in parts if isinstance(part, Fc7Error)), None)
        for parts in zip(*(one.rows for one in found), strict=True)
    ]
    good = [i for i, error in enumerate(rows) if error is None]
    if not good:
        return rows
    answers = []
    for member, one in zip(members, found, strict=True):
        of_good: list[Any] = [one.rows[i] for i in good]
        views = np.stack(of_good)  # (N, V, D)
        probabilities = member.predict(views.reshape(-1, views.shape[-1]))
        answers.append(probabilities.reshape(*views.shape[:2], -1).mean(axis=1))
    for i, row in zip(good, np.mean(answers, axis=0), strict=True):
        rows[i] = row
    return rows


def _best(probabilities: NDArray[np.float32], classes: tuple[str, ...], top: int) -> list[pb.Prediction]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [pb.Prediction(label=classes[i], probability=float(probabilities[i])) for i in order]
