"""ExplainService: units, matches, classes and occlusion."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from fc7._operations.batches import split_images, write_images
from fc7._operations.conversion import check_text, read_provenance, read_tensor, read_timing
from fc7._operations.steps import OpenStream, Operation, ReadStream, RunBlocking, SendRequest, read_to_end
from fc7.errors import Aborted, Fc7Error, InvalidArgument
from fc7.explanations import (
    ClassReason,
    Match,
    MatchSide,
    Occlusion,
    Place,
    Projection,
    Projections,
    TopImage,
    TopUnits,
    View,
)
from fc7.grpc_errors import read_item_error
from fc7.images import ImageLike, list_images, read_entries, write_image
from fc7.results import Failure
from fc7.v1 import explain_pb2 as pb
from fc7.v1.explain_pb2_grpc import ExplainServiceStub as Stub

_PASS_S = 24 * 3600.0  # a call over many images ends after a day at the latest
_SWEEP_S = 600.0
_BATCH = 32

Report = Callable[[int], object]


def unit(
    image: ImageLike,
    layer: str,
    units: Sequence[int],
    positions: Sequence[int],
    strongest: int,
    rule: str,
    model: str,
) -> Operation[Projections]:
    """Project units of one image."""
    request = pb.ProjectUnitRequest(
        model=check_text(model, "model"),
        layer=check_text(layer, "layer"),
        rule=check_text(rule, "rule"),
        units=_numbers(units, "units"),
        positions=_numbers(positions, "positions"),
        strongest=_count(strongest, "strongest"),
        image=(yield RunBlocking(lambda: write_image(image))),
    )
    response: pb.ProjectUnitResponse = yield SendRequest(Stub, "ProjectUnit", request)
    return Projections(
        view=_view(response.view),
        projections=_projections(response.projections),
        provenance=read_provenance(response.provenance),
        timing=read_timing(response.timing),
    )


def top(
    images: Iterable[ImageLike], layer: str, units: Sequence[int], model: str, report: Report | None
) -> Operation[TopUnits]:
    """Ask for the result by the digests of the images. If the server does not know it, send the images."""
    listed = list(list_images(images))
    if not listed:
        raise InvalidArgument("images is empty. Give at least one image", name="images")
    plan = pb.TopPlan(
        model=check_text(model, "model"), layer=check_text(layer, "layer"), units=_numbers(units, "units")
    )
    unreadable: dict[int, Fc7Error] = {}

    def digests() -> bytes:
        found = []
        for entry in read_entries(listed):
            found.append(entry.content.sha256())
            if entry.error:
                unreadable[entry.index] = entry.error
        return b"".join(found)

    def parts() -> Iterator[pb.TopUnitsRequest]:
        for batch in split_images(listed, _BATCH):
            request = pb.TopUnitsRequest()
            write_images(batch, request.images.images)
            yield request

    plan.digests = yield RunBlocking(digests)
    begin = pb.TopUnitsRequest(plan=plan)
    for requests in (iter([begin]), chain([begin], parts())):
        stream = yield OpenStream(Stub, "TopUnits", requests, _PASS_S)
        while (answer := (yield ReadStream(stream))) is not None:
            part = answer.WhichOneof("part")
            if part == "result":
                yield from read_to_end(stream)
                return _top(answer.result, unreadable)
            if part == "n_done" and report:
                report(answer.n_done)
    raise Aborted("the server ended the call without a result. Call again")


def match(
    query: ImageLike, neighbour: ImageLike, layer: str, model: str, collection: str | None, strongest: int, rule: str
) -> Operation[Match]:
    """Split the cosine of two images."""
    request = pb.ExplainMatchRequest(
        model=check_text(model, "model"),
        layer=check_text(layer, "layer"),
        collection=check_text(collection or "", "collection"),
        rule=check_text(rule, "rule"),
        strongest=_count(strongest, "strongest"),
        query=(yield RunBlocking(lambda: write_image(query))),
        neighbour=(yield RunBlocking(lambda: write_image(neighbour))),
    )
    response: pb.ExplainMatchResponse = yield SendRequest(Stub, "ExplainMatch", request)
    return Match(
        score=response.score,
        unit_layer=response.unit_layer,
        contributions=read_tensor(response.contributions),
        rest=response.rest,
        query=_side(response.query),
        neighbour=_side(response.neighbour),
        provenance=read_provenance(response.provenance),
        timing=read_timing(response.timing),
    )


def label(image: ImageLike, name: str, head: str, model: str, strongest: int, rule: str) -> Operation[ClassReason]:
    """Split the logit of a class."""
    request = pb.ExplainClassRequest(
        head=check_text(head, "head"),
        model=check_text(model, "model"),
        label=check_text(name, "label"),
        rule=check_text(rule, "rule"),
        strongest=_count(strongest, "strongest"),
        image=(yield RunBlocking(lambda: write_image(image))),
    )
    response: pb.ExplainClassResponse = yield SendRequest(Stub, "ExplainClass", request)
    return ClassReason(
        label=response.label,
        probability=response.probability,
        logit=response.logit,
        unit_layer=response.unit_layer,
        contributions=read_tensor(response.contributions),
        rest=response.rest,
        view=_view(response.view),
        positions=read_tensor(response.positions) if response.HasField("positions") else None,
        positions_rest=response.positions_rest,
        projections=_projections(response.projections),
        provenance=read_provenance(response.provenance),
        head_version=response.head_version,
        timing=read_timing(response.timing),
    )


def occlude(
    image: ImageLike, name: str, head: str, model: str, square_px: int, grid: int, report: Report | None
) -> Operation[Occlusion]:
    """Sweep a grey square over one image."""
    request = pb.OccludeRequest(
        head=check_text(head, "head"),
        model=check_text(model, "model"),
        label=check_text(name, "label"),
        square_px=_count(square_px, "square_px"),
        grid=_count(grid, "grid"),
        image=(yield RunBlocking(lambda: write_image(image))),
    )
    stream = yield OpenStream(Stub, "Occlude", request, _SWEEP_S)
    while (answer := (yield ReadStream(stream))) is not None:
        if answer.WhichOneof("part") == "result":
            yield from read_to_end(stream)
            return _occlusion(answer.result)
        if report:
            report(answer.n_done)
    raise Aborted("the server ended the call without a result. Call again")


def _numbers(values: Sequence[int], name: str) -> list[int]:
    return [_whole(value, name) for value in values]


def _count(value: int, name: str) -> int:
    return _whole(value, name)


def _whole(value: int, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1  # not an integer
    if not 0 <= number < 2**31:
        raise InvalidArgument(f"{name} must be an integer from 0 to {2**31 - 1} (got {value!r:.64})", name=name)
    return number


def _view(message: pb.View) -> View:
    return View(read_tensor(message.pixels), (message.left, message.top, message.right, message.bottom))


def _place(message: pb.Place) -> Place:
    box = (message.left, message.top, message.right, message.bottom)
    return Place(message.unit, message.value, message.y, message.x, box)


def _projections(messages: Iterable[pb.Projection]) -> list[Projection]:
    return [Projection(_place(one.place), read_tensor(one.pixels)) for one in messages]


def _side(message: pb.MatchSide) -> MatchSide:
    positions = read_tensor(message.positions) if message.HasField("positions") else None
    return MatchSide(_view(message.view), positions, message.positions_rest, _projections(message.projections))


def _top(message: pb.TopResult, unreadable: dict[int, Fc7Error]) -> TopUnits:
    return TopUnits(
        units={one.unit: [TopImage(i.index, _place(i.place)) for i in one.images] for one in message.units},
        failed=[Failure(f.index, unreadable.get(f.index) or read_item_error(f.error)) for f in message.failed],
        provenance=read_provenance(message.provenance),
        timing=read_timing(message.timing),
    )


def _occlusion(message: pb.Occlusion) -> Occlusion:
    probabilities = read_tensor(message.probabilities)
    return Occlusion(
        label=message.label,
        probability=message.probability,
        view=_view(message.view),
        square_px=message.square_px,
        probabilities=probabilities,
        best=np.array(message.best, np.int64).reshape(probabilities.shape),
        labels=list(message.labels),
        activity_layer=message.activity_layer,
        activity_unit=message.activity_unit,
        activities=read_tensor(message.activities) if message.HasField("activities") else None,
        provenance=read_provenance(message.provenance),
        head_version=message.head_version,
        timing=read_timing(message.timing),
    )
