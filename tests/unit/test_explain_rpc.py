"""The servicer of explanations: what a stream may hold, and what goes with what."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explained import make_explained_bundle
from fc7.errors import Aborted, FailedPrecondition, Fc7Error, InvalidArgument, NotFound, ResourceExhausted
from fc7.v1 import common_pb2
from fc7.v1 import explain_pb2 as pb
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.features.extractor import Extractor
from fc7_service.features.preprocess import preprocess, preprocess_with_crop
from fc7_service.features.session import open_session
from fc7_service.heads.registry import Heads
from fc7_service.rpc import explain_service as rpc
from fc7_service.rpc import messages
from fc7_service.rpc.explain_service import ExplainServicer
from fc7_service.rpc.messages import content_sha256
from fc7_service.served.table import ModelTable
from servers import jpeg
from tiny import PX

IMAGES = [common_pb2.Image(encoded=jpeg(seed)) for seed in range(3)]
DIGESTS = b"".join(bytes.fromhex(content_sha256(image)) for image in IMAGES)
PLAN = pb.TopUnitsRequest(plan=pb.TopPlan(digests=DIGESTS))


def images(*some: common_pb2.Image) -> pb.TopUnitsRequest:
    return pb.TopUnitsRequest(images=pb.TopImages(images=some))


@pytest.fixture
def servicer(tmp_path: Path) -> Iterator[ExplainServicer]:
    bundle = make_explained_bundle(tmp_path / "tiny")
    extractor = Extractor(ModelTable([bundle]), device="cpu", threads=1)
    explainer = Explainer(
        ModelTable([bundle]),
        open_session=partial(open_session, device="cpu", threads=1),
        prepare_image=lambda image, recipe: PreparedImage(*preprocess_with_crop(image, recipe)),
        folder=tmp_path / "explain",
        turn=lambda *, is_bulk: nullcontext(),
    )
    heads, collections = Heads(tmp_path / "heads"), Collections(tmp_path / "collections")
    collections.create("other", Provenance("tiny", "0" * 64, "1" * 64, "fc7"), 8)
    yield ExplainServicer(explainer, extractor, heads, collections)
    explainer.close()
    extractor.close()
    heads.close()
    collections.close()


async def top(servicer: ExplainServicer, *requests: pb.TopUnitsRequest) -> list[pb.TopUnitsResponse]:
    async def stream() -> AsyncIterator[pb.TopUnitsRequest]:
        for request in requests:
            yield request

    return [answer async for answer in servicer.TopUnits(stream(), None)]


async def test_a_pass_is_asked_for_by_digests_then_sent(servicer: ExplainServicer) -> None:
    (missing,) = await top(servicer, PLAN)
    assert missing.is_missing
    first = await top(servicer, PLAN, images(*IMAGES[:2]), images(IMAGES[2]))
    assert [answer.n_done for answer in first[:-1]] == [2, 3]
    (known,) = await top(servicer, PLAN)
    assert known.result.units == first[-1].result.units
    assert [unit.unit for unit in known.result.units] == [0, 1, 2, 3]
    assert known.result.provenance.layer == "conv5"


@pytest.mark.parametrize(
    ("kind", "said", "requests"),
    [
        (InvalidArgument, "first message of TopUnits must be the plan", []),
        (InvalidArgument, "first message of TopUnits must be the plan", [images(IMAGES[0])]),
        (InvalidArgument, "got 5 bytes", [pb.TopUnitsRequest(plan=pb.TopPlan(digests=b"12345"))]),
        (InvalidArgument, "got 0 bytes", [pb.TopUnitsRequest(plan=pb.TopPlan())]),
        (InvalidArgument, "send the plan once", [PLAN, PLAN]),
        (InvalidArgument, "2 images came for 3 digests", [PLAN, images(*IMAGES[:2])]),
        (InvalidArgument, "more images came than the 3", [PLAN, images(*IMAGES, IMAGES[0])]),
        (Aborted, "image 1 is not the one in the plan", [PLAN, images(IMAGES[0], IMAGES[2])]),
        (NotFound, "no layer 'conv7'", [pb.TopUnitsRequest(plan=pb.TopPlan(digests=DIGESTS, layer="conv7"))]),
        (InvalidArgument, "got 4", [pb.TopUnitsRequest(plan=pb.TopPlan(digests=DIGESTS, units=[4]))]),
    ],
)
async def test_a_stream_that_is_no_pass(
    servicer: ExplainServicer, kind: type[Fc7Error], said: str, requests: list[pb.TopUnitsRequest]
) -> None:
    with pytest.raises(kind, match=said):
        await top(servicer, *requests)
    assert servicer._explainer._thread._n_calls == 0


async def test_what_does_not_go_together(servicer: ExplainServicer) -> None:
    pair = {"query": IMAGES[0], "neighbour": IMAGES[1]}
    with pytest.raises(FailedPrecondition, match=r"ollection 'other' was made with .* no model of this server"):
        await servicer.ExplainMatch(pb.ExplainMatchRequest(collection="other", **pair), None)
    with pytest.raises(InvalidArgument, match="layer 'fc7' cannot be combined with collection"):
        await servicer.ExplainMatch(pb.ExplainMatchRequest(collection="other", layer="fc7", **pair), None)
    with pytest.raises(NotFound, match="absent"):
        await servicer.ExplainMatch(pb.ExplainMatchRequest(collection="absent", **pair), None)
    with pytest.raises(InvalidArgument, match=r"strongest must be 1 to 64, .*got 65"):
        await servicer.ExplainMatch(pb.ExplainMatchRequest(strongest=65, **pair), None)
    with pytest.raises(InvalidArgument, match="cannot be combined with a head"):
        await servicer.ExplainClass(pb.ExplainClassRequest(head="h", model="tiny", image=IMAGES[0]), None)
    with pytest.raises(InvalidArgument):
        await servicer.ProjectUnit(pb.ProjectUnitRequest(image=common_pb2.Image()), None)


async def test_an_answer_that_no_message_holds_is_refused_before_the_work(
    servicer: ExplainServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, one_bytes = IMAGES[0], 3 * 4 * PX**2
    monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 4 * one_bytes)
    pair = {"query": image, "neighbour": image}
    asked: list[tuple[str, Any, Any]] = [
        ("strongest", servicer.ExplainMatch, pb.ExplainMatchRequest(strongest=3, **pair)),
        ("strongest", servicer.ExplainClass, pb.ExplainClassRequest(strongest=5, image=image)),
        ("strongest", servicer.ProjectUnit, pb.ProjectUnitRequest(strongest=5, image=image)),
        ("units", servicer.ProjectUnit, pb.ProjectUnitRequest(units=[0] * 5, image=image)),
    ]
    for name, method, request in asked:
        with pytest.raises(ResourceExhausted, match=f"the answer would have .* Ask for fewer {name}") as caught:
            await method(request, None)
        assert caught.value.name == name
    assert not servicer._explainer._network("tiny")._sessions._sessions
    assert len((await servicer.ExplainMatch(pb.ExplainMatchRequest(strongest=2, **pair), None)).query.projections) == 2
    monkeypatch.undo()
    with pytest.raises(InvalidArgument, match=r"at most 64 units \(got 65\)"):
        await servicer.ProjectUnit(pb.ProjectUnitRequest(units=[0] * 65, image=image), None)


async def test_long_messages_are_read_and_written_beside_the_event_loop(
    servicer: ExplainServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = set()

    def note(function: Any) -> Any:
        def noted(*args: Any) -> Any:
            where.add((function.__name__, threading.current_thread() is threading.main_thread()))
            return function(*args)

        return noted

    monkeypatch.setattr(rpc, "content_sha256", note(content_sha256))
    monkeypatch.setattr(rpc, "_place", note(rpc._place))
    await top(servicer, PLAN, images(*IMAGES))
    assert where == {("content_sha256", False), ("_place", False)}


def test_what_is_seen_is_what_is_extracted(servicer: ExplainServicer) -> None:
    recipe, wide = servicer._extractor.models.bundle("").recipe, jpeg(4, (60, 30))
    pixels, tensor, crop = preprocess_with_crop(wide, recipe)
    np.testing.assert_array_equal(tensor, preprocess(wide, recipe))
    assert pixels.shape == (recipe.crop_px, recipe.crop_px, 3)
    assert crop == pytest.approx((0.25, 0, 0.75, 1))


async def test_every_answer_says_who_made_it_and_where_the_time_went(servicer: ExplainServicer) -> None:
    image = IMAGES[0]
    answers: list[Any] = [
        await servicer.ProjectUnit(pb.ProjectUnitRequest(image=image), None),
        await servicer.ExplainMatch(pb.ExplainMatchRequest(query=image, neighbour=IMAGES[1]), None),
        await servicer.ExplainClass(pb.ExplainClassRequest(image=image), None),
        [answer async for answer in servicer.Occlude(pb.OccludeRequest(image=image, grid=2), None)][-1].result,
        (await top(servicer, PLAN, images(*IMAGES)))[-1].result,
    ]
    for answer in answers:
        assert len(answer.provenance.digest) == 64
        assert answer.timing.compute_s > 0
        assert answer.timing.decode_s > 0
