"""HeadService: two heads compared, a version in the shadow, and a class counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fc7._operations import head as heads
from fc7._operations.batches import align
from fc7._operations.conversion import check_text, read_payload
from fc7._operations.search import check_filtered
from fc7._operations.steps import Operation, SendRequest
from fc7.errors import InvalidArgument
from fc7.filters import Where, write_where
from fc7.head_trials import (
    ComparedHeads,
    DifferingAnswer,
    ItemSample,
    Shadow,
    ShadowDifference,
    Stratum,
    mcnemar,
    share,
)
from fc7.images import ImageLike, list_images
from fc7.searches import Hit
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub


def compare(
    first: str,
    second: str,
    collection: str | None,
    label: str | None,
    records: bool,
    where: Where | None,
    images: ImageLike | Iterable[ImageLike] | None,
    labels: Iterable[str] | None,
    ids: Iterable[str] | None,
    report: Callable[[int], object] | None,
) -> Operation[ComparedHeads]:
    """Compare two heads on a collection, or on labelled images."""
    names = heads.read_head_name(first, "first"), heads.read_head_name(second, "second")
    if (collection is None) == (images is None) or (images is None) != (labels is None):
        raise InvalidArgument("compare_heads takes collection=, or images= with labels=", name="collection")
    if collection is not None:
        if ids is not None:
            raise InvalidArgument("the items of a collection have their own ids. Leave out ids=", name="ids")
        return (yield from _compare_on_items(names, collection, label, records, where))
    assert images is not None
    assert labels is not None
    if where is not None or records:
        raise InvalidArgument("where= and records= are for collection=", name="where")
    return (yield from _compare_on_images(names, list(list_images(images)), list(labels), ids, report))


def _compare_on_items(
    names: Sequence[pb.HeadName], collection: str, label: str | None, records: bool, where: Where | None
) -> Operation[ComparedHeads]:
    request = pb.CompareHeadsRequest(
        collection=check_text(collection, "collection"),
        first=names[0],
        second=names[1],
        label_field=check_text(label or "", "label"),
        from_records=records or label is None,
        filter_json=write_where(where),
    )
    response: pb.CompareHeadsResponse = yield SendRequest(Stub, "CompareHeads", request)
    check_filtered(where is not None, response.filtered)
    if not response.count:
        raise _no_common_label(response.unknown_label)
    differing = [
        DifferingAnswer(
            item.id,
            item.label,
            item.first.label,
            item.first.probability,
            item.second.label,
            item.second.probability,
        )
        for item in response.differing
    ]
    return ComparedHeads(
        first=f"{response.first.name}/{response.first.version}",
        second=f"{response.second.name}/{response.second.version}",
        count=response.count,
        first_accuracy=share(response.both_right + response.only_first, response.count),
        second_accuracy=share(response.both_right + response.only_second, response.count),
        only_first=response.only_first,
        only_second=response.only_second,
        p_value=mcnemar(response.only_first, response.only_second),
        n_differing=response.n_differing,
        differing=differing,
        trained_on=response.trained_on,
        unknown_labels=response.unknown_label,
    )


def _compare_on_images(
    names: Sequence[pb.HeadName],
    images: list[ImageLike],
    labels: list[str],
    ids: Iterable[str] | None,
    report: Callable[[int], object] | None,
) -> Operation[ComparedHeads]:
    both = []
    for name in names:
        both.append((yield from heads.get(name.name, name.version)))
    known = set(both[0].classes) & set(both[1].classes)
    own = [str(i) for i in range(len(images))] if ids is None else list(ids)
    rows = [(*pair, one) for pair, one in align(align(images, labels, "images", "labels"), own, "images", "ids")]
    judged = [row for row in rows if row[1] in known]
    if not judged:
        raise _no_common_label(len(rows))
    answers = yield from heads.classify(
        [image for image, _, _ in judged],
        both[0].name,
        "",
        (),
        1,
        1,
        report,
        both[0].version,
        also=[f"{both[1].name}/{both[1].version}"],
    )
    pairs = [
        (own, label, answer.top[0], answer.also[0].top[0])
        for (_, label, own), answer in zip(judged, answers, strict=True)
        if answer.error is None
    ]
    if not pairs:
        raise InvalidArgument("no picture could be read", name="images")
    right = [(first[0] == label, second[0] == label) for _, label, first, second in pairs]
    only_first, only_second = right.count((True, False)), right.count((False, True))
    differing = [DifferingAnswer(own, label, *a, *b) for own, label, a, b in pairs if a[0] != b[0]]
    return ComparedHeads(
        first=f"{both[0].name}/{both[0].version}",
        second=f"{both[1].name}/{both[1].version}",
        count=len(pairs),
        first_accuracy=share(right.count((True, True)) + only_first, len(pairs)),
        second_accuracy=share(right.count((True, True)) + only_second, len(pairs)),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        n_differing=len(differing),
        differing=differing,
        unknown_labels=len(rows) - len(judged),
        failed=len(judged) - len(pairs),
    )


def _no_common_label(n_labelled: int) -> InvalidArgument:
    what = f"both heads know none of the labels of {n_labelled} pictures" if n_labelled else "no picture has a label"
    return InvalidArgument(f"{what}, so there is nothing to compare on", name="labels")


def set_shadow(name: str, version: int | None, share_of_traffic: float) -> Operation[Shadow | None]:
    """Put a version into the shadow, or end the shadow."""
    number = 0 if version is None else heads.check_version(version)
    if version == 0:
        raise InvalidArgument("version must be at least 1, or None to end the shadow (got 0)", name="version")
    request = pb.SetShadowRequest(name=check_text(name, "name"), version=number, share=share_of_traffic)
    response: pb.SetShadowResponse = yield SendRequest(Stub, "SetShadow", request)
    return _read_shadow(response.shadow) if response.HasField("shadow") else None


def get_shadow(name: str) -> Operation[Shadow | None]:
    """Return the shadow of a head."""
    request = pb.GetShadowRequest(name=check_text(name, "name"))
    response: pb.GetShadowResponse = yield SendRequest(Stub, "GetShadow", request)
    return _read_shadow(response.shadow) if response.HasField("shadow") else None


def _read_shadow(message: pb.Shadow) -> Shadow:
    return Shadow(
        version=message.version,
        share=message.share,
        published_version=message.published_version,
        since=message.since,
        count=message.count,
        agreed=message.agreed,
        passed_over=message.passed_over,
        problem=message.problem,
        differing=[
            ShadowDifference(one.sha256, one.time, heads.read_classes(one.published), heads.read_classes(one.shadow))
            for one in message.differing
        ],
    )


def sample_items(
    collection: str, label: str, head: str, head_version: int, n: int, where: Where | None
) -> Operation[ItemSample]:
    """Return a stratified sample of the items."""
    request = pb.SampleItemsRequest(
        collection=check_text(collection, "collection"),
        head=pb.HeadName(name=check_text(head, "head"), version=heads.check_version(head_version)),
        label=check_text(label, "label"),
        n=n,
        filter_json=write_where(where),
    )
    response: pb.SampleItemsResponse = yield SendRequest(Stub, "SampleItems", request)
    check_filtered(where is not None, response.filtered)
    strata = [
        Stratum(
            stratum.low,
            stratum.high,
            stratum.count,
            stratum.expected,
            [Hit(item.id, item.probability, read_payload(item.payload_json)) for item in stratum.drawn],
        )
        for stratum in response.strata
    ]
    return ItemSample(f"{head}/{response.head_version}", label, strata)
