"""HeadService: train, publish, classify."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fc7._operations.batches import ROWS, align, call_with, next_request, split, split_images, write_images
from fc7._operations.conversion import (
    check_names,
    check_text,
    check_views,
    read_provenance,
    write_provenance,
    write_tensor,
)
from fc7._operations.steps import OpenStream, Operation, ReadStream, SendRequest, read_to_end
from fc7.errors import Aborted, Fc7Error, InvalidArgument, Reason
from fc7.features import Features
from fc7.grpc_errors import read_item_error
from fc7.images import ImageLike, InputImage, list_images, read_entries
from fc7.results import Classification, Failure, Head
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub

_SHOWN = 5  # unreadable images that the text of an error lists
_TRAINING_S = 24 * 3600.0  # a training call ends after a day at the latest

Report = Callable[[int], object]


def plan(
    name: str, collection: str | None, label: str, layer: str, model: str, features: Features | None
) -> pb.HeadPlan:
    """Return what to train. A collection and features bring their model and layer."""
    plan = pb.HeadPlan(name=check_text(name, "name"))
    if collection is not None:
        plan.collection, plan.label_field = check_text(collection, "collection"), check_text(label, "label")
    elif features is not None:
        if layer or model:
            raise InvalidArgument(
                "features already have a model and a layer. Leave out layer= and model=", name="features"
            )
        plan.provenance.CopyFrom(write_provenance(features.provenance))
    else:
        plan.layer, plan.model = check_text(layer, "layer"), check_text(model, "model")
    return plan


def train(
    plan: pb.HeadPlan,
    images: ImageLike | Iterable[ImageLike] | None,
    features: Features | None,
    labels: Iterable[str] | None,
    report: Report | None,
) -> Operation[Head]:
    """Train on a collection, on labelled features, or on labelled images, which are read while the server works."""
    n_sources = bool(plan.collection) + (images is not None) + (features is not None)
    if n_sources != 1 or (labels is None) != bool(plan.collection):
        raise InvalidArgument(
            "train_head takes collection=, or images= with labels=, or features= with labels=", name="collection"
        )
    unreadable: dict[int, Fc7Error] = {}
    names: list[str] = []  # of the images sent

    def requests() -> Iterator[pb.TrainHeadRequest]:
        yield pb.TrainHeadRequest(plan=plan)
        if features is not None and labels is not None:
            yield from _labelled(features, labels)
        if images is None or labels is None:
            return
        pairs: Iterator[tuple[InputImage, str]] = align(read_entries(list_images(images)), labels, "images", "labels")
        for batch in split(pairs, lambda pair: pair[0].n_bytes):
            names.extend(entry.name for entry, _ in batch)
            unreadable.update({entry.index: entry.error for entry, _ in batch if entry.error})
            request = pb.TrainHeadRequest()
            request.images.labels.extend(check_text(label, "label") for _, label in batch)
            write_images((entry for entry, _ in batch), request.images.images)
            yield request

    stream = yield OpenStream(Stub, "TrainHead", requests(), _TRAINING_S)
    failed: list[Failure] = []
    while (answer := (yield from _next_progress(stream, names, failed))) is not None:
        if answer.WhichOneof("part") == "head":
            yield from read_to_end(stream)
            return _read_head(answer.head, failed)
        progress = answer.progress
        failed += [Failure(f.index, unreadable.get(f.index) or read_item_error(f.error)) for f in progress.failed]
        if report:
            report(progress.extracted)
    raise Aborted("the server ended the training without a head. Train again")


def _labelled(features: Features, labels: Iterable[str]) -> Iterator[pb.TrainHeadRequest]:
    """Yield features with their labels, in parts that fit a message."""
    pairs: Iterator[tuple[Any, str]] = align(features.values, labels, "features", "labels")
    for batch in split(pairs, lambda pair: int(pair[0].nbytes), ROWS):
        request = pb.TrainHeadRequest()
        request.features.values.CopyFrom(write_tensor(np.stack([row for row, _ in batch])))
        request.features.labels.extend(check_text(label, "label") for _, label in batch)
        yield request


def _next_progress(stream: Any, names: Sequence[str], failed: Sequence[Failure]) -> Operation[Any]:
    """Return the next answer. Add to the error "too few images" which ones were left out, and why."""
    try:
        return (yield ReadStream(stream))
    except InvalidArgument as error:
        if error.reason != Reason.TOO_FEW_IMAGES.name or not failed:
            raise
        shown = [f"{names[one.index]}: {one.error.message}" for one in failed[:_SHOWN]]
        more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        text = f"{error.message}. Left out, because they cannot be read: {'; '.join(shown)}{more}"
        raise InvalidArgument(text, name=error.name, reason=Reason.TOO_FEW_IMAGES) from None


def publish(name: str, version: int) -> Operation[Head]:
    """Publish a version."""
    request = pb.PublishHeadRequest(name=check_text(name, "name"), version=_checked(version))
    response: pb.PublishHeadResponse = yield SendRequest(Stub, "PublishHead", request)
    return _read_head(response.head)


def get(name: str, version: int) -> Operation[Head]:
    """Return one version of a head."""
    request = pb.GetHeadRequest(name=check_text(name, "name"), version=_checked(version))
    response: pb.GetHeadResponse = yield SendRequest(Stub, "GetHead", request)
    return _read_head(response.head)


def list_all(all_versions: bool) -> Operation[list[Head]]:
    """Return the newest version of each head, or all versions."""
    request = pb.ListHeadsRequest(all_versions=all_versions)
    response: pb.ListHeadsResponse = yield SendRequest(Stub, "ListHeads", request)
    return [_read_head(head) for head in response.heads]


def delete(name: str, version: int | None, all_versions: bool) -> Operation[None]:
    """Delete one version of a head, or all of them."""
    request = pb.DeleteHeadRequest(
        name=check_text(name, "name"),
        version=None if version is None else _checked(version),
        all_versions=all_versions,
    )
    yield SendRequest(Stub, "DeleteHead", request)


def classify(
    images: ImageLike | Iterable[ImageLike],
    head: str,
    model: str,
    ensemble: Sequence[str],
    views: int,
    top: int,
    report: Report | None,
    head_version: int,
) -> Operation[list[Classification]]:
    """Classify batch by batch."""
    if not 1 <= top < 2**31:
        raise InvalidArgument(f"top must be from 1 to {2**31 - 1} (got {top})", name="top")
    head, model = check_text(head, "head"), check_text(model, "model")
    plan = pb.ClassifyRequest(
        head=head,
        head_version=_checked(head_version),
        model=model,
        top=top,
        views=check_views(views),
        ensemble=check_names(ensemble, "ensemble"),
    )
    results: list[Classification] = []
    batches = split_images(images)

    def pack(batch: list[InputImage]) -> pb.ClassifyRequest:
        request = pb.ClassifyRequest()
        request.CopyFrom(plan)
        write_images(batch, request.images)
        return request

    while (work := (yield next_request(batches, pack)))[0]:
        response: pb.ClassifyResponse = yield call_with(Stub, "Classify", work)
        results += [_read_result(e, r) for e, r in zip(work[0], response.results, strict=True)]
        if report:
            report(len(results))
    return results


def _checked(version: int) -> int:
    if not 0 <= version < 2**31:
        raise InvalidArgument(
            f"version must be from 1 to {2**31 - 1}, or 0 for the default (got {version})", name="version"
        )
    return version


def _read_result(entry: InputImage, result: pb.ClassifyResult) -> Classification:
    if entry.error or result.HasField("error"):
        return Classification([], entry.error or read_item_error(result.error))
    return Classification([(prediction.label, prediction.probability) for prediction in result.top])


def _read_head(head: pb.Head, failed: Iterable[Failure] = ()) -> Head:
    facts: dict[str, Any] = {
        name: getattr(head, name)
        for name in ("name", "version", "published_version", "count", "accuracy", "held_out", "method", "seconds")
    }
    return Head(
        **facts,
        provenance=read_provenance(head.provenance),
        classes=list(head.classes),
        weights_sha256=head.weights_sha256,
        created=head.created,
        parent_version=head.parent_version,
        majority_accuracy=head.majority_accuracy if head.HasField("majority_accuracy") else None,
        failed=list(failed),
    )
