"""HeadService: train, publish, classify."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

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
from fc7.errors import Aborted, FailedPrecondition, Fc7Error, InvalidArgument, Reason
from fc7.features import Features
from fc7.grpc_errors import read_item_error
from fc7.images import ImageLike, InputImage, list_images, read_entries
from fc7.measures import Estimate, HeadMeasures, UnknownRule, UnknownScore
from fc7.results import Classification, Failure, Head
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub

_SHOWN = 5  # unreadable images that the text of an error lists
_ID_CHARS = 1024  # of the longest id
_TRAINING_S = 24 * 3600.0  # a training call ends after a day at the latest

Report = Callable[[int], object]


def plan(
    name: str,
    collection: str | None,
    label: str | None,
    layer: str,
    model: str,
    features: Features | None,
    source: str = "",
    group: str | None = None,
    records: bool = False,
    instant: bool = False,
    balanced: bool = False,
) -> pb.HeadPlan:
    """Return what to train. A collection and features bring their model and layer."""
    plan = pb.HeadPlan(name=check_text(name, "name"), source=check_text(source, "source"))
    plan.instant, plan.balanced = instant, balanced
    if collection is not None:
        plan.collection = check_text(collection, "collection")
        plan.from_records, plan.label_field = records or label is None, check_text(label or "", "label")
        plan.group_field = check_text(group or "", "group")
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
    ids: Iterable[str] | None = None,
    groups: Iterable[str] | None = None,
    weights: Iterable[float] | None = None,
) -> Operation[Head]:
    """Train on a collection, on labelled features, or on labelled images, which are read while the server works."""
    n_sources = bool(plan.collection) + (images is not None) + (features is not None)
    if n_sources != 1 or (labels is None) != bool(plan.collection):
        raise InvalidArgument(
            "train_head takes collection=, or images= with labels=, or features= with labels=", name="collection"
        )
    if plan.collection and (ids is not None or groups is not None or weights is not None):
        raise InvalidArgument(
            "the items of a collection have their own ids and no weights, and group= names the field of their groups. "
            "Leave out ids=, groups= and weights=",
            name="ids",
        )
    unreadable: dict[int, Fc7Error] = {}
    names: list[str] = []  # of the images sent

    def requests() -> Iterator[pb.TrainHeadRequest]:
        yield pb.TrainHeadRequest(plan=plan)
        if features is not None and labels is not None:
            yield from _features(features, _labelled(features.values, labels, ids, groups, weights, "features"))
        if images is None or labels is None:
            return
        rows = _labelled(read_entries(list_images(images)), labels, ids, groups, weights, "images")
        for batch in split(rows, lambda row: int(row.row.n_bytes)):
            entries = [row.row for row in batch]
            names.extend(entry.name for entry in entries)
            unreadable.update({entry.index: entry.error for entry in entries if entry.error})
            request = pb.TrainHeadRequest()
            _describe(batch, request.images)
            request.images.ids.extend(check_text(row.id or row.row.name[-_ID_CHARS:], "id") for row in batch)
            write_images(entries, request.images.images)
            yield request

    stream = yield OpenStream(Stub, "TrainHead", requests(), _TRAINING_S)
    failed: list[Failure] = []
    while (answer := (yield from _next_progress(stream, names, failed))) is not None:
        if answer.WhichOneof("part") == "head":
            yield from read_to_end(stream)
            return read_head(answer.head, failed)
        progress = answer.progress
        failed += [Failure(f.index, unreadable.get(f.index) or read_item_error(f.error)) for f in progress.failed]
        if report:
            report(progress.extracted)
    raise Aborted("the server ended the training without a head. Train again")


class _Row(NamedTuple):
    """A row to train on. Without an id, a group or a weight, it has None."""

    row: Any  # an image entry or a feature
    label: str
    id: str | None
    group: str | None
    weight: float | None


def _features(features: Features, rows: Iterable[_Row]) -> Iterator[pb.TrainHeadRequest]:
    """Yield features with their labels, in parts that fit a message."""
    for batch in split(rows, lambda row: int(row.row.nbytes), ROWS):
        request = pb.TrainHeadRequest()
        request.features.values.CopyFrom(write_tensor(np.stack([row.row for row in batch])))
        _describe(batch, request.features)
        request.features.ids.extend(check_text(row.id, "id") for row in batch if row.id is not None)
        yield request


def _describe(batch: Sequence[_Row], part: pb.LabelledImages | pb.LabelledFeatures) -> None:
    """Write the labels, groups and weights of some rows."""
    part.labels.extend(check_text(row.label, "label") for row in batch)
    part.groups.extend(check_text(row.group, "group") for row in batch if row.group is not None)
    part.weights.extend(float(row.weight) for row in batch if row.weight is not None)


def _labelled(
    rows: Iterable[Any],
    labels: Iterable[str],
    ids: Iterable[str] | None,
    groups: Iterable[str] | None,
    weights: Iterable[float] | None,
    name: str,
) -> Iterator[_Row]:
    """Yield each row with what belongs to it."""
    with_ids = _align(align(rows, labels, name, "labels"), ids, name, "ids")
    with_groups = _align(with_ids, groups, name, "groups")
    for (((row, label), own), group), weight in _align(with_groups, weights, name, "weights"):
        yield _Row(row, label, own, group, weight)


def _align(rows: Iterable[Any], values: Iterable[Any] | None, name: str, kind: str) -> Iterator[tuple[Any, Any]]:
    """Yield each row with its value; with None if there are no values."""
    return ((row, None) for row in rows) if values is None else align(rows, values, name, kind)


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


def publish(name: str, version: int, refuse_unknown: bool = False) -> Operation[Head]:
    """Publish a version."""
    request = pb.PublishHeadRequest(
        name=check_text(name, "name"), version=check_version(version), refuse_unknown=refuse_unknown
    )
    response: pb.PublishHeadResponse = yield SendRequest(Stub, "PublishHead", request)
    return read_head(response.head)


def get(name: str, version: int) -> Operation[Head]:
    """Return one version of a head."""
    request = pb.GetHeadRequest(name=check_text(name, "name"), version=check_version(version))
    response: pb.GetHeadResponse = yield SendRequest(Stub, "GetHead", request)
    return read_head(response.head)


def list_all(all_versions: bool) -> Operation[list[Head]]:
    """Return the newest version of each head, or all versions."""
    request = pb.ListHeadsRequest(all_versions=all_versions)
    response: pb.ListHeadsResponse = yield SendRequest(Stub, "ListHeads", request)
    return [read_head(head) for head in response.heads]


def delete(name: str, version: int | None, all_versions: bool) -> Operation[None]:
    """Delete one version of a head, or all of them."""
    request = pb.DeleteHeadRequest(
        name=check_text(name, "name"),
        version=None if version is None else check_version(version),
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
    refuse_unknown: bool = False,
    coverage: float | None = None,
    also: Sequence[str] = (),
) -> Operation[list[Classification]]:
    """Classify batch by batch."""
    if not 1 <= top < 2**31:
        raise InvalidArgument(f"top must be from 1 to {2**31 - 1} (got {top})", name="top")
    if coverage is not None and not 0 < coverage < 1:
        raise InvalidArgument(f"coverage must be above 0 and below 1 (got {coverage})", name="coverage")
    head, model = check_text(head, "head"), check_text(model, "model")
    plan = pb.ClassifyRequest(
        head=head,
        head_version=check_version(head_version),
        model=model,
        top=top,
        views=check_views(views),
        ensemble=check_names(ensemble, "ensemble"),
        refuse_unknown=refuse_unknown,
        coverage=coverage or 0.0,
        also=[read_head_name(one, "also") for one in check_names(also, "also")],
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
        results += [_read_result(e, r, len(plan.also)) for e, r in zip(work[0], response.results, strict=True)]
        if report:
            report(len(results))
    return results


def check_version(version: int) -> int:
    """Return a version; refuse what is none."""
    if not 0 <= version < 2**31:
        raise InvalidArgument(
            f"version must be from 1 to {2**31 - 1}, or 0 for the default (got {version})", name="version"
        )
    return version


def read_head_name(text: str, name: str) -> pb.HeadName:
    """Return the message of a head that is named as NAME or NAME/VERSION."""
    head, slash, version = check_text(text, name).partition("/")
    if slash and not (version.isascii() and version.isdigit() and int(version)):
        raise InvalidArgument(f"{name} must be NAME or NAME/VERSION (got {text[:64]!r})", name=name)
    return pb.HeadName(name=head, version=check_version(int(version or 0)))


def _read_result(entry: InputImage, result: pb.ClassifyResult, n_also: int) -> Classification:
    if entry.error or result.HasField("error"):
        return Classification([], entry.error or read_item_error(result.error))
    if len(result.also) != n_also:
        raise FailedPrecondition("the server is older than this client: it answers with one head only", name="also")
    return Classification(
        read_classes(result.top),
        reason=result.reason,
        set=read_classes(result.set),
        also=[Classification(read_classes(one.top), reason=one.reason) for one in result.also],
    )


def read_classes(predictions: Iterable[pb.Prediction]) -> list[tuple[str, float]]:
    return [(prediction.label, prediction.probability) for prediction in predictions]


def read_head(head: pb.Head, failed: Iterable[Failure] = ()) -> Head:
    """Return the facts about a version."""
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
        measures=_read_measures(head.measures) if head.HasField("measures") else None,
        warnings=list(head.warnings),
        source=head.source,
        unknown=_read_unknown(head.unknown) if head.HasField("unknown") else None,
        refuses_unknown=head.refuses_unknown,
    )


def _read_unknown(rule: pb.UnknownRule) -> UnknownRule:
    scores = [UnknownScore(one.name, one.unknown_refused, one.auroc) for one in rule.scores]
    return UnknownRule(rule.score, rule.threshold, rule.known_kept, rule.unknown_refused, scores)


def _read_measures(measures: pb.HeadMeasures) -> HeadMeasures:
    def estimate(name: str) -> Estimate:
        found = getattr(measures, name)
        return Estimate(found.value, found.low, found.high)

    return HeadMeasures(
        count=measures.count,
        accuracy=estimate("accuracy"),
        balanced_accuracy=estimate("balanced_accuracy"),
        top5=estimate("top5") if measures.HasField("top5") else None,
        log_loss=estimate("log_loss"),
        calibration_error=estimate("calibration_error"),
        majority_label=measures.majority_label,
        majority_accuracy=measures.majority_accuracy,
        majority_p=measures.majority_p,
    )
