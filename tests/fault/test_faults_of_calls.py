"""Faults of single calls and connections: each ends with its status, and the next call is answered."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

import fc7
from fc7.v1 import MAX_MESSAGE_BYTES
from fc7_service.rpc import feature_service
from servers import WAIT_S, jpeg

EXTRACT = "/fc7.v1.FeatureService/Extract"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty settings
PING = b"\0\0\x08\x06\0\0\0\0\0" + b"8 bytes."
GOAWAY, ENHANCE_YOUR_CALM = 7, 11  # RFC 9113, sections 6.8 and 7


@pytest.fixture(scope="module")
def data(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of a server in this process."""
    folder = tmp_path_factory.mktemp("data")
    with fc7.connect(data=folder, models=[str(tiny_bundle)]) as client:
        client.extract(jpeg(0))
        yield folder


@pytest.fixture
def client(data: Path) -> Iterator[fc7.Client]:
    """A client of that server; it still answers when the test is over."""
    with fc7.connect(data=data) as connected:
        yield connected
        assert connected.extract(jpeg(0)).values.shape == (1, 8)


def holder(data: Path) -> dict[str, Any]:
    """How to reach the server."""
    found: dict[str, Any] = json.loads((data / "holder.json").read_text())
    return found


def test_a_message_above_the_limit(client: fc7.Client, data: Path) -> None:
    options = [("grpc.max_send_message_length", -1)]
    metadata = (("authorization", f"Bearer {holder(data)['token']}"),)
    with grpc.insecure_channel(holder(data)["address"], options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(EXTRACT)(bytes(MAX_MESSAGE_BYTES + 1), timeout=WAIT_S, metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"larger than max ({MAX_MESSAGE_BYTES + 1} vs. {MAX_MESSAGE_BYTES})" in caught.value.details()


def test_a_handler_that_cancels_itself_is_our_bug(client: fc7.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancel(*args: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(feature_service, "extract_images", cancel)
        with pytest.raises(fc7.Fc7Error, match=r"^internal error, incident [0-9a-f]{12}\. The server's log") as caught:
            client.extract(jpeg(0), timeout_s=WAIT_S)
    assert caught.value.code == "INTERNAL"


def test_pings_more_often_than_allowed_end_the_connection(client: fc7.Client, data: Path) -> None:
    path = holder(data)["address"].removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(WAIT_S)
        raw.connect(path)
        raw.sendall(PREFACE + 20 * PING)
        stream = raw.makefile("rb")
        while head := stream.read(9):
            body = stream.read(int.from_bytes(head[:3]))
            if head[3] == GOAWAY and (code := int.from_bytes(body[4:8])):
                break
    assert code == ENHANCE_YOUR_CALM
    assert body[8:] == b"too_many_pings"


def test_the_same_bad_picture_again_and_again_harms_no_other(client: fc7.Client) -> None:
    (wanted,) = client.extract(jpeg(1)).values
    found = client.extract([jpeg(1)[:-200], jpeg(1)] * 300, on_error="skip")
    assert [failure.index for failure in found.failed] == list(range(0, 600, 2))
    assert {(failure.error.code, failure.error.reason) for failure in found.failed} == {
        ("INVALID_ARGUMENT", "IMAGE_DAMAGED")
    }
    np.testing.assert_allclose(found.values, np.tile(wanted, (300, 1)), rtol=1e-4, atol=1e-5)
