"""Callers of explanations who stand still or leave: the server stops working for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import fc7
from doors import private_door
from explained import make_explained_bundle
from fc7.v1 import common_pb2
from fc7.v1 import explain_pb2 as pb
from fc7.v1.explain_pb2_grpc import ExplainServiceStub
from fc7_service import capabilities
from fc7_service.explain import explainer
from fc7_service.explain.explainer import Explainer
from servers import WAIT_S, jpeg


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    return str(make_explained_bundle(tmp_path / "tiny").path)


def open_channel(data: Path) -> grpc.Channel:
    return private_door(data)


def test_a_stream_that_stands_still_is_ended(bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer, "_PATIENCE_S", 0.3)
    go_on = threading.Event()

    def requests() -> Iterator[pb.TopUnitsRequest]:
        yield pb.TopUnitsRequest(plan=pb.TopPlan(digests=bytes(32)))
        go_on.wait(WAIT_S)

    data = tmp_path / "data"
    with fc7.connect(data=data, models=[bundle]) as client, open_channel(data) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(ExplainServiceStub(channel).TopUnits(requests(), timeout=WAIT_S))
        go_on.set()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "no image came for 0.3 s. Call again"
        assert client.explain.unit(jpeg(1), units=[0]).projections


def test_work_for_a_caller_who_left_stops(bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Explainer] = []
    runs: list[Any] = []
    started = threading.Event()

    class Kept(Explainer):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    class Slow:
        """A session whose first run lasts until its caller is gone."""

        def __init__(self, session: Any) -> None:
            self._session, self.get_inputs = session, session.get_inputs

        def run(self, *args: Any) -> Any:
            runs.append(args)
            started.set()
            assert len(runs) > 1 or made[0]._thread._is_left.wait(WAIT_S)
            return self._session.run(*args)

    opened = capabilities.open_session
    monkeypatch.setattr(capabilities, "Explainer", Kept)
    monkeypatch.setattr(capabilities, "open_session", lambda *args, **options: Slow(opened(*args, **options)))
    data, image = tmp_path / "data", common_pb2.Image(encoded=jpeg(1))
    with fc7.connect(data=data, models=[bundle]) as client, open_channel(data) as channel:
        call = ExplainServiceStub(channel).ExplainMatch.future(pb.ExplainMatchRequest(query=image, neighbour=image))
        assert started.wait(WAIT_S)
        call.cancel()
        assert client.explain.unit(jpeg(1), units=[0]).projections
    assert len(runs) == 2  # the one of the match that was under way, and the unit's
