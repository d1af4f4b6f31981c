"""TrainHead: read the plan and the images or features of a call, extract, and train in turn."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import head_pb2 as pb
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.heads import limits
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.registry import Heads, TrainingRows
from fc7_service.heads.row_weights import check_weights
from fc7_service.rpc.instant_heads import InstantHeads
from fc7_service.rpc.messages import content_sha256, read_image, read_tensor, write_error
from fc7_service.rpc.request_models import model_of_provenance

_MOST_TRAININGS = 8  # that fit, or wait for their turn
_MOST_ROW_BYTES = 4 * 2**30  # of features that all training calls hold together
_RETRY_AFTER_S = 10.0
_MOST_ID_CHARS, _MOST_SOURCE_CHARS = 1024, 4096


class Trainer:
    """Answers the training calls of a server."""

    def __init__(self, heads: Heads, extractor: Extractor, collections: Collections) -> None:
        self._heads, self._extractor, self._collections = heads, extractor, collections
        self._n_trainings, self._memory = 0, RowMemory()
        self._instant = InstantHeads(heads)

    async def train(
        self, plan: pb.HeadPlan, requests: AsyncIterator[pb.TrainHeadRequest]
    ) -> AsyncIterator[pb.TrainProgress | HeadVersion]:
        """Yield the progress of one call, and at the end the head that it trained."""
        self._heads.check_name(plan.name)
        _check_length(plan.source, _MOST_SOURCE_CHARS, "source")
        if plan.instant and (plan.group_field or plan.balanced or not plan.collection):
            raise InvalidArgument(
                "an instant head is trained on a whole collection, splits nothing and weighs all items the same. Leave "
                "out instant, or the groups and the weights",
                name="instant",
            )
        if plan.collection:
            await _read_to_end(requests, plan)
            with await self._collections.use_soon(plan.collection) as collection:
                field = plan.label_field or (None if plan.from_records else "label")

                def read() -> TrainingRows:
                    most = limits.max_rows(collection.dim)
                    found = collection.labelled_features(field, most, plan.group_field, plan.from_records)
                    return TrainingRows(*found)

                with self._training_place():
                    yield pb.TrainProgress(extracted=collection.count, stage="fit")
                    source = plan.source or f"collection {plan.collection}"
                    if plan.instant:
                        train = self._instant.trainer(plan.name, collection, field, plan.from_records, source)
                        head = await self._heads.in_turn(plan.name, train)
                    else:
                        head = await self._heads.train_in_turn(
                            plan.name, read, collection.provenance, source, balanced=plan.balanced
                        )
        else:
            model, layer = self._find_source(plan)
            provenance = self._extractor.models.bundle(model).provenance(layer)
            kind = "features" if plan.HasField("provenance") else "images"
            with closing(LabelledRows(self._extractor, model, provenance, self._memory)) as rows:
                async for request in requests:
                    _check_part(request, kind)
                    if kind == "features":
                        yield rows.add_features(request.features)
                    else:
                        yield await rows.add_images(request.images)
                with self._training_place():
                    yield pb.TrainProgress(extracted=len(rows.labels), stage="fit")
                    head = await self._heads.train_in_turn(
                        plan.name, rows.take_all, provenance, plan.source, balanced=plan.balanced
                    )
        yield head

    def _find_source(self, plan: pb.HeadPlan) -> tuple[str, str]:
        """Return the model and the layer of a plan for images or features."""
        if not plan.HasField("provenance"):
            return plan.model, plan.layer
        if plan.model or plan.layer:
            raise InvalidArgument(
                "features come with a model and a layer. Leave both empty in the plan", name="provenance"
            )
        fields = {field.name: value for field, value in plan.provenance.ListFields()}
        provenance = Provenance.from_dict(fields)
        return model_of_provenance(self._extractor, provenance, "the training data"), provenance.layer

    @contextmanager
    def _training_place(self) -> Iterator[None]:
        """Count this call among those that fit or wait for their turn; refuse it if there are too many."""
        if self._n_trainings >= _MOST_TRAININGS:
            raise ResourceExhausted(
                f"{self._n_trainings} trainings run or wait already. Try again in {_RETRY_AFTER_S:g} s",
                name="plan",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_trainings += 1
        try:
            yield
        finally:
            self._n_trainings -= 1


class RowMemory:
    """The memory that the features of all training calls may take together."""

    def __init__(self) -> None:
        self._n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take memory, or refuse the call if not enough is left."""
        if self._n_bytes + n_bytes > _MOST_ROW_BYTES:
            raise ResourceExhausted(
                f"other trainings hold {self._n_bytes} bytes of features. Try again in {_RETRY_AFTER_S:g} s",
                name="images",
                retry_after_s=_RETRY_AFTER_S,
                reason=Reason.QUEUE_FULL,
            )
        self._n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Give memory back."""
        self._n_bytes -= n_bytes


class LabelledRows:
    """The labelled features of one training call. ``close`` gives their memory back."""

    def __init__(self, extractor: Extractor, model: str, provenance: Provenance, memory: RowMemory) -> None:
        self._extractor, self._model, self._provenance = extractor, model, provenance
        self._memory, self._n_bytes = memory, 0
        self._values: list[NDArray[np.float32]] = []
        self._seen = 0
        self._classes: set[str] = set()
        self.labels: list[str] = []
        self.contents: list[str] = []  # content digest of each image; copies stay on one side of the split
        self.ids: list[str] = []
        self.groups: list[str] = []  # the caller's, which stay on one side too; empty for none
        self.weights: list[float] = []

    async def add_images(self, part: pb.LabelledImages) -> pb.TrainProgress:
        """Extract some images; return the progress, with the images that could not be read."""
        if len(part.images) != len(part.labels):
            raise InvalidArgument(
                f"send one label per image (got {len(part.images)} images and {len(part.labels)} labels)", name="labels"
            )
        _check_names(part.labels, part.ids, part.groups)
        check_weights(part.weights, len(part.labels))
        images = [read_image(image) for image in part.images]
        found = await extract_images(self._extractor, images, self._model, self._provenance.layer, can_wait=True)
        failed = []
        for i, row in enumerate(found.rows):
            if isinstance(row, Fc7Error):
                failed.append(pb.FailedImage(index=self._seen + i, error=write_error(row)))
                continue
            row = row.copy()  # the row is a view, and would keep the whole batch in memory
            self._keep(row, part.labels[i], content_sha256(part.images[i]), part, i)
        self._seen += len(part.images)
        self._classes.update(part.labels)
        if self._values:
            limits.check_size(len(self._values), len(self._values[0]), len(self._classes))
        return pb.TrainProgress(extracted=len(self.labels), failed=failed, stage="extract")

    def add_features(self, part: pb.LabelledFeatures) -> pb.TrainProgress:
        """Keep some features; return the progress."""
        dim = self._extractor.models.bundle(self._model).layers[self._provenance.layer].dim
        values = read_tensor(part.values, "values")
        if values.dtype != np.float32 or values.shape != (len(part.labels), dim):
            raise InvalidArgument(
                f"values must be float32 of shape (N, {dim}), with N labels (got {values.dtype} of shape "
                f"{values.shape}, and {len(part.labels)} labels)",
                name="values",
                reason=Reason.INVALID_VECTOR,
            )
        _check_names(part.labels, part.ids, part.groups)
        check_weights(part.weights, len(part.labels))
        for i, (row, label) in enumerate(zip(values, part.labels, strict=True)):
            self._keep(row, label, hashlib.sha256(row.tobytes()).hexdigest(), part, i)
        self._seen += len(values)
        self._classes.update(part.labels)
        limits.check_size(len(self._values), dim, len(self._classes))
        return pb.TrainProgress(extracted=len(self.labels), stage="extract")

    def _keep(
        self, row: NDArray[np.float32], label: str, content: str, part: pb.LabelledImages | pb.LabelledFeatures, i: int
    ) -> None:
        """Keep the row that comes from place ``i`` of a part."""
        self._memory.take(row.nbytes)
        self._n_bytes += row.nbytes
        self._values.append(row)
        self.labels.append(label)
        self.contents.append(content)
        self.ids.append((part.ids[i] if part.ids else "") or str(self._seen + i))
        self.groups.append(part.groups[i] if part.groups else "")
        self.weights.append(part.weights[i] if part.weights else 1.0)

    def take_all(self) -> TrainingRows:
        """Return the rows, and keep no features."""
        if not self._values:
            raise InvalidArgument(
                "there is no image to train on. Send at least two classes", name="images", reason=Reason.TOO_FEW_IMAGES
            )
        values, self._values = self._values, []
        return TrainingRows(np.stack(values), self.labels, self.contents, self.ids, self.groups, self.weights)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.give_back(self._n_bytes)


async def _read_to_end(requests: AsyncIterator[pb.TrainHeadRequest], plan: pb.HeadPlan) -> None:
    """Wait for the end of a stream that trains on a collection; refuse what contradicts the collection."""
    for field, value in (("model", plan.model), ("layer", plan.layer)):
        if value:
            raise InvalidArgument(
                f"collection {plan.collection[:64]!r} has its own {field}. Leave {field} empty (got {value[:64]!r})",
                name=field,
            )
    async for request in requests:
        _check_part(request, "images")
        raise InvalidArgument(
            f"train on images or on a collection, not on both (got images and collection {plan.collection[:64]!r})",
            name="images",
        )


def _check_part(request: pb.TrainHeadRequest, kind: str) -> None:
    """Refuse a second plan, and a mix of images and features."""
    part = request.WhichOneof("part")
    if part == "plan":
        raise InvalidArgument("send the plan once, in the first message", name="plan")
    if part not in (kind, None):
        raise InvalidArgument(
            f"the plan is for {kind}, but {part} were sent. A plan with a provenance is for features", name=part
        )


def _check_names(labels: Sequence[str], ids: Sequence[str], groups: Sequence[str]) -> None:
    """Refuse labels that cannot name a class, and ids or groups that are too long or not one per label."""
    for label in labels:
        limits.check_label(label)
    for kind, names in (("ids", ids), ("groups", groups)):
        if names and len(names) != len(labels):
            raise InvalidArgument(
                f"send one of {kind} per label, or none (got {len(names)} {kind} and {len(labels)} labels)", name=kind
            )
        for name in names:
            _check_length(name, _MOST_ID_CHARS, kind)


def _check_length(text: str, most: int, name: str) -> None:
    if len(text) > most:
        raise InvalidArgument(f"{text[:32]!r}... has {len(text)} characters. The limit is {most}", name=name)
